/* tool_ids.h - the calls of an answer as a client gets them, with ids of ours. */
#ifndef TESTS_TOOL_IDS_H
#define TESTS_TOOL_IDS_H

#include "chat/tool_frame.h"
#include "chat/tool_parser.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define DIGITS "0123456789abcdefABCDEFzZ"

enum { MOST_CALLS = 4, MOST_BYTES = 1 << 20 };

struct found_calls {
    struct chat_call calls[MOST_CALLS]; /* (n) views of the texts, NUL behind each */
    struct buf texts[MOST_CALLS][3];    /* id, name, arguments */
    struct buf content;
    size_t n, n_frames, n_blank; /* blank: frames behind arguments */
};

enum answer_end { ENDS, IS_CUT, ENDS_WITH_CALL };

static inline void found_finish(struct found_calls *f)
{
    buf_finish(&f->content);
    for (size_t i = 0; i < MOST_CALLS; i++) {
        for (size_t k = 0; k < 3; k++) {
            buf_finish(&f->texts[i][k]);
        }
    }
}

static inline struct str closed(struct buf *text)
{
    assert_true(buf_append_byte(text, '\0', NULL));
    return (struct str){text->data, text->n - 1};
}

static inline void take_call_span(struct found_calls *f, const struct tool_span *span,
                                  struct str text, struct buf *frame)
{
    if (span->kind == TOOL_CONTENT) {
        assert_true(buf_append(&f->content, text, NULL));
        return;
    }
    assert_true(span->call < MOST_CALLS);
    struct buf *texts = f->texts[span->call];
    if (span->kind == TOOL_CALL_FRAME) {
        assert_true(text.n > 0 && frame->n == 0 && span->call == f->n);
        assert_true(buf_append(frame, text, NULL));
    } else if (span->kind == TOOL_CALL_NAME) {
        assert_int_equal(span->call, f->n++);
        assert_true(tool_call_id_write(&texts[0], DIGITS, span->spelling, buf_str(frame), NULL));
        assert_true(buf_append(&texts[1], text, NULL));
        buf_clear(frame);
    } else if (span->kind == TOOL_CALL_ARGUMENTS) {
        assert_true(buf_append(&texts[2], text, NULL));
    }
}

/* How far an answer that ends with its call goes. */
static inline size_t spans_to_end(const struct tool_output *out)
{
    size_t n = 0;
    while (n < out->n_spans && out->spans[n].kind != TOOL_CALL_END) {
        n++;
    }
    return n;
}

/* In pieces of n_piece bytes. */
static inline void find_calls(const char *tools_text, enum tool_format taught,
                              enum tool_framing framing, const char *text, size_t n_piece,
                              enum answer_end end, struct found_calls *f)
{
    struct error e = {0};
    struct tool_set set;
    struct tool_output out;
    struct buf frame;
    json_t *tools = json_loads(tools_text, 0, NULL);
    assert_true(tool_set_init(&set, tools, &e));
    struct tool_parser *p = tool_parser_create(taught, &set, &e);
    assert_non_null(p);
    tool_parser_frame(p, framing);
    tool_output_init(&out);
    buf_init(&frame, TOOL_FRAME_BYTES);
    if (end == ENDS_WITH_CALL) {
        tool_parser_end_with_call(p);
    }
    *f = (struct found_calls){0};
    buf_init(&f->content, MOST_BYTES);
    for (size_t i = 0; i < MOST_CALLS; i++) {
        for (size_t k = 0; k < 3; k++) {
            buf_init(&f->texts[i][k], MOST_BYTES);
        }
    }
    size_t n_most = end == ENDS_WITH_CALL ? 1 : SIZE_MAX;
    for (size_t at = 0, n = strlen(text); at < n && tool_parser_calls(p) < n_most; at += n_piece) {
        struct str piece = {text + at, n - at < n_piece ? n - at : n_piece};
        assert_true(tool_parser_push(p, piece, &out, &e));
    }
    if (end == IS_CUT) {
        tool_parser_cut(p);
    }
    bool is_whole = end == ENDS_WITH_CALL && tool_parser_calls(p) > 0;
    assert_true(is_whole || tool_parser_flush(p, &out, &e));
    struct str rest = buf_str(&out.text);
    for (size_t i = 0, n = is_whole ? spans_to_end(&out) : out.n_spans; i < n; i++) {
        take_call_span(f, &out.spans[i], (struct str){rest.p, out.spans[i].n_bytes}, &frame);
        rest = str_skip(rest, out.spans[i].n_bytes);
    }
    struct tool_places read = {0};
    for (size_t i = 0; i < f->n; i++) {
        struct buf *texts = f->texts[i];
        f->calls[i] = tool_frame_read((struct chat_call){.id = closed(&texts[0]),
                                                         .name = closed(&texts[1]),
                                                         .arguments = closed(&texts[2])},
                                      buf_str(&f->content), &read);
        f->n_frames += f->calls[i].frame.n > 0;
        f->n_blank += f->calls[i].arguments.n < texts[2].n - 1;
    }
    buf_finish(&frame);
    tool_parser_destroy(p);
    tool_output_finish(&out);
    tool_set_finish(&set);
    json_decref(tools);
}

static inline struct tool_said said_of(const struct found_calls *f)
{
    return (struct tool_said){buf_str(&f->content), f->calls, f->n};
}

#endif
