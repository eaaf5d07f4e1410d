/* tool_frame.c - texts of calls made into frames, and frames into texts. */
#include "chat/tool_frame.h"

#include "base/base64.h"
#include "chat/json_scan.h"
#include "chat/tool_parser.h"

bool tool_frame_make(struct str text, struct str arguments, bool ends_list, struct buf *out,
                     struct error *e)
{
    const char *at = arguments.n > 0 ? memmem(text.p, text.n, arguments.p, arguments.n) : NULL;
    size_t n_before = at != NULL ? (size_t)(at - text.p) : text.n;
    struct str after = str_skip(text, at != NULL ? n_before + arguments.n : text.n);
    bool has_hole = at != NULL, has_nul = memchr(text.p, '\0', text.n) != NULL;
    size_t n = ends_list + n_before + has_hole + after.n;
    if (has_nul || n > TOOL_FRAME_BYTES) {
        return true;
    }
    return buf_reserve(out, n, e) && (!ends_list || buf_append_byte(out, '\0', e)) &&
           buf_append(out, (struct str){text.p, n_before}, e) &&
           (!has_hole || buf_append_byte(out, '\0', e)) && buf_append(out, after, e);
}

/* --- as an id and as white space */

/* Of a frame that is white space. */
enum { MARK = 0xaa };

/* The digits of the frame that an id carries, "" for none. */
static struct str digits_of(struct str id)
{
    const size_t n_plain = sizeof "call_" - 1 + TOOL_CALL_DIGITS;
    if (id.n <= n_plain || id.n > TOOL_CALL_ID_BYTES || !str_starts_with(id, STR("call_")) ||
        id.p[n_plain] != '_' || !base64_is_url(str_skip(id, n_plain + 1))) {
        return STR("");
    }
    return str_skip(id, n_plain + 1);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static unsigned char byte_of_blanks(const char *blanks)
{
    unsigned byte = 0;
    for (size_t i = 0; i < 8; i++) {
        byte = byte << 1 | (blanks[i] == '\t');
    }
    return (unsigned char)byte;
}

static void put_blanks(struct buf *out, unsigned char byte)
{
    for (unsigned bit = 0x80; bit != 0; bit >>= 1) {
        buf_append_byte(out, byte & bit ? '\t' : ' ', NULL); /* there is room */
    }
}

bool tool_frame_blank(struct str frame, const struct tool_spelling *s, const struct chat_call *call,
                      bool is_first, struct buf *out, struct error *e)
{
    struct buf begin;
    buf_init(&begin, 8 * (call->name.n + call->arguments.n) + 256);
    bool ok = s == NULL || tool_call_begin_write(s, call, is_first, &begin, e);
    bool begins_so = begin.n > 0 && begin.n < frame.n && frame.p[begin.n] == '\0' &&
                     str_starts_with(frame, buf_str(&begin));
    struct str told = str_skip(frame, begins_so ? begin.n : 0);
    ok = ok && buf_reserve(out, 8 * (1 + told.n), e);
    if (ok) {
        put_blanks(out, MARK);
        for (size_t i = 0; i < told.n; i++) {
            put_blanks(out, (unsigned char)told.p[i]);
        }
    }
    buf_finish(&begin);
    return ok;
}

struct chat_call tool_frame_read(struct chat_call call)
{
    struct str arguments = call.arguments;
    size_t n = 0;
    call.frame = digits_of(call.id);
    while (n < arguments.n && is_blank(arguments.p[arguments.n - 1 - n])) {
        n++;
    }
    if (n < 16 || n > TOOL_FRAME_BLANKS || n % 8 != 0) {
        return call;
    }
    struct str blanks = str_skip(arguments, arguments.n - n);
    if (byte_of_blanks(blanks.p) == MARK) {
        call.frame = call.frame.n > 0 ? call.frame : str_skip(blanks, 8);
        call.arguments.n -= n;
    }
    return call;
}

/* The first byte is a NUL. */
bool tool_frame_ends_list(const struct chat_call *call)
{
    struct str f = call->frame;
    return f.n > 1 && f.p[0] == 'A' && f.p[1] >= 'A' && f.p[1] <= 'P';
}

static bool decode(struct str coded, struct buf *out, struct error *e)
{
    if (!is_blank(coded.p[0])) {
        return base64_decode_url(coded, out, e);
    }
    bool ok = buf_reserve(out, coded.n / 8, e);
    for (size_t i = 0; ok && i < coded.n; i += 8) {
        buf_append_byte(out, (char)byte_of_blanks(coded.p + i), NULL); /* there is room */
    }
    return ok;
}

/* --- the text */

static bool is_gap(char c)
{
    return json_is_space(c) || c == ';' || c == ',';
}

/* Notes the tag, if it stands at this byte of the text, which begins at `begin`. Returns its bytes,
 * or 0. */
static size_t note_tag(struct tool_tags *tags, struct str tag, struct str text, size_t at,
                       size_t begin)
{
    if (!str_starts_with(str_skip(text, at), tag)) {
        return 0;
    }
    if (tags != NULL) {
        tags->list[tags->n++] = (struct tool_tag){begin + at, tag.n};
    }
    return tag.n;
}

/* Behind white space and brackets of this kind. */
static size_t skip_list(struct str text, size_t at, char bracket)
{
    while (at < text.n && (json_is_space(text.p[at]) || text.p[at] == bracket)) {
        at++;
    }
    return at;
}

/* Behind the object that begins here, or where it is none any more. */
static size_t skip_object(struct str text, size_t at)
{
    struct json_scan scan;
    json_scan_init(&scan);
    while (at < text.n && scan.state != SCAN_END && json_scan_push(&scan, text.p[at])) {
        at++;
    }
    return at;
}

/* A tag before the call, and one behind its object: others are part of what the call says, in a
 * string, in Python or in code. That the object ends there the parser has found, too. */
static void note_tags(struct str text, size_t begin, struct tool_tags *tags)
{
    size_t at = 0;
    while (at < text.n && is_gap(text.p[at])) {
        at++;
    }
    if (note_tag(tags, STR("<|python_tag|>"), text, at, begin) > 0) {
        return;
    }
    at += note_tag(tags, STR("<tool_call>"), text, at, begin);
    at = skip_list(text, at, '[');
    if (at < text.n && text.p[at] == '{') {
        at = skip_list(text, skip_object(text, at), ']');
        note_tag(tags, STR("</tool_call>"), text, at, begin);
    }
}

bool tool_frame_write(const struct tool_spelling *s, const struct chat_call *call, bool is_first,
                      struct buf *out, struct tool_tags *tags, struct error *e)
{
    struct buf frame;
    buf_init(&frame, TOOL_FRAME_BYTES + 2);
    bool ok = decode(call->frame, &frame, e);
    struct str text = str_skip(buf_str(&frame), ok && tool_frame_ends_list(call) ? 1 : 0);
    const char *hole = text.n > 0 ? memchr(text.p, '\0', text.n) : NULL;
    size_t n_before = hole != NULL ? (size_t)(hole - text.p) : text.n, begin = out->n;
    struct str after = str_skip(text, hole != NULL ? n_before + 1 : text.n);
    bool begins_as_told = hole == text.p && is_blank(call->frame.p[0]);
    ok = ok && (!begins_as_told || tool_call_begin_write(s, call, is_first, out, e)) &&
         buf_append(out, (struct str){text.p, n_before}, e) &&
         (hole == NULL || buf_append(out, call->arguments, e)) && buf_append(out, after, e);
    if (ok) {
        note_tags(str_skip(buf_str(out), begin), begin, tags);
    }
    buf_finish(&frame);
    return ok;
}

/* --- whether it is that of the calls */

enum { MAX_TEXT_BYTES = TOOL_PARSER_MAX_OUTPUT / 8 }; /* a byte of it becomes six at most */

/* Where the texts of calls are compared with the calls that they are to be. */
struct match {
    const struct chat_call *calls; /* (n) */
    size_t n, n_found;             /* found: whole ones */
    struct str rest;               /* of the arguments of the call that is open */
    bool fits;
    struct tool_parser *parser;
    struct tool_output told; /* of the call that is looked at */
};

static void match_span(struct match *m, size_t i, const struct tool_span *span, struct str text)
{
    const struct chat_call *call = &m->calls[i];
    bool is_exact = call->frame.n > 0; /* else what is read may be spelled anew */
    if (span->kind == TOOL_CONTENT || span->call != i) {
        m->fits = false;
        return;
    }
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

/* The text of call i, which must be that call and leave nothing open for the next one to end. */
static bool match_text(struct match *m, size_t i, struct str text, struct error *e)
{
    bool is_last = i + 1 == m->n;
    m->fits = m->fits && str_is_utf8(text);
    tool_output_clear(&m->told);
    if (m->fits && (!tool_parser_push(m->parser, text, &m->told, e) ||
                    (is_last && !tool_parser_flush(m->parser, &m->told, e)))) {
        return false;
    }
    struct str rest = buf_str(&m->told.text);
    for (size_t k = 0; k < m->told.n_spans; k++) {
        size_t n_bytes = m->told.spans[k].n_bytes;
        match_span(m, i, &m->told.spans[k], (struct str){rest.p, n_bytes});
        rest = str_skip(rest, n_bytes);
    }
    m->fits = m->fits && m->n_found == i + 1 && tool_parser_held(m->parser) == 0 &&
              (is_last || !tool_parser_in_string(m->parser));
    return true;
}

/* Calls that are too large fit no frame. */
static bool match_all(struct match *m, const struct tool_spelling *own, struct error *e)
{
    struct error why = {0};
    struct buf text;
    bool ok = true;
    buf_init(&text, MAX_TEXT_BYTES);
    for (size_t i = 0; ok && m->fits && i < m->n; i++) {
        size_t begin = text.n;
        bool is_last = i + 1 == m->n || tool_frame_ends_list(&m->calls[i + 1]);
        ok = tool_call_write_named(own, &m->calls[i], i == 0, is_last, &text, &why) &&
             match_text(m, i, str_skip(buf_str(&text), begin), &why);
    }
    m->fits = ok && m->fits;
    ok = ok || text.is_full || error_set(e, why.code, "%s", why.text);
    buf_finish(&text);
    return ok;
}

static bool has_frame(const struct chat_call *calls, size_t n)
{
    size_t i = 0;
    while (i < n && calls[i].frame.n == 0) {
        i++;
    }
    return i < n;
}

bool tool_frames_fit(const struct tool_spelling *own, enum tool_format format,
                     const struct chat_call *calls, size_t n, bool *out, struct error *e)
{
    if (!has_frame(calls, n)) {
        *out = true;
        return true;
    }
    struct match m = {.calls = calls, .n = n, .fits = true};
    struct tool_set set = {0};
    bool ok = tool_set_of_calls(&set, calls, n, e);
    m.parser = ok ? tool_parser_create(format, &set, e) : NULL;
    tool_output_init(&m.told);
    ok = m.parser != NULL && match_all(&m, own, e);
    *out = ok ? m.fits : *out;
    tool_output_finish(&m.told);
    tool_parser_destroy(m.parser);
    tool_set_finish(&set);
    return ok;
}
