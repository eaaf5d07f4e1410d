/* tool_candidate.c - texts that may yet be calls: what begins one, and what each next byte makes of
 * it. A candidate ends at the first byte that decides, so no byte is looked at twice. */
#include "chat/tool_parser_internal.h"

/* --- tags */

enum { PYTHON_TAG, FUNCTION_OPEN, FUNCTION_CLOSE, TOOL_CALL_OPEN, TOOL_CALL_CLOSE, TAG_COUNT };

static const struct str tags[TAG_COUNT] = {
    [PYTHON_TAG] = {"<|python_tag|>", 14},    [FUNCTION_OPEN] = {"<function=", 10},
    [FUNCTION_CLOSE] = {"</function>", 11},   [TOOL_CALL_OPEN] = {"<tool_call>", 11},
    [TOOL_CALL_CLOSE] = {"</tool_call>", 12},
};

static bool listens_for(const struct tool_parser *p, size_t tag)
{
    switch (tag) {
    case PYTHON_TAG:
        return p->hears_llama && p->state == TOOL_LITERAL && !p->after_tag;
    case FUNCTION_OPEN:
        return p->hears_llama && p->state == TOOL_LITERAL;
    case FUNCTION_CLOSE:
        return p->state == TOOL_FUNCTION_BODY ||
               (p->in_gap && p->closer_of == TOOL_FUNCTION_BODY && !p->after_tag);
    case TOOL_CALL_OPEN:
        return p->hears_hermes;
    default:
        return p->in_gap && p->closer_of == TOOL_IN_TAG;
    }
}

/* The tag that the text is, or TAG_COUNT; *may_be: it begins one. */
static size_t find_tag(const struct tool_parser *p, struct str text, bool *may_be)
{
    *may_be = false;
    for (size_t i = 0; i < TAG_COUNT; i++) {
        if (listens_for(p, i) && str_starts_with(tags[i], text)) {
            *may_be = true;
            if (text.n == tags[i].n) {
                return i;
            }
        }
    }
    return TAG_COUNT;
}

static struct str held_from(const struct tool_parser *p, size_t begin)
{
    return str_skip(buf_str(&p->held), begin);
}

/* What is held from p->name_begin on, and c, which the caller holds afterwards. */
static struct str name_with(struct tool_parser *p, char c)
{
    if (!buf_append_byte(&p->held, c, p->e)) {
        p->failed = true;
        return (struct str){NULL, 0};
    }
    struct str name = held_from(p, p->name_begin);
    p->held.n--;
    return name;
}

static enum tool_verdict push_tag(struct tool_parser *p, char c)
{
    bool may_be;
    size_t tag = find_tag(p, name_with(p, c), &may_be);
    p->name_begin = tag != TAG_COUNT ? p->held.n + 1 : p->name_begin;
    switch (tag) {
    case PYTHON_TAG:
        p->after_tag = true;
        p->code_begin = p->held.n + 1;
        p->state = TOOL_AFTER_TAG;
        return TOOL_MAY_BE;
    case FUNCTION_OPEN:
        p->state = TOOL_FUNCTION_NAME;
        return TOOL_MAY_BE;
    case TOOL_CALL_OPEN:
        p->state = TOOL_IN_TAG;
        p->candidate_tag = TOOL_IN_TAG;
        return TOOL_MAY_BE;
    case FUNCTION_CLOSE:
    case TOOL_CALL_CLOSE:
        p->closer_of = TOOL_TEXT;
        return TOOL_IS_ENVELOPE;
    default:
        return may_be ? TOOL_MAY_BE : TOOL_IS_NOT;
    }
}

/* --- <function=f>{...} */

static enum tool_verdict call(struct tool_parser *p, const struct tool *tool, enum tool_state next)
{
    p->tool = tool;
    p->state = next;
    return TOOL_IS_CALL;
}

static void set_arguments(struct tool_parser *p, struct str text)
{
    buf_clear(&p->arguments);
    p->failed = p->failed || !buf_append(&p->arguments, text, p->e);
}

static enum tool_verdict push_function_name(struct tool_parser *p, char c)
{
    if (c == '>') {
        p->tool = tool_set_find(p->set, held_from(p, p->name_begin));
        p->state = TOOL_FUNCTION_BODY;
        p->candidate_tag = TOOL_FUNCTION_BODY;
        return p->tool != NULL ? TOOL_MAY_BE : TOOL_IS_NOT;
    }
    return tool_set_may_find(p->set, name_with(p, c)) ? TOOL_MAY_BE : TOOL_IS_NOT;
}

/* White space, then the arguments, or the closing tag for none. p->name_begin: of that tag, once it
 * has begun. */
static enum tool_verdict push_function_body(struct tool_parser *p, char c)
{
    char last = p->held.data[p->held.n - 1];
    if (c == '{' && (last == '>' || json_is_space(last))) {
        json_scan_init(&p->scan);
        json_scan_push(&p->scan, c);
        set_arguments(p, STR("{"));
        return call(p, p->tool, TOOL_FUNCTION_ARGUMENTS);
    }
    if (last == '>' || json_is_space(last)) {
        if (json_is_space(c)) {
            return TOOL_MAY_BE;
        }
        p->name_begin = p->held.n;
    }
    bool may_be;
    if (find_tag(p, name_with(p, c), &may_be) == FUNCTION_CLOSE) {
        set_arguments(p, STR("{}"));
        p->candidate_tag = p->closer_of = TOOL_TEXT;
        return call(p, p->tool, TOOL_TEXT);
    }
    return may_be ? TOOL_MAY_BE : TOOL_IS_NOT;
}

/* --- JSON */

static void begin_object(struct tool_parser *p)
{
    buf_clear(&p->name);
    buf_clear(&p->arguments);
    tool_object_init(&p->object, p->set, &p->scan, &p->name, &p->arguments);
    p->state = TOOL_OBJECT;
}

static enum tool_verdict push_object(struct tool_parser *p, char c)
{
    enum tool_object_result result;
    if (!tool_object_push(&p->object, c, &result, p->e)) {
        p->failed = true;
        return TOOL_MAY_BE;
    }
    p->scan = p->object.scan;
    switch (result) {
    case TOOL_OBJECT_MORE:
        return TOOL_MAY_BE;
    case TOOL_OBJECT_BROKEN:
        return TOOL_IS_NOT;
    case TOOL_OBJECT_OTHER:
        return TOOL_IS_JSON;
    default:
        return call(p, p->object.tool,
                    tool_object_is_closed(&p->object)        ? TOOL_TEXT
                    : p->object.kind == TOOL_ARGUMENTS_WHOLE ? TOOL_OBJECT_TAIL
                                                             : TOOL_OBJECT_ARGUMENTS);
    }
}

static enum tool_verdict begin_first_object(struct tool_parser *p, char c)
{
    json_scan_init(&p->scan);
    begin_object(p);
    return push_object(p, c);
}

static void begin_list(struct tool_parser *p)
{
    json_scan_init(&p->scan);
    json_scan_push(&p->scan, '[');
    p->state = TOOL_LIST;
}

/* --- Python */

static bool begin_name(struct tool_parser *p, char c, bool needs_call)
{
    p->state = TOOL_PYTHON_NAME;
    p->name_begin = p->held.n;
    p->needs_call = needs_call;
    return tool_set_may_find(p->set, (struct str){&c, 1});
}

/* Without its last part, if that is `call` or begins it; p is NULL: there is no such. */
static struct str before_call(struct str name, bool *is_whole)
{
    const char *dot = name.n > 0 ? memrchr(name.p, '.', name.n) : NULL;
    struct str none = {NULL, 0}, before = {name.p, dot != NULL ? (size_t)(dot - name.p) : 0};
    struct str last = dot != NULL ? str_skip(name, before.n + 1) : none;
    *is_whole = str_eq(last, STR("call"));
    return dot != NULL && str_starts_with(STR("call"), last) ? before : none;
}

static const struct tool *find_python_tool(const struct tool_parser *p, struct str name)
{
    bool is_whole;
    struct str before = before_call(name, &is_whole);
    const struct tool *tool = is_whole ? tool_set_find(p->set, before) : NULL;
    return tool != NULL || p->needs_call ? tool : tool_set_find(p->set, name);
}

static bool may_be_python_tool(const struct tool_parser *p, struct str name)
{
    bool is_whole;
    struct str before = before_call(name, &is_whole);
    return tool_set_may_find(p->set, name) ||
           (before.p != NULL && tool_set_find(p->set, before) != NULL);
}

static enum tool_verdict push_python_name(struct tool_parser *p, char c)
{
    if (c == '(') {
        p->tool = find_python_tool(p, held_from(p, p->name_begin));
        if (p->tool == NULL) {
            return TOOL_IS_NOT;
        }
        buf_clear(&p->arguments);
        p->failed = !python_call_init(&p->python, &p->arguments, p->e);
        p->state = TOOL_PYTHON;
        return TOOL_MAY_BE;
    }
    bool goes_on = python_continues_name(c) || c == '.' || c == '-';
    return goes_on && may_be_python_tool(p, name_with(p, c)) ? TOOL_MAY_BE : TOOL_IS_NOT;
}

static enum tool_verdict push_python(struct tool_parser *p, char c)
{
    enum python_result result = PYTHON_MORE;
    if (!python_call_push(&p->python, c, &result, p->e)) {
        p->failed = true;
    }
    if (result == PYTHON_BROKEN) {
        return TOOL_IS_NOT;
    }
    if (!p->python.is_sure) {
        return TOOL_MAY_BE;
    }
    return call(p, p->tool, result == PYTHON_DONE ? TOOL_TEXT : TOOL_PYTHON_ARGUMENTS);
}

/* --- between tags, brackets and calls */

static enum tool_verdict push_list(struct tool_parser *p, char c)
{
    if (p->hears_llama && python_begins_name(c)) {
        p->candidate_list = TOOL_PYTHON_LIST;
        return begin_name(p, c, false) ? TOOL_MAY_BE : TOOL_IS_NOT;
    }
    if (c == '{') {
        p->candidate_list = TOOL_JSON_LIST;
        begin_object(p);
        return push_object(p, c);
    }
    if (!json_scan_push(&p->scan, c)) {
        return TOOL_IS_NOT;
    }
    return json_is_space(c) ? TOOL_MAY_BE : TOOL_IS_JSON;
}

/* After an opening tag. */
static enum tool_verdict push_tagged(struct tool_parser *p, char c)
{
    bool is_python = p->state == TOOL_AFTER_TAG;
    if (json_is_space(c)) {
        return TOOL_MAY_BE;
    }
    if (c == '{') {
        return begin_first_object(p, c);
    }
    if (c == '[') {
        begin_list(p);
        return TOOL_MAY_BE;
    }
    if (is_python && c == '<') {
        p->state = TOOL_LITERAL;
        p->name_begin = p->held.n;
        return TOOL_MAY_BE;
    }
    if (is_python && python_begins_name(c)) {
        return begin_name(p, c, false) ? TOOL_MAY_BE : TOOL_IS_NOT;
    }
    return TOOL_IS_NOT;
}

enum tool_verdict tool_candidate_push(struct tool_parser *p, char c)
{
    switch (p->state) {
    case TOOL_LITERAL:
        return push_tag(p, c);
    case TOOL_AFTER_TAG:
    case TOOL_IN_TAG:
        return push_tagged(p, c);
    case TOOL_FUNCTION_NAME:
        return push_function_name(p, c);
    case TOOL_FUNCTION_BODY:
        return push_function_body(p, c);
    case TOOL_LIST:
        return push_list(p, c);
    case TOOL_OBJECT:
        return push_object(p, c);
    case TOOL_PYTHON_NAME:
        return push_python_name(p, c);
    default:
        return push_python(p, c);
    }
}

bool tool_candidate_begin(struct tool_parser *p, char c)
{
    bool hears_json =
        p->hears_llama || (p->in_gap && (p->only_calls || p->closer_of == TOOL_IN_TAG));
    p->name_begin = p->held.n;
    p->after_tag = false;
    p->candidate_list = TOOL_NO_LIST;
    p->candidate_tag = TOOL_TEXT;
    if (c == '<') {
        p->state = TOOL_LITERAL;
        return true;
    }
    if (c == '[' && hears_json) {
        begin_list(p);
        return true;
    }
    if (c == '{' && hears_json) {
        begin_first_object(p, c);
        return true;
    }
    return p->hears_llama && python_begins_name(c) && (p->in_gap || p->marks.line_is_blank) &&
           begin_name(p, c, p->list != TOOL_PYTHON_LIST || !p->has_separator);
}
