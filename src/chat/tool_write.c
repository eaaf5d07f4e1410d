/* tool_write.c - calls as a model writes them. JSON stays as it is spelled; Python is made of it
 * token by token, so that numbers keep their digits. */
#include "chat/json_scan.h"
#include "chat/python_call.h"
#include "chat/tool_format.h"

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

static bool write_object(const struct chat_call *call, const char *key, struct buf *out,
                         struct error *e)
{
    return buf_append(out, STR("{\"name\": \""), e) && write_escaped(call->name, out, e) &&
           buf_printf(out, e, "\", \"%s\": ", key) && write_arguments(call, out, e) &&
           buf_append(out, STR("}"), e);
}

/* --- Python */

struct python {
    struct buf *out;
    struct error *e;
    struct json_scan scan;
    struct json_unescape text;
    bool is_spread; /* f(**{...}): some argument's name is no name in Python */
};

static bool put_escaped(struct python *w, char c)
{
    static const char letters[] = "\\'\n\r\t", escapes[] = "\\'nrt";
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
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
    return is_name(w, scan) || buf_append_byte(w->out, '\'', w->e);
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

static bool write_python(const struct chat_call *call, struct buf *out, struct error *e)
{
    struct str object = trimmed(call->arguments);
    if (!json_scan_is_object(object)) {
        return buf_append(out, call->name, e) && buf_append_byte(out, '(', e) &&
               write_arguments(call, out, e) && buf_append_byte(out, ')', e);
    }
    struct python w = {.out = out, .e = e, .is_spread = !has_plain_names(object)};
    bool ok =
        buf_append(out, call->name, e) && buf_append(out, w.is_spread ? STR("(**") : STR("("), e);
    json_scan_init(&w.scan);
    for (size_t i = 0; ok && i < object.n; i++) {
        struct json_scan was = w.scan;
        json_scan_push(&w.scan, object.p[i]);
        ok = put_byte(&w, &was, object.p[i]);
    }
    return ok && buf_append_byte(out, ')', e);
}

/* --- calls */

static bool write_call(enum tool_format format, const struct chat_call *call, struct buf *out,
                       struct error *e)
{
    switch (format) {
    case TOOL_FORMAT_PYTHONIC:
        return write_python(call, out, e);
    case TOOL_FORMAT_FUNCTION_TAG:
        return buf_append(out, STR("<function="), e) && buf_append(out, call->name, e) &&
               buf_append(out, STR(">"), e) && write_arguments(call, out, e) &&
               buf_append(out, STR("</function>"), e);
    case TOOL_FORMAT_HERMES:
        return buf_append(out, STR("<tool_call>\n"), e) &&
               write_object(call, "arguments", out, e) && buf_append(out, STR("\n</tool_call>"), e);
    default:
        return write_object(call, "parameters", out, e);
    }
}

static bool write_all(enum tool_format format, const struct chat_call *calls, size_t n,
                      struct buf *out, struct error *e)
{
    static const char *const between[TOOL_FORMAT_COUNT] = {
        [TOOL_FORMAT_NONE] = "; ",     [TOOL_FORMAT_LLAMA3_JSON] = "; ",
        [TOOL_FORMAT_PYTHONIC] = ", ", [TOOL_FORMAT_FUNCTION_TAG] = "\n",
        [TOOL_FORMAT_HERMES] = "\n",
    };
    bool is_list = format == TOOL_FORMAT_PYTHONIC && n > 0;
    bool ok = buf_append(out, is_list ? STR("[") : STR(""), e);
    for (size_t i = 0; ok && i < n; i++) {
        ok = buf_append(out, str_from(i > 0 ? between[format] : ""), e) &&
             write_call(format, &calls[i], out, e);
    }
    return ok && buf_append(out, is_list ? STR("]") : STR(""), e);
}

bool tool_calls_write(enum tool_format format, const struct chat_call *calls, size_t n,
                      struct buf *out, struct error *e)
{
    size_t n_before = out->n;
    if (!write_all(format, calls, n, out, e)) {
        out->n = n_before;
        return false;
    }
    return true;
}
