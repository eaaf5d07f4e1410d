/* fuzz_tool_frame.c - a byte that chooses the format, content with ETB behind it, and calls as
 * clients may send them back: each a byte that says where its frame stands, the frame, its name and
 * its arguments with NAK between, and ETB behind it. Calls that fit are found again in the text
 * that is written of them all, and nothing else is; tags are none within a string. */
#include "base/base64.h"
#include "chat/tool_frame.h"
#include "chat/tool_parser.h"

#include "require.h"

enum { MAX_CALLS = 8, MAX_BYTES = 1 << 22, NAK = 0x15, ETB = 0x17 };

enum { IN_ID = 1, BEHIND_ARGUMENTS = 2, NAMES_SPELLING = 4 };

struct sent {
    struct buf texts[MAX_CALLS][2]; /* id, arguments */
    struct chat_call calls[MAX_CALLS];
    struct tool_said said;
    struct tool_places read;
};

/* What comes before c in *rest, which goes on behind it. */
static struct str part(struct str *rest, char c)
{
    const char *at = rest->n > 0 ? memchr(rest->p, c, rest->n) : NULL;
    size_t n = at != NULL ? (size_t)(at - rest->p) : rest->n;
    struct str found = {rest->p, n};
    *rest = str_skip(*rest, at != NULL ? n + 1 : n);
    return found;
}

/* The text that tool_frame_blank() would make of any bytes. */
static void put_blank(struct buf *out, struct str frame)
{
    struct chat_call none = {.name = STR("f"), .arguments = STR("{}")};
    require(tool_frame_blank(frame, NULL, &none, true, out, NULL));
}

static void read_call(struct str text, struct sent *s)
{
    unsigned how = text.n > 0 ? (unsigned char)text.p[0] : 0;
    text = str_skip(text, text.n > 0 ? 1 : 0);
    struct str frame = part(&text, NAK), name = part(&text, NAK);
    struct buf *id = &s->texts[s->said.n][0], *arguments = &s->texts[s->said.n][1];
    char letter[] = {'_', (char)((how & 8 ? 'A' : 'a') + (how >> 4) % 26)};
    buf_init(id, MAX_BYTES);
    buf_init(arguments, MAX_BYTES);
    require(buf_append(id, STR("call_000000000000000000000000"), NULL));
    if (how & IN_ID) {
        require(buf_append_byte(id, '_', NULL));
        require(base64_append(frame.p, frame.n, BASE64_URL, id, NULL));
    } else if (how & NAMES_SPELLING) {
        require(buf_append(id, (struct str){letter, 2}, NULL));
    }
    require(buf_append(arguments, text, NULL));
    if (how & BEHIND_ARGUMENTS) {
        put_blank(arguments, frame);
    }
    s->calls[s->said.n++] = tool_frame_read(
        (struct chat_call){.id = buf_str(id), .name = name, .arguments = buf_str(arguments)},
        s->said.content, &s->read);
}

static bool in_string(struct str text, size_t at)
{
    bool is_in = false;
    for (size_t i = 0; i < at; i++) {
        if (is_in && text.p[i] == '\\') {
            i++;
        } else if (text.p[i] == '"') {
            is_in = !is_in;
        }
    }
    return is_in;
}

static void check_tags(struct str text, const struct tool_tags *tags, bool is_calls_alone)
{
    size_t end = 0;
    for (size_t i = 0; i < tags->n; i++) {
        struct tool_tag tag = tags->list[i];
        require(tag.begin >= end && tag.begin + tag.n_bytes <= text.n);
        end = tag.begin + tag.n_bytes;
        struct str is = {text.p + tag.begin, tag.n_bytes};
        require(str_eq(is, STR("<|python_tag|>")) || str_eq(is, STR("<tool_call>")) ||
                str_eq(is, STR("</tool_call>")));
        bool is_json =
            is_calls_alone && memchr(text.p, '\'', tag.begin) == NULL; /* else quotes say nothing */
        require(!is_json || !in_string(text, tag.begin));
    }
}

/* The calls in the text are those that were sent. */
static void check_read(struct tool_parser *p, struct str text, const struct sent *s)
{
    struct tool_output told;
    struct buf arguments;
    size_t n = 0;
    tool_output_init(&told);
    buf_init(&arguments, MAX_BYTES);
    require(tool_parser_push(p, text, &told, NULL) && tool_parser_flush(p, &told, NULL));
    struct str rest = buf_str(&told.text);
    for (size_t i = 0; i < told.n_spans; i++) {
        const struct tool_span *span = &told.spans[i];
        struct str bytes = {rest.p, span->n_bytes};
        rest = str_skip(rest, span->n_bytes);
        require(span->kind != TOOL_CONTENT && n < s->said.n);
        const struct chat_call *call = &s->calls[n];
        if (span->kind == TOOL_CALL_NAME) {
            require(str_eq(bytes, call->name));
        } else if (span->kind == TOOL_CALL_ARGUMENTS) {
            require(buf_append(&arguments, bytes, NULL));
        } else {
            require(span->end == TOOL_COMPLETE);
            require(call->frame.n == 0 || str_eq(buf_str(&arguments), call->arguments));
            buf_clear(&arguments);
            n++;
        }
    }
    require(n == s->said.n);
    buf_finish(&arguments);
    tool_output_finish(&told);
}

static void check_calls(const struct sent *s, const struct tool_spelling *own,
                        enum tool_format format)
{
    const struct tool_spelling *base = tool_spellings_named(own, format, s->calls, s->said.n);
    struct tool_tag list[2 * MAX_CALLS];
    struct tool_tags tags = {.list = list};
    struct tool_set set;
    struct buf text;
    bool fits = false, has_frame = false;
    for (size_t i = 0; i < s->said.n; i++) {
        has_frame = has_frame || s->calls[i].frame.n > 0;
    }
    if (base == NULL) {
        return;
    }
    require(tool_frames_fit(base, format, &s->said, &fits, NULL));
    if (!fits || !has_frame) {
        return;
    }
    buf_init(&text, MAX_BYTES);
    require(tool_said_write(base, &s->said, &text, &tags, NULL));
    check_tags(buf_str(&text), &tags, s->said.content.n == 0);
    if (s->said.content.n == 0) { /* which may say anything */
        require(tool_set_of_calls(&set, s->calls, s->said.n, NULL));
        struct tool_parser *p = tool_parser_create(format, &set, NULL);
        check_read(p, buf_str(&text), s);
        tool_parser_destroy(p);
        tool_set_finish(&set);
    }
    buf_finish(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < 1) {
        return 0;
    }
    struct sent s = {.said = {.n = 0}};
    struct str rest = {(const char *)data + 1, n_bytes - 1};
    enum tool_format format = (enum tool_format)((data[0] & 0x7f) % TOOL_FORMAT_COUNT);
    s.said.content = part(&rest, ETB);
    s.said.calls = s.calls;
    while (rest.n > 0 && s.said.n < MAX_CALLS) {
        read_call(part(&rest, ETB), &s);
    }
    if (s.said.n > 0) {
        check_calls(&s, data[0] & 0x80 ? tool_spelling_usual(format) : NULL, format);
    }
    for (size_t i = 0; i < s.said.n; i++) {
        buf_finish(&s.texts[i][0]);
        buf_finish(&s.texts[i][1]);
    }
    return 0;
}
