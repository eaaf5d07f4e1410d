/* fuzz_tool_parser.c - a byte that chooses the format, one that says how the text is cut, the text
 * of an answer. However it is cut, the same comes out; content is the text less what calls take,
 * all of it without a call; arguments that are whole are a JSON object, and the call is read back
 * from each spelling that it is written in. An answer is the same when it is sent back. */
#include "chat/json_scan.h"
#include "chat/tool_frame.h"
#include "chat/tool_parser.h"

#include "base/rng.h"
#include "require.h"

static const char tools_text[] =
    "[{\"function\": {\"name\": \"f\"}}, {\"function\": {\"name\": \"g.h\"}},"
    "{\"function\": {\"name\": \"get_weather\"}},"
    "{\"function\": {\"name\": \"brave_search\"}},"
    "{\"function\": {\"name\": \"code_interpreter\"}}]";

enum { MAX_BYTES = 1 << 24, MAX_READ_BACK = 300, MOST_READ_BACK = 4 };

/* What came out: content alone, and all of it with the calls' begins and ends marked. */
struct result {
    struct buf content, all;
    size_t n_calls, n_read; /* read: bytes */

    /* with frames */
    struct buf texts; /* of each call its id, name and arguments */
    struct buf frame; /* of the next call */
    struct text_of_call {
        size_t n_id, n_name, n_arguments;
    } calls[TOOL_PARSER_MAX_CALLS];
    bool has_unnamed; /* an id that names nothing, or a call that is broken or cut */
};

struct reader {
    enum tool_format format;
    enum tool_framing framing;
    const struct tool_set *set;
    bool is_utf8, reads_back;
    bool one_call; /* ends the answer */
};

static void read_text(const struct reader *r, struct str text, uint64_t seed, struct result *out);

static void finish(struct result *r)
{
    buf_finish(&r->content);
    buf_finish(&r->all);
    buf_finish(&r->texts);
    buf_finish(&r->frame);
}

/* A number that no double holds is JSON all the same. */
static json_t *load_arguments(struct str text)
{
    json_error_t why;
    json_t *json = json_loadb(text.p, text.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    require(json_is_object(json) || json_error_code(&why) == json_error_numeric_overflow);
    return json;
}

static void check_one(const struct reader *r, struct str text, const struct chat_call *call,
                      const json_t *expected)
{
    struct result found;
    read_text(r, text, 0, &found);
    struct str all = buf_str(&found.all);
    require(found.n_calls == 1 && found.content.n == 0);
    require(str_starts_with(all, call->name) && all.n > call->name.n + 2);
    json_t *json = load_arguments((struct str){all.p + call->name.n + 1, all.n - call->name.n - 3});
    require(json_equal(json, expected));
    json_decref(json);
    finish(&found);
}

static unsigned deepest(struct str json)
{
    unsigned most = 0;
    struct json_scan scan;
    json_scan_init(&scan);
    for (size_t i = 0; i < json.n; i++) {
        json_scan_push(&scan, json.p[i]);
        most = scan.depth > most ? scan.depth : most;
    }
    return most;
}

/* What is taken for code alone is all that the arguments say. */
static void check_code(struct str arguments, const json_t *json)
{
    struct chat_call call = {.name = STR("code_interpreter"), .arguments = arguments};
    struct buf code;
    buf_init(&code, MAX_BYTES);
    if (tool_call_code(&call, &code, NULL)) {
        const json_t *text = json_object_get(json, "code");
        require(json_object_size(json) == 1 && json_is_string(text));
        require(str_eq(buf_str(&code),
                       (struct str){json_string_value(text), json_string_length(text)}));
    }
    buf_finish(&code);
}

static void check_call(const struct reader *r, struct str name, struct str arguments, size_t index)
{
    bool reads_back = r->reads_back && index < MOST_READ_BACK && arguments.n < MAX_READ_BACK;
    struct chat_call call = {.name = name, .arguments = arguments};
    json_t *json = r->is_utf8 ? load_arguments(arguments) : NULL;
    if (json != NULL) {
        check_code(arguments, json);
    }
    bool is_deep = deepest(arguments) + 2 > TOOL_PARSER_MAX_DEPTH; /* with a list and an object */
    for (char letter = 'a'; json != NULL && reads_back; letter = letter == 'z' ? 'A' : letter + 1) {
        char id[] = "call_000000000000000000000000_?";
        id[sizeof id - 2] = letter;
        call.id = str_from(id);
        const struct tool_spelling *spelling = tool_spelling_named(call.id);
        if (spelling == NULL) {
            require(letter > 'A' && letter <= 'Z');
            break;
        }
        bool is_code = spelling->traits & TOOL_TRAIT_CODE; /* which may itself look like a call */
        if (is_code || (spelling->traits & TOOL_TRAIT_LIST && is_deep)) {
            continue;
        }
        struct reader again = {.format = spelling->format, .set = r->set, .is_utf8 = true};
        struct buf text;
        buf_init(&text, MAX_BYTES);
        require(tool_calls_write(spelling, &call, 1, &text, NULL, NULL));
        check_one(&again, buf_str(&text), &call, json);
        buf_finish(&text);
    }
    json_decref(json);
}

/* The call that is open: its name, and where its arguments begin in `all`. */
struct open_call {
    bool is_open;
    struct str name;
    size_t begin;
};

static void keep_span(const struct tool_span *span, struct str text, struct result *out)
{
    struct text_of_call *call = &out->calls[span->call];
    if (span->kind == TOOL_CALL_FRAME) {
        require(out->frame.n == 0 && text.n > 0);
        buf_append(&out->frame, text, NULL);
    } else if (span->kind == TOOL_CALL_NAME) {
        size_t n = out->texts.n;
        require(tool_call_id_write(&out->texts, "000000000000000000000000", span->spelling,
                                   buf_str(&out->frame), NULL));
        call->n_id = out->texts.n - n;
        call->n_name = text.n;
        out->has_unnamed = out->has_unnamed || (span->spelling == NULL && out->frame.n == 0);
        buf_clear(&out->frame);
        buf_append(&out->texts, text, NULL);
    } else if (span->kind == TOOL_CALL_ARGUMENTS) {
        call->n_arguments += text.n;
        buf_append(&out->texts, text, NULL);
    } else {
        out->has_unnamed = out->has_unnamed || span->end != TOOL_COMPLETE;
    }
}

/* What stands behind the arguments. */
static void drop_frame(const struct reader *r, const struct open_call *open, struct result *out)
{
    struct str arguments = str_skip(buf_str(&out->all), open->begin);
    struct chat_call call = tool_frame_read((struct chat_call){.arguments = arguments}, STR(""),
                                            &(struct tool_places){0});
    require(call.frame.n == 0 || r->framing == TOOL_FRAMES_ODD);
    out->all.n -= arguments.n - call.arguments.n;
}

static void take_span(const struct reader *r, const struct tool_span *span, struct str text,
                      struct open_call *open, struct result *out)
{
    require(open->is_open == (span->kind >= TOOL_CALL_ARGUMENTS));
    require(span->kind == TOOL_CONTENT || span->call == out->n_calls);
    require(out->frame.n == 0 || span->kind == TOOL_CALL_NAME);
    if (span->kind != TOOL_CONTENT) {
        keep_span(span, text, out);
    }
    if (span->kind == TOOL_CALL_FRAME) {
        require(r->framing != TOOL_FRAMES_NONE);
        return;
    }
    if (span->kind == TOOL_CALL_END && span->end == TOOL_COMPLETE) {
        drop_frame(r, open, out);
    }
    buf_append(&out->all, text, NULL);
    if (span->kind == TOOL_CONTENT) {
        buf_append(&out->content, text, NULL);
    } else if (span->kind == TOOL_CALL_NAME) {
        const struct tool *tool = tool_set_find(r->set, text);
        require(tool != NULL);
        *open = (struct open_call){true, tool->name, out->all.n + 1};
        buf_append_byte(&out->all, ' ', NULL);
    } else if (span->kind == TOOL_CALL_END) {
        struct str arguments = str_skip(buf_str(&out->all), open->begin);
        if (span->end == TOOL_COMPLETE) {
            check_call(r, open->name, arguments, out->n_calls);
        }
        require(buf_printf(&out->all, NULL, "%d\n", (int)span->end));
        open->is_open = false;
        out->n_calls++;
    }
}

static void take(const struct reader *r, struct tool_output *from, struct open_call *open,
                 struct result *out)
{
    size_t at = 0;
    for (size_t i = 0; i < from->n_spans; i++) {
        take_span(r, &from->spans[i], (struct str){from->text.data + at, from->spans[i].n_bytes},
                  open, out);
        at += from->spans[i].n_bytes;
    }
    require(at == from->text.n);
    tool_output_clear(from);
}

/* seed 0: the whole at once; 1: byte by byte; else pieces of up to 16 bytes. */
static void read_text(const struct reader *r, struct str text, uint64_t seed, struct result *out)
{
    struct rng rng;
    struct tool_output told;
    struct open_call open = {0};
    struct tool_parser *p = tool_parser_create(r->format, r->set, NULL);
    rng_init(&rng, seed);
    tool_parser_frame(p, r->framing);
    if (r->one_call) {
        tool_parser_end_with_call(p);
    }
    tool_output_init(&told);
    *out = (struct result){0};
    buf_init(&out->content, MAX_BYTES);
    buf_init(&out->all, MAX_BYTES);
    buf_init(&out->texts, MAX_BYTES);
    buf_init(&out->frame, TOOL_FRAME_BYTES);
    while (text.n > 0 && !(r->one_call && out->n_calls == 1)) {
        size_t n = seed == 0 ? text.n : seed == 1 ? 1 : 1 + rng_next(&rng) % 16;
        n = n < text.n ? n : text.n;
        require(tool_parser_push(p, (struct str){text.p, n}, &told, NULL));
        require(r->framing != TOOL_FRAMES_NONE || tool_parser_held(p) <= 2 * TOOL_PARSER_MAX_HELD);
        text = str_skip(text, n);
        out->n_read += n;
        take(r, &told, &open, out);
        require(tool_parser_calls(p) == out->n_calls);
    }
    if (!r->one_call || out->n_calls == 0) {
        require(tool_parser_flush(p, &told, NULL));
        take(r, &told, &open, out);
        require(tool_parser_held(p) == 0);
    }
    require(!open.is_open);
    tool_output_finish(&told);
    tool_parser_destroy(p);
}

/* All bytes of part are in text, in their order. */
static bool is_left_over(struct str part, struct str text)
{
    for (; part.n > 0 && text.n > 0; text = str_skip(text, 1)) {
        part = part.p[0] == text.p[0] ? str_skip(part, 1) : part;
    }
    return part.n == 0;
}

/* An answer with calls is the same when it is sent back; one that ends with its call begins so. */
static void check_written(const struct reader *r, const struct result *found, struct str text)
{
    struct chat_call calls[TOOL_PARSER_MAX_CALLS];
    struct tool_places read = {0};
    struct str rest = buf_str(&found->texts);
    const size_t n_closers = 32;
    bool has_no_frame =
        text.n + n_closers > TOOL_FRAME_BYTES || memchr(text.p, '\0', text.n) != NULL;
    if (found->n_calls == 0 || found->has_unnamed || !r->is_utf8 || has_no_frame) {
        return;
    }
    for (size_t i = 0; i < found->n_calls; i++) {
        const struct text_of_call *c = &found->calls[i];
        calls[i] = tool_frame_read(
            (struct chat_call){.id = {rest.p, c->n_id},
                               .name = {rest.p + c->n_id, c->n_name},
                               .arguments = {rest.p + c->n_id + c->n_name, c->n_arguments}},
            buf_str(&found->content), &read);
        rest = str_skip(rest, c->n_id + c->n_name + c->n_arguments);
    }
    struct buf written;
    bool fits = false;
    const struct tool_spelling *base = tool_spellings_named(NULL, r->format, calls, found->n_calls);
    require(base != NULL);
    buf_init(&written, MAX_BYTES);
    struct tool_said said = {buf_str(&found->content), calls, found->n_calls};
    require(tool_said_write(base, &said, &written, NULL, NULL));
    require(r->one_call ? str_starts_with(buf_str(&written), text)
                        : str_eq(buf_str(&written), text));
    require(tool_frames_fit(base, r->format, &said, &fits, NULL));
    /* words may close a string that the arguments of a call before them lie in */
    bool may_be_open = said.content.n > 0 && memmem(text.p, text.n, "\"{", 2) != NULL;
    require(fits || may_be_open);
    buf_finish(&written);
}

static void check_frames(struct reader *r, struct str text, uint64_t seed, struct str all)
{
    for (enum tool_framing f = TOOL_FRAMES_ODD; f <= TOOL_FRAMES_ALL; f++) {
        struct result kept;
        r->framing = f;
        read_text(r, text, seed, &kept);
        require(str_eq(buf_str(&kept.all), all));
        check_written(r, &kept, text);
        finish(&kept);
        r->one_call = true;
        read_text(r, text, 1, &kept);
        if (kept.n_calls == 1) {
            check_written(r, &kept, (struct str){text.p, kept.n_read});
        }
        finish(&kept);
        r->one_call = false;
    }
    r->framing = TOOL_FRAMES_NONE;
}

static void check_text(struct reader *r, struct str text, uint64_t seed)
{
    struct result whole, bytes, pieces;
    r->reads_back = true;
    read_text(r, text, 0, &whole);
    r->reads_back = false;
    read_text(r, text, 1, &bytes);
    read_text(r, text, 2 + seed, &pieces);
    require(str_eq(buf_str(&whole.all), buf_str(&bytes.all)));
    require(str_eq(buf_str(&whole.all), buf_str(&pieces.all)));
    require(is_left_over(buf_str(&whole.content), text));
    check_frames(r, text, seed, buf_str(&whole.all));
    require(whole.n_calls > 0 || str_eq(buf_str(&whole.content), text));
    finish(&whole);
    finish(&bytes);
    finish(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < 2) {
        return 0;
    }
    struct str text = {(const char *)data + 2, n_bytes - 2};
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct tool_set set;
    require(tools != NULL);
    if (data[0] & 0x80) { /* nobody runs code */
        json_array_remove(tools, json_array_size(tools) - 1);
    }
    require(tool_set_init(&set, tools, NULL));
    struct reader r = {.format = (enum tool_format)((data[0] & 0x7f) % TOOL_FORMAT_COUNT),
                       .set = &set,
                       .is_utf8 = str_is_utf8(text)};
    check_text(&r, text, data[1]);
    tool_set_finish(&set);
    json_decref(tools);
    return 0;
}
