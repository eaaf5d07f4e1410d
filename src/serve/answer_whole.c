/* answer_whole.c - answers that are sent as one JSON text when all of it is there. */
#include "base/mem.h"
#include "serve/answer_internal.h"

static bool keep_logprobs(struct answer_choice *c, const struct generation_output *o,
                          struct error *e)
{
    if (o->n_logprobs > c->max_logprobs - c->n_logprobs) {
        size_t room = 2 * (c->n_logprobs + o->n_logprobs);
        void *grown = mem_resize(c->logprobs, room, sizeof *c->logprobs, "logprobs", e);
        if (grown == NULL) {
            return false;
        }
        c->logprobs = grown;
        c->max_logprobs = room;
    }
    for (size_t i = 0; i < o->n_logprobs; i++) {
        c->logprobs[c->n_logprobs++] = o->logprobs[i];
        c->sum += o->logprobs[i].chosen.logprob;
    }
    return true;
}

/* Of the best_of choices of a prompt, those with the highest mean log probability: writes the n
 * numbers to best, likeliest first, equal ones in order. All of them stay as they were made. */
static void choose_best(const struct answer *a, uint32_t first, uint32_t n, uint32_t *best)
{
    uint32_t n_found = 0;
    for (uint32_t i = 0; i < n && n == a->g->n_per_prompt; i++) {
        best[n_found++] = first + i;
    }
    if (n_found == n) {
        return;
    }
    for (uint32_t i = first; i < first + a->g->n_per_prompt; i++) {
        uint32_t at = n_found < n ? n_found++ : n;
        for (; at > 0; at--) {
            const struct answer_choice *c = &a->choices[best[at - 1]];
            double mean = c->sum / (double)(c->n_logprobs > 0 ? c->n_logprobs : 1);
            const struct answer_choice *mine = &a->choices[i];
            double my_mean = mine->sum / (double)(mine->n_logprobs > 0 ? mine->n_logprobs : 1);
            if (!(my_mean > mean)) {
                break;
            }
            if (at < n) {
                best[at] = best[at - 1];
            }
        }
        if (at < n) {
            best[at] = i;
        }
    }
}

/* Prints the choices that are answered; tokens (choices) receives memory to free. */
static bool print_whole(struct answer *a, const uint32_t *chosen, uint32_t n,
                        struct api_choice *parts, struct api_token **tokens, struct error *e)
{
    bool wants = a->request.generation.logprobs;
    for (uint32_t i = 0; i < n; i++) {
        struct answer_choice *c = &a->choices[chosen[i]];
        size_t n_tokens = wants ? answer_n_to_echo(a, c) + c->n_logprobs : 0;
        tokens[i] = wants ? answer_make_tokens(a, c, c->logprobs, c->n_logprobs, e) : NULL;
        if (wants && tokens[i] == NULL) {
            return false;
        }
        parts[i] = (struct api_choice){.index = i,
                                       .text = buf_str(&c->text),
                                       .finish = answer_finish_of(a->taken.outputs[chosen[i]].end),
                                       .logprobs = wants,
                                       .tokens = tokens[i],
                                       .n_tokens = n_tokens,
                                       .filter = answer_filter_of(a, chosen[i])};
    }
    struct api_usage usage = answer_usage(a);
    return a->is_chat ? api_chat_print(&a->head, parts, n, &usage, &a->out, e)
                      : api_completion_print(&a->head, parts, n, &usage, &a->out, e);
}

static bool print_chosen(struct answer *a, struct error *e)
{
    uint32_t n = a->request.generation.n, n_all = n * a->g->n_prompts;
    struct api_choice *parts = mem_alloc(n_all, sizeof *parts, "choices of an answer", e);
    uint32_t *chosen = parts ? mem_alloc(n_all, sizeof *chosen, "choices of an answer", e) : NULL;
    struct api_token **tokens =
        chosen ? mem_alloc(n_all, sizeof(void *), "choices of an answer", e) : NULL;
    bool ok = tokens != NULL;
    for (uint32_t p = 0; ok && p < a->g->n_prompts; p++) {
        choose_best(a, p * a->g->n_per_prompt, n, chosen + p * n);
    }
    ok = ok && print_whole(a, chosen, n_all, parts, tokens, e);
    for (uint32_t i = 0; tokens != NULL && i < n_all; i++) {
        mem_free(tokens[i]);
    }
    mem_free(tokens);
    mem_free(chosen);
    mem_free(parts);
    return ok;
}

/* That it would be so long was not foreseen, and it is no lack of memory. */
static bool fail_length(const struct answer *a, struct error *e)
{
    bool is_full = a->out.is_full;
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        is_full = is_full || a->choices[i].text.is_full;
    }
    return is_full && error_set(e, ERROR_USAGE,
                                "the answer takes more than %zu bytes, the most without stream",
                                a->list->max_bytes);
}

bool answer_collect(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        const struct generation_output *o = &a->taken.outputs[i];
        if (!buf_append(&a->choices[i].text, buf_str(&o->text), e) ||
            !keep_logprobs(&a->choices[i], o, e)) {
            return fail_length(a, e);
        }
    }
    return !answer_all_ended(a) || print_chosen(a, e) || fail_length(a, e);
}
