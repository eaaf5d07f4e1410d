/* tool_frame.c - texts of calls made into frames, and frames into texts. */
#include "chat/tool_frame.h"

#include "base/base64.h"
#include "chat/json_scan.h"
#include "chat/tool_parser.h"

struct tool_place tool_place_begin(void)
{
    return (struct tool_place){.check = 2166136261};
}

struct tool_place tool_place_behind(struct tool_place place, struct str content)
{
    for (size_t i = 0; i < content.n; i++) {
        place.check = (place.check ^ (unsigned char)content.p[i]) * 16777619;
    }
    place.n += content.n;
    return place;
}

bool tool_frame_place(struct tool_place place, struct buf *out, struct error *e)
{
    char text[40] = {0};
    int n = snprintf(text + 2, sizeof text - 2, "%zu,%08x", place.n, (unsigned)place.check);
    return buf_append(out, (struct str){text, (size_t)n + 3}, e);
}

bool tool_frame_make(struct str text, struct str arguments, bool ends_list, struct buf *out,
                     struct error *e)
{
    const char *at = arguments.n > 0 ? memmem(text.p, text.n, arguments.p, arguments.n) : NULL;
    size_t n_before = at != NULL ? (size_t)(at - text.p) : text.n;
    struct str after = str_skip(text, at != NULL ? n_before + arguments.n : text.n);
    bool has_hole = at != NULL, has_nul = memchr(text.p, '\0', text.n) != NULL;
    size_t n = ends_list + n_before + has_hole + after.n;
    if (has_nul || out->n + n > TOOL_FRAME_BYTES) {
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

/* Byte i of a frame, -1 behind it. */
static int frame_byte(struct str coded, size_t i)
{
    if (coded.n > 0 && is_blank(coded.p[0])) {
        return 8 * i < coded.n ? byte_of_blanks(coded.p + 8 * i) : -1;
    }
    return base64_url_byte(coded, i);
}

/* A number of a frame's bytes from *at on, in this base and so many digits at most. Sets *at behind
 * it. */
static size_t number_at(struct str coded, size_t *at, int base, int n_most)
{
    size_t number = 0;
    for (int i = 0; i < n_most; i++, ++*at) {
        int c = frame_byte(coded, *at);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : base;
        if (digit >= base) {
            break;
        }
        number = number * (size_t)base + (size_t)digit;
    }
    return number;
}

/* Bytes of a frame's place and what is round it; 0: it has none. */
static size_t n_lead(struct str coded, struct tool_place *place)
{
    size_t at = 2;
    if (frame_byte(coded, 0) != 0 || frame_byte(coded, 1) != 0) {
        return 0;
    }
    place->n = number_at(coded, &at, 10, 9);
    if (frame_byte(coded, at++) != ',') {
        return 0;
    }
    place->check = (uint32_t)number_at(coded, &at, 16, 8);
    return frame_byte(coded, at) == 0 ? at + 1 : 0;
}

static void put_blanks(struct buf *out, unsigned char byte)
{
    for (unsigned bit = 0x80; bit != 0; bit >>= 1) {
        buf_append_byte(out, byte & bit ? '\t' : ' ', NULL); /* there is room */
    }
}

static void put_all_blanks(struct buf *out, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        put_blanks(out, (unsigned char)bytes.p[i]);
    }
}

static bool is_placed(struct str frame)
{
    return frame.n > 2 && frame.p[0] == '\0' && frame.p[1] == '\0';
}

bool tool_frame_blank(struct str frame, const struct tool_spelling *s, const struct chat_call *call,
                      bool is_first, struct buf *out, struct error *e)
{
    struct buf begin;
    buf_init(&begin, 8 * (call->name.n + call->arguments.n) + 256);
    bool ok = s == NULL || tool_call_begin_write(s, call, is_first, &begin, e);
    const char *nul = is_placed(frame) ? memchr(frame.p + 2, '\0', frame.n - 2) : NULL;
    size_t n_place = nul != NULL ? (size_t)(nul - frame.p) + 1 : 0;
    struct str text = str_skip(frame, n_place);
    bool begins_so = begin.n > 0 && begin.n < text.n && text.p[begin.n] == '\0' &&
                     str_starts_with(text, buf_str(&begin));
    struct str told = str_skip(text, begins_so ? begin.n : 0);
    ok = ok && buf_reserve(out, 8 * (1 + n_place + told.n), e);
    if (ok) {
        put_blanks(out, MARK);
        put_all_blanks(out, (struct str){frame.p, n_place});
        put_all_blanks(out, told);
    }
    buf_finish(&begin);
    return ok;
}

/* White space of JSON at its end. */
static size_t n_space_behind(struct str text)
{
    size_t n = 0;
    while (n < text.n && json_is_space(text.p[text.n - 1 - n])) {
        n++;
    }
    return n;
}

static bool is_all_blank(struct str text)
{
    size_t n = 0;
    while (n < text.n && is_blank(text.p[n])) {
        n++;
    }
    return n == text.n;
}

/* 1 + the bytes of content before a call with this frame; 0: it has no place there. */
static size_t place_of(struct str coded, struct str content, struct tool_places *read)
{
    struct tool_place place;
    if (n_lead(coded, &place) == 0 || place.n > content.n) {
        return 0;
    }
    bool goes_on = read->last.n > 0 && place.n >= read->last.n;
    struct tool_place from = goes_on ? read->last : tool_place_begin();
    struct str more = str_skip(content, from.n);
    more.n = place.n - from.n;
    if (more.n > 2 * content.n - read->n_bytes) {
        return 0;
    }
    read->n_bytes += more.n;
    read->last = tool_place_behind(from, more);
    return read->last.check == place.check ? 1 + place.n : 0;
}

struct chat_call tool_frame_read(struct chat_call call, struct str content,
                                 struct tool_places *read)
{
    size_t n = n_space_behind(call.arguments);
    struct str space = str_skip(call.arguments, call.arguments.n - n);
    struct str arguments = {call.arguments.p, call.arguments.n - n};
    bool is_object = n > 0 && json_scan_is_object(arguments);
    call.frame = digits_of(call.id);
    call.arguments = is_object ? arguments : call.arguments;
    if (call.frame.n == 0 && is_object && n >= 16 && n <= TOOL_FRAME_BLANKS && n % 8 == 0 &&
        is_all_blank(space) && byte_of_blanks(space.p) == MARK) {
        call.frame = str_skip(space, 8);
    }
    call.place = place_of(call.frame, content, read);
    return call;
}

bool tool_frame_ends_list(const struct chat_call *call)
{
    struct tool_place place;
    struct str f = call->frame;
    return f.n > 0 && !is_blank(f.p[0]) && frame_byte(f, n_lead(f, &place)) == 0;
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
    struct tool_place place;
    size_t n_place = n_lead(call->frame, &place);
    struct str text = str_skip(buf_str(&frame), ok ? n_place + tool_frame_ends_list(call) : 0);
    const char *hole = text.n > 0 ? memchr(text.p, '\0', text.n) : NULL;
    size_t n_before = hole != NULL ? (size_t)(hole - text.p) : text.n, begin = out->n;
    struct str after = str_skip(text, hole != NULL ? n_before + 1 : text.n);
    bool begins_as_told = hole != NULL && hole == text.p && is_blank(call->frame.p[0]);
    if (text.n == 0 && n_place > 0) {
        ok = ok && tool_call_write(s, call, is_first, true, out, e);
    }
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
    const struct tool_said *said;
    size_t n_found;  /* whole ones */
    struct str rest; /* of the arguments of the call that is open */
    bool fits;
    struct tool_parser *parser;
    struct tool_output told; /* of the call that is looked at */
};

static void match_span(struct match *m, size_t i, const struct tool_span *span, struct str text)
{
    const struct chat_call *call = &m->said->calls[i];
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
    bool is_last = i + 1 == m->said->n;
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
    for (size_t i = 0; ok && m->fits && i < m->said->n; i++) {
        size_t begin = text.n;
        ok = tool_said_write_call(own, m->said, i, &text, &why) &&
             match_text(m, i, str_skip(buf_str(&text), begin), &why);
    }
    m->fits = ok && m->fits; /* without an error: not to be written so, as code that is none */
    ok = ok || text.is_full || why.code == ERROR_NONE || error_set(e, why.code, "%s", why.text);
    buf_finish(&text);
    return ok;
}

static bool has_frame(const struct tool_said *said)
{
    size_t i = 0;
    while (i < said->n && said->calls[i].frame.n == 0) {
        i++;
    }
    return i < said->n;
}

/* Whether calls stand in the content one behind the other, and in no code point. */
static bool has_places(const struct tool_said *said)
{
    size_t before = 0;
    for (size_t i = 0; i < said->n; i++) {
        size_t place = tool_said_place(said, i);
        if (place < before || place > said->content.n ||
            (place < said->content.n && ((unsigned char)said->content.p[place] & 0xC0) == 0x80)) {
            return false;
        }
        before = place;
    }
    return true;
}

bool tool_frames_fit(const struct tool_spelling *own, enum tool_format format,
                     const struct tool_said *said, bool *out, struct error *e)
{
    if (!has_frame(said)) {
        *out = true;
        return true;
    }
    struct match m = {.said = said, .fits = has_places(said)};
    struct tool_set set = {0};
    bool ok = tool_set_of_calls(&set, said->calls, said->n, e);
    m.parser = ok ? tool_parser_create(format, &set, e) : NULL;
    tool_output_init(&m.told);
    ok = m.parser != NULL && match_all(&m, own, e);
    *out = ok ? m.fits : *out;
    tool_output_finish(&m.told);
    tool_parser_destroy(m.parser);
    tool_set_finish(&set);
    return ok;
}
