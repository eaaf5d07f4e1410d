/* tool_write.c - calls as a model writes them. JSON stays as it is spelled; Python is made of it
 * token by token, so that numbers keep their digits. */
#include "chat/json_scan.h"
#include "chat/python_call.h"
#include "chat/tool_frame.h"
#include "chat/tool_spelling.h"

static struct str trimmed(struct str s)
{
    while (s.n > 0 && json_is_space(s.p[0])) {
        s = str_skip(s, 1);
    }
    while (s.n > 0 && json_is_space(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

/* --- JSON */

static bool write_escaped(struct str text, struct buf *out, struct error *e)
{
    char escaped[6];
    for (size_t i = 0; i < text.n; i++) {
        size_t n = json_escape_byte(text.p[i], escaped);
        if (!buf_append(out, (struct str){escaped, n}, e)) {
            return false;
        }
    }
    return true;
}

/* As they are spelled; what is no object as the string that it is, which is Python's, too. */
static bool write_arguments(const struct chat_call *call, struct buf *out, struct error *e)
{
    struct str object = trimmed(call->arguments);
    return json_scan_is_object(object)
               ? buf_append(out, object, e)
               : buf_append_byte(out, '"', e) && write_escaped(call->arguments, out, e) &&
                     buf_append_byte(out, '"', e);
}

/* --- Python */

struct python {
    struct buf *out;
    struct error *e;
    struct json_scan scan;
    struct json_unescape text;
    char quote;
    bool is_spread; /* f(**{...}): some argument's name is no name in Python */
};

static bool put_escaped(struct python *w, char c)
{
    static const char letters[] = "\\'\"\n\r\t", escapes[] = "\\'\"nrt";
    bool is_other_quote = (c == '\'' || c == '"') && c != w->quote;
    const char *letter = c != '\0' && !is_other_quote ? strchr(letters, c) : NULL;
    if (letter != NULL) {
        return buf_append_byte(w->out, '\\', w->e) &&
               buf_append_byte(w->out, escapes[letter - letters], w->e);
    }
    return (unsigned char)c < 0x20 ? buf_printf(w->out, w->e, "\\x%02x", (unsigned)c)
                                   : buf_append_byte(w->out, c, w->e);
}

/* The key is an argument's name. */
static bool is_name(const struct python *w, const struct json_scan *scan)
{
    return !w->is_spread && scan->is_key && scan->depth == 1;
}

static bool put_quote(struct python *w, const struct json_scan *scan)
{
    w->text = (struct json_unescape){0};
    return is_name(w, scan) || buf_append_byte(w->out, w->quote, w->e);
}

static bool put_string_byte(struct python *w, const struct json_scan *was, char c)
{
    char text[4];
    if (!json_scan_in_string(&w->scan)) {
        return put_quote(w, was);
    }
    size_t n = json_unescape_push(&w->text, c, text);
    for (size_t i = 0; i < n; i++) {
        if (!put_escaped(w, text[i])) {
            return false;
        }
    }
    return true;
}

static bool put_mark(struct python *w, const struct json_scan *was, char c)
{
    struct str text = {&c, 1};
    bool is_outer = c == '{' ? was->depth == 0 : c == '}' && w->scan.depth == 0;
    if (json_is_space(c) || (is_outer && !w->is_spread)) {
        return true;
    }
    if (c == ':') {
        text = is_name(w, was) ? STR("=") : STR(": ");
    } else if (c == ',') {
        text = STR(", ");
    }
    return buf_append(w->out, text, w->e);
}

static bool put_byte(struct python *w, const struct json_scan *was, char c)
{
    if (json_scan_in_string(was)) {
        return put_string_byte(w, was, c);
    }
    if (json_scan_in_string(&w->scan)) {
        return put_quote(w, &w->scan);
    }
    if (was->state == SCAN_LITERAL) {
        return true;
    }
    if (w->scan.state == SCAN_LITERAL) {
        return buf_append(w->out,
                          c == 't'   ? STR("True")
                          : c == 'f' ? STR("False")
                                     : STR("None"),
                          w->e);
    }
    return put_mark(w, was, c);
}

/* Whether all keys of the object's own level are names in Python. */
static bool has_plain_names(struct str object)
{
    struct json_scan scan;
    json_scan_init(&scan);
    for (size_t i = 0, n = 0; i < object.n; i++) {
        struct json_scan was = scan;
        char c = object.p[i];
        json_scan_push(&scan, c);
        if (was.depth != 1 || !(scan.is_key || was.is_key)) {
            continue;
        }
        if (!json_scan_in_string(&was)) {
            n = 0;
        } else if (json_scan_in_string(&scan)) {
            if (!(n++ == 0 ? python_begins_name(c) : python_continues_name(c))) {
                return false;
            }
        } else if (n == 0) {
            return false;
        }
    }
    return true;
}

static bool write_python(const struct tool_spelling *s, const struct chat_call *call,
                         struct buf *out, struct error *e)
{
    struct str object = trimmed(call->arguments);
    if (!json_scan_is_object(object)) {
        return buf_append_byte(out, '(', e) && write_arguments(call, out, e) &&
               buf_append_byte(out, ')', e);
    }
    struct python w = {.out = out,
                       .e = e,
                       .quote = s->traits & TOOL_TRAIT_QUOTES ? '"' : '\'',
                       .is_spread = !has_plain_names(object)};
    bool ok = buf_append(out, w.is_spread ? STR("(**") : STR("("), e);
    json_scan_init(&w.scan);
    for (size_t i = 0; ok && i < object.n; i++) {
        struct json_scan was = w.scan;
        json_scan_push(&w.scan, object.p[i]);
        ok = put_byte(&w, &was, object.p[i]);
    }
    return ok && buf_append_byte(out, ')', e);
}

/* --- code */

struct code {
    struct json_scan scan;
    struct json_unescape text;
    char key[sizeof "code" - 1];
    size_t n_key;
    bool has_text; /* other than white space */
    struct buf *out;
    struct error *e;
};

/* Takes the next byte of the object, which has one key and one value, both strings. */
static bool take_code_byte(struct code *k, char c)
{
    char bytes[4];
    struct json_scan was = k->scan;
    json_scan_push(&k->scan, c);
    if (!json_scan_in_string(&was)) {
        bool is_mark = (c == '{' && was.depth == 0) || c == '}' || c == ':' || json_is_space(c);
        k->text = (struct json_unescape){0};
        return is_mark || json_scan_in_string(&k->scan);
    }
    size_t n = json_scan_in_string(&k->scan) ? json_unescape_push(&k->text, c, bytes) : 0;
    if (!k->scan.is_key) {
        k->has_text = k->has_text || (n > 0 && !json_is_space(bytes[0]));
        return k->out == NULL || buf_append(k->out, (struct str){bytes, n}, k->e);
    }
    bool has_room = n <= sizeof k->key - k->n_key;
    memcpy(k->key + k->n_key, bytes, has_room ? n : 0);
    k->n_key += n;
    return has_room;
}

bool tool_call_code(const struct chat_call *call, struct buf *out, struct error *e)
{
    struct str object = trimmed(call->arguments);
    struct code k = {.out = out, .e = e};
    size_t n_before = out != NULL ? out->n : 0;
    bool is_it = json_scan_is_object(object) && str_eq(call->name, STR("code_interpreter"));
    json_scan_init(&k.scan);
    for (size_t i = 0; is_it && i < object.n; i++) {
        is_it = take_code_byte(&k, object.p[i]);
    }
    is_it = is_it && k.has_text && str_eq((struct str){k.key, k.n_key}, STR("code"));
    if (out != NULL && !is_it) {
        out->n = n_before;
    }
    return is_it;
}

/* --- calls */

static bool is_list(const struct tool_spelling *s)
{
    return s->traits & TOOL_TRAIT_LIST;
}

/* Before the call: a tag, "" for none. */
static struct str tag_of(const struct tool_spelling *s, bool is_first)
{
    if (s->format == TOOL_FORMAT_HERMES) {
        return is_first || !is_list(s) ? STR("<tool_call>") : STR("");
    }
    return is_first && s->traits & TOOL_TRAIT_TAG ? STR("<|python_tag|>") : STR("");
}

static struct str closing_tag_of(const struct tool_spelling *s, bool is_last)
{
    bool has_one = s->format == TOOL_FORMAT_HERMES && (is_last || !is_list(s));
    return has_one ? STR("</tool_call>") : STR("");
}

static struct str between(const struct tool_spelling *s)
{
    if (s->traits & (TOOL_TRAIT_LINES | TOOL_TRAIT_CALL)) {
        return STR("\n");
    }
    if (s->format == TOOL_FORMAT_PYTHONIC || is_list(s)) {
        return STR(", ");
    }
    bool has_lines = s->format == TOOL_FORMAT_FUNCTION_TAG || s->format == TOOL_FORMAT_HERMES;
    return has_lines ? STR("\n") : STR("; ");
}

/* Within <tool_call>, at its begin or end. */
static struct str line_end(const struct tool_spelling *s, bool is_outermost)
{
    bool has_lines = s->format == TOOL_FORMAT_HERMES && !(s->traits & TOOL_TRAIT_ONE_LINE) &&
                     (is_outermost || !is_list(s));
    return has_lines ? STR("\n") : STR("");
}

/* What lies between members, and before the first where that is a newline. */
static const char *member_gap(const struct tool_spelling *s)
{
    return s->traits & TOOL_TRAIT_INDENT_2   ? "\n  "
           : s->traits & TOOL_TRAIT_INDENT_4 ? "\n    "
           : s->traits & TOOL_TRAIT_DENSE    ? ""
                                             : " ";
}

static bool has_indent(const struct tool_spelling *s)
{
    return s->traits & (TOOL_TRAIT_INDENT_2 | TOOL_TRAIT_INDENT_4);
}

static bool begin_object(const struct tool_spelling *s, const struct chat_call *call,
                         struct buf *out, struct error *e)
{
    const char *space = s->traits & TOOL_TRAIT_DENSE ? "" : " ", *gap = member_gap(s);
    const char *key = s->traits & TOOL_TRAIT_ARGUMENTS ? "arguments" : "parameters";
    if (s->traits & TOOL_TRAIT_NAME_LAST) {
        return buf_printf(out, e, "{\"%s\":%s", key, space) && write_arguments(call, out, e) &&
               buf_printf(out, e, ",%s\"name\":%s\"", gap, space) &&
               write_escaped(call->name, out, e);
    }
    return buf_printf(out, e, "{%s", has_indent(s) ? gap : "") &&
           (!(s->traits & TOOL_TRAIT_TYPE) ||
            buf_printf(out, e, "\"type\":%s\"function\",%s", space, gap)) &&
           buf_printf(out, e, "\"name\":%s\"", space) && write_escaped(call->name, out, e) &&
           buf_printf(out, e, "\",%s\"%s\":%s", gap, key, space);
}

static bool begin_python(const struct tool_spelling *s, struct str name, bool is_first,
                         struct buf *out, struct error *e)
{
    if (s->traits & TOOL_TRAIT_CODE) {
        return true;
    }
    bool has_bracket = is_first && !(s->traits & TOOL_TRAIT_CALL);
    return buf_append(out, has_bracket ? STR("[") : STR(""), e) && buf_append(out, name, e) &&
           buf_append(out, s->traits & TOOL_TRAIT_CALL ? STR(".call") : STR(""), e);
}

/* What lies between the tag and the arguments; a name behind these, too. */
static bool begin_call(const struct tool_spelling *s, const struct chat_call *call, bool is_first,
                       struct buf *out, struct error *e)
{
    switch (s->format) {
    case TOOL_FORMAT_PYTHONIC:
        return begin_python(s, call->name, is_first, out, e);
    case TOOL_FORMAT_FUNCTION_TAG:
        return buf_append(out, STR("<function="), e) && buf_append(out, call->name, e) &&
               buf_append_byte(out, '>', e);
    default:
        return buf_append(out, line_end(s, is_first), e) &&
               buf_append(out, is_list(s) && is_first ? STR("[") : STR(""), e) &&
               begin_object(s, call, out, e);
    }
}

bool tool_call_begin_write(const struct tool_spelling *s, const struct chat_call *call,
                           bool is_first, struct buf *out, struct error *e)
{
    return buf_append(out, is_first ? STR("") : between(s), e) &&
           buf_append(out, tag_of(s, is_first), e) && begin_call(s, call, is_first, out, e);
}

static bool end_object(const struct tool_spelling *s, const struct chat_call *call, struct buf *out,
                       struct error *e)
{
    return (s->traits & TOOL_TRAIT_NAME_LAST ? buf_append_byte(out, '"', e)
                                             : write_arguments(call, out, e)) &&
           buf_append(out, has_indent(s) ? STR("\n}") : STR("}"), e);
}

static bool end_python(const struct tool_spelling *s, const struct chat_call *call, bool is_last,
                       struct buf *out, struct error *e)
{
    bool has_bracket = is_last && !(s->traits & TOOL_TRAIT_CALL);
    return s->traits & TOOL_TRAIT_CODE ? tool_call_code(call, out, e)
                                       : write_python(s, call, out, e) &&
                                             buf_append(out, has_bracket ? STR("]") : STR(""), e);
}

/* What follows the begin, up to a closing tag. */
static bool end_call(const struct tool_spelling *s, const struct chat_call *call, bool is_last,
                     struct buf *out, struct error *e)
{
    switch (s->format) {
    case TOOL_FORMAT_PYTHONIC:
        return end_python(s, call, is_last, out, e);
    case TOOL_FORMAT_FUNCTION_TAG:
        return write_arguments(call, out, e) && buf_append(out, STR("</function>"), e);
    default:
        return end_object(s, call, out, e) &&
               buf_append(out, is_list(s) && is_last ? STR("]") : STR(""), e) &&
               buf_append(out, line_end(s, is_last), e);
    }
}

struct writer {
    bool by_ids; /* each call in its frame or the spelling that its id names, if any */
    struct buf *out;
    struct tool_tags *tags;
    struct error *e;
};

/* A tag, noted where there is room for notes. */
static bool write_tag(struct writer *w, struct str tag)
{
    if (tag.n > 0 && w->tags != NULL) {
        w->tags->list[w->tags->n++] = (struct tool_tag){w->out->n, tag.n};
    }
    return buf_append(w->out, tag, w->e);
}

static bool write_one(struct writer *w, const struct tool_spelling *s, const struct chat_call *call,
                      bool is_first, bool is_last)
{
    return buf_append(w->out, is_first ? STR("") : between(s), w->e) &&
           write_tag(w, tag_of(s, is_first)) && begin_call(s, call, is_first, w->out, w->e) &&
           end_call(s, call, is_last, w->out, w->e) && write_tag(w, closing_tag_of(s, is_last));
}

static bool write_as_told(struct writer *w, const struct tool_spelling *own,
                          const struct chat_call *call, bool is_first, bool is_last)
{
    const struct tool_spelling *named = w->by_ids ? tool_spelling_named(call->id) : NULL;
    const struct tool_spelling *s = named != NULL ? named : own;
    return w->by_ids && call->frame.n > 0
               ? tool_frame_write(s, call, is_first, w->out, w->tags, w->e)
               : write_one(w, s, call, is_first, is_last);
}

/* A list ends with its last call: so says the next one, or the content between them. */
static bool is_last_of_list(const struct tool_said *said, size_t i, bool by_ids)
{
    return i + 1 == said->n ||
           (by_ids && (said->calls[i].place > 0 || tool_frame_ends_list(&said->calls[i + 1])));
}

static bool write_all(struct writer *w, const struct tool_spelling *own,
                      const struct tool_said *said)
{
    bool ok = true;
    size_t at = 0;
    for (size_t i = 0; ok && i < said->n; i++) {
        size_t place = w->by_ids ? tool_said_place(said, i) : said->content.n;
        struct str content = str_skip(said->content, at);
        content.n = place - at;
        ok = buf_append(w->out, content, w->e) &&
             write_as_told(w, own, &said->calls[i], i == 0, is_last_of_list(said, i, w->by_ids));
        at = place;
    }
    return ok && buf_append(w->out, str_skip(said->content, at), w->e);
}

static bool write_or_undo(struct writer *w, const struct tool_spelling *own,
                          const struct tool_said *said)
{
    size_t n_before = w->out->n, n_tags = w->tags != NULL ? w->tags->n : 0;
    if (!write_all(w, own, said)) {
        w->out->n = n_before;
        if (w->tags != NULL) {
            w->tags->n = n_tags;
        }
        return false;
    }
    return true;
}

bool tool_calls_write(const struct tool_spelling *s, const struct chat_call *calls, size_t n,
                      struct buf *out, struct tool_tags *tags, struct error *e)
{
    struct tool_said said = {.calls = calls, .n = n};
    return write_or_undo(&(struct writer){.out = out, .tags = tags, .e = e}, s, &said);
}

size_t tool_said_place(const struct tool_said *said, size_t i)
{
    while (i < said->n && said->calls[i].place == 0) {
        i++;
    }
    return i < said->n ? said->calls[i].place - 1 : said->content.n;
}

bool tool_said_write(const struct tool_spelling *own, const struct tool_said *said, struct buf *out,
                     struct tool_tags *tags, struct error *e)
{
    struct writer w = {.by_ids = true, .out = out, .tags = tags, .e = e};
    return write_or_undo(&w, own, said);
}

bool tool_call_write(const struct tool_spelling *s, const struct chat_call *call, bool is_first,
                     bool is_last, struct buf *out, struct error *e)
{
    return write_one(&(struct writer){.out = out, .e = e}, s, call, is_first, is_last);
}

bool tool_said_write_call(const struct tool_spelling *own, const struct tool_said *said, size_t i,
                          struct buf *out, struct error *e)
{
    struct writer w = {.by_ids = true, .out = out, .e = e};
    return write_as_told(&w, own, &said->calls[i], i == 0, is_last_of_list(said, i, true));
}
