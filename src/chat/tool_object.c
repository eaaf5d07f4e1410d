/* tool_object.c - what a JSON object's members say, read while json_scan.c follows the text. */
#include "chat/tool_object.h"

static const struct {
    struct str key;
    enum tool_member member;
} keys[] = {
    {{"type", 4}, TOOL_MEMBER_TYPE},
    {{"name", 4}, TOOL_MEMBER_NAME},
    {{"parameters", 10}, TOOL_MEMBER_ARGUMENTS},
    {{"arguments", 9}, TOOL_MEMBER_ARGUMENTS},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

void tool_object_init(struct tool_object *o, const struct tool_set *set,
                      const struct json_scan *scan, struct buf *name, struct buf *arguments)
{
    *o = (struct tool_object){.set = set,
                              .arguments = arguments,
                              .scan = *scan,
                              .level = scan->depth + 1,
                              .member = TOOL_MEMBER_NONE,
                              .name = name};
}

/* The step of one byte. */
struct step {
    struct tool_object *o;
    struct error *e;
    bool failed, is_other;
};

static void put(struct step *s, struct str text)
{
    s->failed = s->failed || !buf_append(s->o->arguments, text, s->e);
}

static void be_whole(struct tool_object *o)
{
    o->kind = TOOL_ARGUMENTS_WHOLE;
    o->member = TOOL_MEMBER_NONE;
}

static void begin_text(struct tool_object *o)
{
    o->n_text = 0;
    o->text = (struct json_unescape){0};
}

/* --- keys */

static void push_key(struct step *s, char c)
{
    struct tool_object *o = s->o;
    if (o->n_text == TOOL_MAX_KEY) {
        s->is_other = true;
        return;
    }
    o->key[o->n_text++] = c;
    for (size_t i = 0; i < N_KEYS; i++) {
        if (str_starts_with(keys[i].key, (struct str){o->key, o->n_text})) {
            return;
        }
    }
    s->is_other = true;
}

static void end_key(struct step *s)
{
    struct tool_object *o = s->o;
    for (size_t i = 0; i < N_KEYS; i++) {
        if (str_eq(keys[i].key, (struct str){o->key, o->n_text})) {
            o->member = keys[i].member;
        }
    }
    unsigned bit = 1U << o->member;
    s->is_other = o->member == TOOL_MEMBER_NONE || (o->seen & bit) != 0;
    o->seen |= bit;
}

/* --- values */

static void begin_value(struct step *s, char c)
{
    struct tool_object *o = s->o;
    begin_text(o);
    if (o->member != TOOL_MEMBER_ARGUMENTS) {
        s->is_other = c != '"';
        return;
    }
    s->is_other = c != '{' && c != '"' && c != 'n';
    o->kind = c == '{'   ? TOOL_ARGUMENTS_RAW
              : c == '"' ? TOOL_ARGUMENTS_STRING
                         : TOOL_ARGUMENTS_NONE;
    json_scan_init(&o->inner);
    if (c == '{') {
        put(s, STR("{"));
    }
}

/* A byte of the text that the arguments' string holds. */
static void push_inner(struct step *s, char c)
{
    struct tool_object *o = s->o;
    bool before = o->inner.state == SCAN_START;
    if (o->kind == TOOL_ARGUMENTS_WHOLE || (before && json_is_space(c))) {
        return;
    }
    if ((before && c != '{') || !json_scan_push(&o->inner, c)) {
        s->is_other = true;
        return;
    }
    put(s, (struct str){&c, 1});
    if (o->inner.state == SCAN_END) {
        o->kind = TOOL_ARGUMENTS_WHOLE;
    }
}

static void push_name(struct step *s, char c)
{
    struct tool_object *o = s->o;
    if (o->name->n == o->set->max_name_bytes) {
        s->is_other = true;
        return;
    }
    s->failed = !buf_append_byte(o->name, c, s->e);
    s->is_other = !s->failed && !tool_set_may_find(o->set, buf_str(o->name));
}

static void push_type(struct step *s, char c)
{
    struct str function = STR("function");
    struct tool_object *o = s->o;
    s->is_other = o->n_text >= function.n || function.p[o->n_text] != c;
    o->n_text++;
}

static void push_text(struct step *s, bool is_key, char c)
{
    struct tool_object *o = s->o;
    char text[4];
    size_t n = json_unescape_push(&o->text, c, text);
    for (size_t i = 0; i < n && !s->is_other && !s->failed; i++) {
        if (is_key) {
            push_key(s, text[i]);
        } else if (o->member == TOOL_MEMBER_NAME) {
            push_name(s, text[i]);
        } else if (o->member == TOOL_MEMBER_TYPE) {
            push_type(s, text[i]);
        } else if (o->member == TOOL_MEMBER_ARGUMENTS) {
            push_inner(s, text[i]);
        }
    }
}

static void end_string(struct step *s)
{
    struct tool_object *o = s->o;
    if (o->member == TOOL_MEMBER_NAME) {
        o->tool = tool_set_find(o->set, buf_str(o->name));
        s->is_other = o->tool == NULL;
    } else if (o->member == TOOL_MEMBER_TYPE) {
        s->is_other = o->n_text != STR("function").n;
    } else if (o->kind == TOOL_ARGUMENTS_STRING && o->inner.state == SCAN_START) {
        put(s, STR("{}"));
        be_whole(o);
    } else {
        s->is_other = o->kind == TOOL_ARGUMENTS_STRING;
    }
    o->member = TOOL_MEMBER_NONE;
}

/* A byte of the arguments' object. */
static void push_raw(struct step *s, char c)
{
    put(s, (struct str){&c, 1});
    if (s->o->scan.depth == s->o->level) {
        be_whole(s->o);
    }
}

/* The scan has taken c; was: before. */
static void look(struct step *s, const struct json_scan *was, char c)
{
    struct tool_object *o = s->o;
    bool is_string = json_scan_in_string(was);
    if (o->member == TOOL_MEMBER_ARGUMENTS && o->kind == TOOL_ARGUMENTS_RAW) {
        push_raw(s, c);
    } else if (was->depth != o->level) {
        return;
    } else if (is_string && json_scan_in_string(&o->scan)) {
        push_text(s, was->is_key, c);
    } else if (is_string && was->is_key) {
        end_key(s);
    } else if (is_string) {
        end_string(s);
    } else if (was->state == SCAN_VALUE && !json_is_space(c)) {
        begin_value(s, c);
    } else if (json_scan_in_string(&o->scan)) { /* a key begins */
        begin_text(o);
        o->member = TOOL_MEMBER_NONE;
    } else if (was->state == SCAN_LITERAL && o->scan.state == SCAN_AFTER_VALUE) { /* null */
        put(s, STR("{}"));
        be_whole(o);
    } else if (c == '}' && (o->seen & 1U << TOOL_MEMBER_ARGUMENTS) == 0) {
        put(s, STR("{}"));
        be_whole(o);
    }
}

bool tool_object_push(struct tool_object *o, char c, enum tool_object_result *out, struct error *e)
{
    struct step s = {.o = o, .e = e};
    struct json_scan was = o->scan;
    if (!json_scan_push(&o->scan, c)) {
        *out = TOOL_OBJECT_BROKEN;
        return true;
    }
    look(&s, &was, c);
    if (s.failed) {
        return false;
    }
    bool is_sure = o->tool != NULL && o->arguments->n > 0;
    *out = s.is_other || (tool_object_is_closed(o) && !is_sure && was.depth == o->level)
               ? TOOL_OBJECT_OTHER
           : is_sure ? TOOL_OBJECT_SURE
                     : TOOL_OBJECT_MORE;
    return true;
}

bool tool_object_argue(struct tool_object *o, char c, bool *out_is_broken, struct error *e)
{
    struct step s = {.o = o, .e = e};
    struct json_scan was = o->scan;
    *out_is_broken = !json_scan_push(&o->scan, c);
    if (!*out_is_broken) {
        look(&s, &was, c);
        *out_is_broken = s.is_other;
    }
    return !s.failed;
}

bool tool_object_end(struct tool_object *o, char c)
{
    return json_scan_push(&o->scan, c);
}
