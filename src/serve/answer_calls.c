/* answer_calls.c - calls of tools in an answer: their ids, what is wrong with them, how it ends. */
#include "base/mem.h"
#include "serve/answer_internal.h"
#include "store/secret.h"

#include <stdio.h>

enum { FIRST_CALLS = 4 };

/* Of a warning, in one block. */
struct warning_text {
    char param[96];
    char message[API_VERDICT_BYTES];
};

struct api_call answer_call_of(const struct answer_choice *c, size_t k)
{
    const struct answer_call *call = &c->calls[k];
    const char *at = c->called.data + call->begin;
    return (struct api_call){.id = {at, call->n_id},
                             .name = {at + call->n_id, call->n_name},
                             .arguments = {at + call->n_id + call->n_name, call->n_arguments}};
}

static bool begin_call(struct answer *a, struct answer_choice *c,
                       const struct tool_spelling *spelling, struct error *e)
{
    char digits[TOOL_CALL_DIGITS + 1];
    if (c->n_calls == c->max_calls) {
        size_t room = c->max_calls > 0 ? 2 * c->max_calls : FIRST_CALLS;
        void *grown = mem_resize(c->calls, room, sizeof *c->calls, "calls of an answer", e);
        if (grown == NULL) {
            return false;
        }
        c->calls = grown;
        c->max_calls = room;
    }
    if (!secret_make_digits(digits, TOOL_CALL_DIGITS, e)) {
        return false;
    }
    if (a->is_stream) {
        buf_clear(&c->called);
    }
    size_t begin = c->called.n;
    spelling = spelling == a->list->spelling ? NULL : spelling;
    if (!tool_call_id_write(&c->called, digits, spelling, buf_str(&c->frame), e)) {
        return false;
    }
    buf_clear(&c->frame);
    c->calls[c->n_calls++] = (struct answer_call){.begin = begin, .n_id = c->called.n - begin};
    return true;
}

/* ---- what is wrong with a call */

static bool warn(struct answer *a, uint32_t i, const char *message, struct error *e)
{
    struct answer_choice *c = &a->choices[i];
    void *grown =
        mem_resize(c->warnings, c->n_warnings + 1, sizeof *c->warnings, "warnings of an answer", e);
    if (grown == NULL) {
        return false;
    }
    c->warnings = grown;
    struct warning_text *text = mem_alloc(1, sizeof *text, "warnings of an answer", e);
    if (text == NULL) {
        return false;
    }
    if (a->request.generation.is_function_form) {
        snprintf(text->param, sizeof text->param, "choices[%u].message.function_call.arguments", i);
    } else {
        snprintf(text->param, sizeof text->param,
                 "choices[%u].message.tool_calls[%zu].function.arguments", i, c->n_calls - 1);
    }
    snprintf(text->message, sizeof text->message, "%s", message);
    c->warnings[c->n_warnings++] =
        (struct api_warning){str_from(text->param), str_from(text->message)};
    return true;
}

/* Nothing has kept the model from writing other arguments than its tool wants. */
static bool judge(struct answer *a, uint32_t i, struct error *e)
{
    const struct answer_choice *c = &a->choices[i];
    struct api_call call = answer_call_of(c, c->n_calls - 1);
    const struct tool *tool = tool_set_find(&a->tools, call.name);
    char why[API_VERDICT_BYTES];
    return tool == NULL || api_arguments_fit(tool->function, call.arguments, why) ||
           warn(a, i, why, e);
}

static bool end_call(struct answer *a, uint32_t i, enum tool_call_end end, struct error *e)
{
    struct answer_choice *c = &a->choices[i];
    switch (end) {
    case TOOL_COMPLETE:
        c->n_complete++;
        return judge(a, i, e);
    case TOOL_BROKEN:
        return warn(a, i, "end where the model left the form of a call; the rest is content", e);
    default:
        return warn(a, i, "end where the answer ended", e);
    }
}

bool answer_take_span(struct answer *a, uint32_t i, const struct tool_span *span, struct str bytes,
                      struct error *e)
{
    struct answer_choice *c = &a->choices[i];
    if (span->kind == TOOL_CALL_END) {
        return end_call(a, i, span->end, e);
    }
    if (span->kind == TOOL_CALL_FRAME) {
        return buf_append(&c->frame, bytes, e);
    }
    if ((span->kind == TOOL_CALL_NAME && !begin_call(a, c, span->spelling, e)) ||
        !buf_append(&c->called, bytes, e)) {
        return false;
    }
    struct answer_call *call = &c->calls[c->n_calls - 1];
    *(span->kind == TOOL_CALL_NAME ? &call->n_name : &call->n_arguments) += bytes.n;
    return true;
}

enum api_finish answer_finish_of(const struct answer *a, uint32_t i)
{
    const struct answer_choice *c = &a->choices[i];
    switch (a->taken.outputs[i].end) {
    case CHOICE_STOP:
        return c->n_calls == 0 || c->n_complete < c->n_calls ? API_FINISH_STOP
               : a->request.generation.is_function_form      ? API_FINISH_FUNCTION_CALL
                                                             : API_FINISH_TOOL_CALLS;
    case CHOICE_LENGTH:
        return API_FINISH_LENGTH;
    case CHOICE_FILTERED:
        return API_FINISH_CONTENT_FILTER;
    default:
        return API_FINISH_NONE;
    }
}

void answer_calls_finish(struct answer_choice *c)
{
    for (size_t k = 0; k < c->n_warnings; k++) {
        mem_free((void *)c->warnings[k].param.p);
    }
    mem_free(c->warnings);
    mem_free(c->calls);
    mem_free(c->views);
    buf_finish(&c->called);
    buf_finish(&c->frame);
}
