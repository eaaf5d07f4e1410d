/* answer_parts.c - what whole answers and streams tell alike. */
#include "base/mem.h"
#include "serve/answer_internal.h"

struct echo answer_echo_of(const struct answer *a, uint32_t choice)
{
    uint32_t prompt = choice / a->g->n_per_prompt;
    return (struct echo){.tokenizer = a->list->tokenizer,
                         .given = &a->request.generation.prompts[prompt],
                         .prompt = &a->g->prompts[prompt],
                         .rows = &a->g->prompt_rows[prompt],
                         .n_top = a->g->rules.n_top};
}

const struct api_filter_result *answer_filter_of(const struct answer *a, uint32_t i)
{
    const struct generation_output *o = &a->taken.outputs[i];
    struct api_filter_result *result = &a->choices[i].filter;
    result->detected = o->found;
    result->filtered = o->end == CHOICE_FILTERED ? o->found : 0;
    return a->list->guard != NULL ? result : NULL;
}

size_t answer_n_to_echo(const struct answer *a, const struct answer_choice *c)
{
    bool tells = a->g->rows == ENGINE_LOGITS && !c->echoed;
    return tells ? a->g->prompts[(c - a->choices) / a->g->n_per_prompt].n : 0;
}

struct api_token *answer_make_tokens(const struct answer *a, struct answer_choice *c,
                                     const struct choice_logprob *entries, size_t n,
                                     struct error *e)
{
    size_t n_top = a->g->rules.n_top, n_echo = answer_n_to_echo(a, c);
    size_t size = sizeof(struct api_token) + n_top * sizeof(struct api_candidate);
    struct api_token *tokens = mem_alloc(n_echo + n + 1, size, "logprobs of an answer", e);
    if (tokens == NULL) {
        return NULL;
    }
    struct api_token *told = tokens;
    struct api_candidate *top = (struct api_candidate *)(void *)(tokens + n_echo + n);
    if (n_echo > 0) {
        struct echo echo = answer_echo_of(a, (uint32_t)(c - a->choices));
        if (!echo_tokens(&echo, told, top, &c->text_offset, e)) {
            mem_free(tokens);
            return NULL;
        }
        c->echoed = true;
        told += n_echo;
        top += n_echo * n_top;
    }
    for (size_t i = 0; i < n; i++, top += n_top) {
        struct str bytes = tokenizer_piece(a->list->tokenizer, entries[i].chosen.token, true);
        told[i] = (struct api_token){.bytes = bytes,
                                     .logprob = entries[i].chosen.logprob,
                                     .text_offset = c->text_offset,
                                     .top = top,
                                     .n_top = n_top};
        c->text_offset += api_count_text(bytes);
        for (size_t k = 0; k < n_top; k++) {
            top[k].bytes = tokenizer_piece(a->list->tokenizer, entries[i].top[k].token, true);
            top[k].logprob = entries[i].top[k].logprob;
        }
    }
    return tokens;
}

bool answer_all_ended(const struct answer *a)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        if (a->taken.outputs[i].end == CHOICE_RUNS) {
            return false;
        }
    }
    return true;
}
