/* answer_whole.c - answers that are sent as one JSON text when all of it is there. */
#include "base/mem.h"
#include "serve/answer_internal.h"

/* Their sum alone where they only rank the best_of choices. */
static bool keep_logprobs(struct answer *a, uint32_t i, const struct generation_output *o,
                          struct error *e)
{
    struct answer_choice *c = &a->choices[i];
    for (size_t k = 0; k < o->n_logprobs; k++) {
        c->sum += o->logprobs[k].chosen.logprob;
    }
    c->n_summed += o->n_logprobs;
    if (!a->request.generation.logprobs) {
        return true;
    }
    if (o->n_logprobs > c->max_logprobs - c->n_logprobs) {
        size_t room = 2 * (c->n_logprobs + o->n_logprobs);
        void *grown = mem_resize(c->logprobs, room, sizeof *c->logprobs, "logprobs", e);
        if (grown == NULL) {
            return false;
        }
        c->logprobs = grown;
        c->max_logprobs = room;
    }
    for (size_t k = 0; k < o->n_logprobs; k++) {
        c->logprobs[c->n_logprobs++] = o->logprobs[k];
    }
    return true;
}

/* Its content, and its calls. */
static bool keep_text(struct answer *a, uint32_t i, const struct generation_output *o,
                      struct error *e)
{
    struct str rest = buf_str(&o->text);
    bool ok = o->n_spans > 0 || buf_append(&a->choices[i].text, rest, e);
    for (size_t k = 0; ok && k < o->n_spans; k++) {
        struct str bytes = {rest.p, o->spans[k].n_bytes};
        rest = str_skip(rest, bytes.n);
        ok = o->spans[k].kind == TOOL_CONTENT ? buf_append(&a->choices[i].text, bytes, e)
                                              : answer_take_span(a, i, &o->spans[k], bytes, e);
    }
    return ok;
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
            double mean = c->sum / (double)(c->n_summed > 0 ? c->n_summed : 1);
            const struct answer_choice *mine = &a->choices[i];
            double my_mean = mine->sum / (double)(mine->n_summed > 0 ? mine->n_summed : 1);
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

/* Sets the calls of a choice that is printed, if it has any. */
static bool view_calls(struct answer_choice *c, struct api_choice *part, struct error *e)
{
    if (c->n_calls == 0) {
        return true;
    }
    c->views = mem_alloc(c->n_calls, sizeof *c->views, "calls of an answer", e);
    for (size_t k = 0; c->views != NULL && k < c->n_calls; k++) {
        c->views[k] = answer_call_of(c, k);
    }
    part->calls = c->views;
    part->n_calls = c->n_calls;
    return c->views != NULL;
}

/* Adds those of the choices to the request's. */
static bool gather_warnings(struct answer *a, const uint32_t *chosen, uint32_t n, struct error *e)
{
    size_t n_told = a->head.n_warnings, n_all = n_told;
    for (uint32_t i = 0; i < n; i++) {
        n_all += a->choices[chosen[i]].n_warnings;
    }
    if (n_all == n_told) {
        return true;
    }
    struct api_warning *all = mem_alloc(n_all, sizeof *all, "warnings of an answer", e);
    if (all == NULL) {
        return false;
    }
    for (size_t k = 0; k < n_told; k++) {
        all[k] = a->head.warnings[k];
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct answer_choice *c = &a->choices[chosen[i]];
        for (size_t k = 0; k < c->n_warnings; k++) {
            all[n_told++] = c->warnings[k];
        }
    }
    a->all_warnings = all;
    a->head.warnings = all;
    a->head.n_warnings = n_all;
    return true;
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
                                       .finish = answer_finish_of(a, chosen[i]),
                                       .logprobs = wants,
                                       .tokens = tokens[i],
                                       .n_tokens = n_tokens,
                                       .filter = answer_filter_of(a, chosen[i]),
                                       .is_function_form = a->request.generation.is_function_form};
        if (!view_calls(c, &parts[i], e)) {
            return false;
        }
    }
    if (!gather_warnings(a, chosen, n, e)) {
        return false;
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
        is_full = is_full || a->choices[i].text.is_full || a->choices[i].called.is_full;
    }
    return is_full && error_set(e, ERROR_USAGE,
                                "the answer takes more than %zu bytes, the most without stream",
                                a->list->max_bytes);
}

bool answer_collect(struct answer *a, struct error *e)
{
    for (uint32_t i = 0; i < generation_n_choices(a->g); i++) {
        const struct generation_output *o = &a->taken.outputs[i];
        if (!keep_text(a, i, o, e) || !keep_logprobs(a, i, o, e)) {
            return fail_length(a, e);
        }
    }
    return !answer_all_ended(a) || print_chosen(a, e) || fail_length(a, e);
}
