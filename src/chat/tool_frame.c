/* tool_frame.c - texts of calls made into frames, and frames into texts. */
#include "chat/tool_frame.h"

#include "base/base64.h"
#include "chat/json_scan.h"
#include "chat/tool_parser.h"

bool tool_frame_make(struct str text, struct str arguments, struct buf *out, struct error *e)
{
    const char *at = arguments.n > 0 ? memmem(text.p, text.n, arguments.p, arguments.n) : NULL;
    size_t n_before = at != NULL ? (size_t)(at - text.p) : text.n;
    struct str after = str_skip(text, at != NULL ? n_before + arguments.n : text.n);
    bool has_hole = at != NULL, has_nul = memchr(text.p, '\0', text.n) != NULL;
    if (has_nul || n_before + has_hole + after.n > TOOL_FRAME_BYTES) {
        return true;
    }
    return buf_reserve(out, n_before + has_hole + after.n, e) &&
           buf_append(out, (struct str){text.p, n_before}, e) &&
           (!has_hole || buf_append_byte(out, '\0', e)) && buf_append(out, after, e);
}

struct str tool_frame_digits(struct str id)
{
    const size_t n_plain = sizeof "call_" - 1 + TOOL_CALL_DIGITS;
    if (id.n <= n_plain || id.n > TOOL_CALL_ID_BYTES || !str_starts_with(id, STR("call_")) ||
        id.p[n_plain] != '_' || !base64_is_url(str_skip(id, n_plain + 1))) {
        return STR("");
    }
    return str_skip(id, n_plain + 1);
}

/* --- the text */

static bool is_gap(char c)
{
    return json_is_space(c) || c == ';' || c == ',';
}

static void note(struct tool_tags *tags, size_t begin, size_t n_bytes)
{
    if (tags != NULL) {
        tags->list[tags->n++] = (struct tool_tag){begin, n_bytes};
    }
}

/* A tag that begins the text, and one that ends it: others are part of what the call says. */
static void note_tags(struct str text, size_t begin, struct tool_tags *tags)
{
    static const struct str opening[] = {{"<|python_tag|>", 14}, {"<tool_call>", 11}};
    const struct str closing = STR("</tool_call>");
    size_t at = 0, end = text.n;
    while (at < text.n && is_gap(text.p[at])) {
        at++;
    }
    for (size_t i = 0; i < 2; i++) {
        if (str_starts_with(str_skip(text, at), opening[i])) {
            note(tags, begin + at, opening[i].n);
        }
    }
    while (end > 0 && json_is_space(text.p[end - 1])) {
        end--;
    }
    if (end >= closing.n && str_eq((struct str){text.p + end - closing.n, closing.n}, closing)) {
        note(tags, begin + end - closing.n, closing.n);
    }
}

bool tool_frame_write(struct str digits, const struct chat_call *call, struct buf *out,
                      struct tool_tags *tags, struct error *e)
{
    struct buf frame;
    buf_init(&frame, TOOL_FRAME_BYTES + 2);
    bool ok = base64_decode_url(digits, &frame, e);
    const char *hole = ok ? memchr(frame.data, '\0', frame.n) : NULL;
    size_t n_before = hole != NULL ? (size_t)(hole - frame.data) : frame.n, begin = out->n;
    struct str after = str_skip(buf_str(&frame), hole != NULL ? n_before + 1 : frame.n);
    ok = ok && buf_append(out, (struct str){frame.data, n_before}, e) &&
         (hole == NULL || buf_append(out, call->arguments, e)) && buf_append(out, after, e);
    if (ok) {
        note_tags(str_skip(buf_str(out), begin), begin, tags);
    }
    buf_finish(&frame);
    return ok;
}

/* --- whether it is that of the calls */

/* Where a text is compared with the calls that it is to have. */
struct match {
    const struct chat_call *calls; /* (n) */
    size_t n, n_found;
    struct str rest; /* of the arguments of the call that is open */
    bool fits;
};

static void match_span(struct match *m, const struct tool_span *span, struct str text)
{
    if (span->kind == TOOL_CONTENT || m->n_found == m->n) {
        m->fits = false;
        return;
    }
    const struct chat_call *call = &m->calls[m->n_found];
    bool is_exact = tool_frame_digits(call->id).n > 0; /* else what is read may be spelled anew */
    switch (span->kind) {
    case TOOL_CALL_NAME:
        m->fits = m->fits && str_eq(text, call->name);
        m->rest = call->arguments;
        break;
    case TOOL_CALL_ARGUMENTS:
        m->fits = m->fits && (!is_exact || str_starts_with(m->rest, text));
        m->rest = m->fits && is_exact ? str_skip(m->rest, text.n) : m->rest;
        break;
    default:
        m->fits = m->fits && span->end == TOOL_COMPLETE && (!is_exact || m->rest.n == 0);
        m->n_found++;
    }
}

static bool read_back(struct tool_parser *p, struct str text, struct match *m, struct error *e)
{
    struct tool_output found;
    tool_output_init(&found);
    bool ok = tool_parser_push(p, text, &found, e) && tool_parser_flush(p, &found, e);
    struct str rest = buf_str(&found.text);
    for (size_t i = 0; ok && i < found.n_spans; i++) {
        match_span(m, &found.spans[i], (struct str){rest.p, found.spans[i].n_bytes});
        rest = str_skip(rest, found.spans[i].n_bytes);
    }
    m->fits = m->fits && m->n_found == m->n;
    tool_output_finish(&found);
    return ok;
}

static bool has_frame(const struct chat_call *calls, size_t n)
{
    size_t i = 0;
    while (i < n && tool_frame_digits(calls[i].id).n == 0) {
        i++;
    }
    return i < n;
}

bool tool_frames_fit(const struct tool_spelling *own, enum tool_format format,
                     const struct chat_call *calls, size_t n, bool *out, struct error *e)
{
    *out = true;
    if (!has_frame(calls, n)) {
        return true;
    }
    struct match m = {.calls = calls, .n = n, .fits = true};
    struct tool_set set = {0};
    struct tool_parser *p = NULL;
    struct buf text;
    buf_init(&text, TOOL_PARSER_MAX_OUTPUT);
    bool ok = tool_calls_write_named(own, calls, n, &text, NULL, e);
    m.fits = ok && str_is_utf8(buf_str(&text));
    if (m.fits) {
        ok = tool_set_of_calls(&set, calls, n, e);
        p = ok ? tool_parser_create(format, &set, e) : NULL;
        ok = p != NULL && read_back(p, buf_str(&text), &m, e);
    }
    *out = m.fits;
    tool_parser_destroy(p);
    tool_set_finish(&set);
    buf_finish(&text);
    return ok;
}
