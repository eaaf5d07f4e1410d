/* sampler.c - bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw: in this order.
 *
 * Logits are copied into doubles, adjusted in place, and the survivors of top_k gathered as
 * candidates in ascending order of ids; later filters only remove candidates. Selections use one
 * binary heap ordered by (key, tie), so that equal logits are ranked by id and no input makes a
 * step worse than n log n. */
#include "engine/sampler.h"

#include "base/fmath.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

struct sampler_heap_item {
    double key;
    int64_t tie; /* + or - the index of what the item stands for */
};

/* How often a token occurs among the recent ones, and among those of the answer. */
struct sampler_counts {
    uint32_t all, answer;
};

void sampler_params_default(struct sampler_params *out)
{
    *out = (struct sampler_params){
        .temperature = 0.8F,
        .top_k = SAMPLER_DEFAULT_TOP_K,
        .top_p = 0.95F,
        .min_p = 0.05F,
        .typical_p = 1.0F,
        .repeat_penalty = 1.0F,
        .repeat_last_n = SAMPLER_DEFAULT_LAST_N,
    };
}

/* --- parameters */

static bool check_range(const char *name, double value, double min, double max, struct error *e)
{
    if (value >= min && value <= max) {
        return true;
    }
    return error_set(e, ERROR_USAGE, "%s is %g, expected %g to %g", name, value, min, max);
}

static bool check_finite(const char *name, double value, struct error *e)
{
    return isfinite(value) ||
           error_set(e, ERROR_USAGE, "%s is %g, expected a finite number", name, value);
}

static bool check_biases(const struct sampler_params *p, uint32_t n_vocab, struct error *e)
{
    if (p->n_logit_bias > SAMPLER_MAX_BIASES) {
        return error_set(e, ERROR_USAGE, "logit_bias has %zu entries, expected at most %d",
                         p->n_logit_bias, SAMPLER_MAX_BIASES);
    }
    for (size_t i = 0; i < p->n_logit_bias; i++) {
        const struct sampler_bias *b = &p->logit_bias[i];
        if (b->token >= n_vocab) {
            return error_set(e, ERROR_USAGE, "logit_bias names token %u, the vocabulary has %u",
                             b->token, n_vocab);
        }
        if (!(b->bias < INFINITY)) {
            return error_set(e, ERROR_USAGE,
                             "logit_bias of token %u is %g, expected a number or -inf", b->token,
                             (double)b->bias);
        }
    }
    return true;
}

static bool check_ends(const struct sampler_params *p, uint32_t n_vocab, struct error *e)
{
    if (p->n_ends > SAMPLER_MAX_ENDS) {
        return error_set(e, ERROR_USAGE, "min_tokens holds back %zu tokens, expected at most %d",
                         p->n_ends, SAMPLER_MAX_ENDS);
    }
    for (size_t i = 0; i < p->n_ends; i++) {
        if (p->ends[i] >= n_vocab) {
            return error_set(e, ERROR_USAGE,
                             "min_tokens holds back token %u, the vocabulary has %u", p->ends[i],
                             n_vocab);
        }
    }
    return true;
}

bool sampler_params_check(const struct sampler_params *p, uint32_t n_vocab, struct error *e)
{
    if (!(p->temperature >= 0 && p->temperature < INFINITY)) {
        return error_set(e, ERROR_USAGE, "temperature is %g, expected a finite number from 0 up",
                         (double)p->temperature);
    }
    if (!(p->repeat_penalty > 0 && p->repeat_penalty < INFINITY &&
          1 / p->repeat_penalty < INFINITY)) {
        return error_set(e, ERROR_USAGE, "repeat_penalty is %g, expected a finite number above 0",
                         (double)p->repeat_penalty);
    }
    return check_range("top_k", p->top_k, -1, INT32_MAX, e) &&
           check_range("top_p", p->top_p, 0, 1, e) && check_range("min_p", p->min_p, 0, 1, e) &&
           check_range("typical_p", p->typical_p, 0, 1, e) &&
           check_finite("frequency_penalty", p->frequency_penalty, e) &&
           check_finite("presence_penalty", p->presence_penalty, e) &&
           check_range("repeat_last_n", p->repeat_last_n, 0, SAMPLER_MAX_LAST_N, e) &&
           check_biases(p, n_vocab, e) && check_ends(p, n_vocab, e);
}

/* --- life of a sampler and of the scratch memory */

static bool penalties_are_on(const struct sampler_params *p)
{
    return p->repeat_last_n > 0 && (p->repeat_penalty != 1.0F || p->frequency_penalty != 0.0F ||
                                    p->presence_penalty != 0.0F);
}

/* NULL when there are none, or memory ran out. */
static void *copy_items(const void *items, size_t n, size_t size, struct error *e)
{
    void *copy = n > 0 ? mem_alloc(n, size, "list of tokens", e) : NULL;
    if (copy != NULL) {
        memcpy(copy, items, n * size);
    }
    return copy;
}

bool sampler_init(struct sampler *s, const struct sampler_params *p, uint32_t n_vocab,
                  struct error *e)
{
    if (!sampler_params_check(p, n_vocab, e)) {
        return false;
    }
    *s = (struct sampler){.params = *p};
    s->params.logit_bias = copy_items(p->logit_bias, p->n_logit_bias, sizeof *p->logit_bias, e);
    s->params.ends = copy_items(p->ends, p->n_ends, sizeof *p->ends, e);
    if (penalties_are_on(p)) {
        s->recent =
            mem_alloc((size_t)p->repeat_last_n, sizeof *s->recent, "tokens of repeat_last_n", e);
    }
    if ((p->n_logit_bias > 0 && s->params.logit_bias == NULL) ||
        (p->n_ends > 0 && s->params.ends == NULL) || (penalties_are_on(p) && s->recent == NULL)) {
        sampler_finish(s);
        return false;
    }
    rng_init(&s->rng, p->seed);
    return true;
}

void sampler_finish(struct sampler *s)
{
    mem_free((void *)s->params.logit_bias);
    mem_free((void *)s->params.ends);
    mem_free(s->recent);
    *s = (struct sampler){0};
}

void sampler_forget(struct sampler *s)
{
    s->n_recent = s->next_recent = s->n_answer = 0;
    s->n_sampled = 0;
}

void sampler_accept(struct sampler *s, uint32_t token)
{
    if (s->recent == NULL) {
        return;
    }
    size_t capacity = (size_t)s->params.repeat_last_n;
    s->recent[s->next_recent] = token;
    s->next_recent = s->next_recent + 1 < capacity ? s->next_recent + 1 : 0;
    s->n_recent += s->n_recent < capacity;
    s->n_answer += s->n_sampled > 0 && s->n_answer < capacity;
}

bool sampler_scratch_init(struct sampler_scratch *w, uint32_t n_vocab, struct error *e)
{
    *w = (struct sampler_scratch){.n_vocab = n_vocab};
    w->logits = mem_alloc(n_vocab, sizeof *w->logits, "sampler's logits", e);
    if (w->logits == NULL) {
        goto fail;
    }
    w->counts = mem_alloc(n_vocab, sizeof *w->counts, "sampler's counts", e);
    if (w->counts == NULL) {
        goto fail;
    }
    w->heap = mem_alloc(n_vocab, sizeof *w->heap, "sampler's heap", e);
    if (w->heap == NULL) {
        goto fail;
    }
    w->candidates = mem_alloc(n_vocab, sizeof *w->candidates, "sampler's candidates", e);
    if (w->candidates == NULL) {
        goto fail;
    }
    return true;
fail:
    sampler_scratch_finish(w);
    return false;
}

void sampler_scratch_finish(struct sampler_scratch *w)
{
    mem_free(w->logits);
    mem_free(w->counts);
    mem_free(w->heap);
    mem_free(w->candidates);
    *w = (struct sampler_scratch){0};
}

/* --- binary heap: the item that comes first in the order (key, tie) is at the root */

static bool item_before(struct sampler_heap_item a, struct sampler_heap_item b)
{
    return a.key < b.key || (a.key == b.key && a.tie < b.tie);
}

static void heap_sift_down(struct sampler_heap_item *heap, size_t n, size_t i)
{
    struct sampler_heap_item moving = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && item_before(heap[child + 1], heap[child])) {
            child++;
        }
        if (!item_before(heap[child], moving)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moving;
}

static void heap_build(struct sampler_heap_item *heap, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) {
        heap_sift_down(heap, n, i);
    }
}

/* --- logits: copy, bias, penalties */

static bool copy_logits(struct sampler_scratch *w, const float *logits, struct error *e)
{
    for (uint32_t id = 0; id < w->n_vocab; id++) {
        if (!(logits[id] < INFINITY)) {
            return error_set(e, ERROR_FORMAT,
                             "logit of token %u is %g, expected a number or -inf: the model's "
                             "weights are too large or no numbers",
                             id, (double)logits[id]);
        }
        w->logits[id] = (double)logits[id];
    }
    return true;
}

static double penalized(const struct sampler_params *p, double logit, struct sampler_counts counts)
{
    double penalty = (double)p->repeat_penalty;
    logit = logit <= 0 ? logit * penalty : logit / penalty;
    uint32_t n = p->answer_only ? counts.answer : counts.all;
    return n == 0 ? logit
                  : logit - (n * (double)p->frequency_penalty + (double)p->presence_penalty);
}

/* Visits each distinct recent token once: the first visit takes its whole count. The answer's
 * tokens are the last n_answer of the ring. */
static void apply_penalties(const struct sampler *s, struct sampler_scratch *w)
{
    size_t capacity = (size_t)s->params.repeat_last_n;
    size_t n_prompt = s->n_recent - s->n_answer;
    size_t oldest = s->n_recent < capacity ? 0 : s->next_recent;
    for (size_t i = 0; i < s->n_recent; i++) {
        uint32_t id = s->recent[(oldest + i) % capacity];
        if (id < w->n_vocab) {
            w->counts[id].all++;
            w->counts[id].answer += i >= n_prompt;
        }
    }
    for (size_t i = 0; i < s->n_recent; i++) {
        uint32_t id = s->recent[i];
        if (id < w->n_vocab && w->counts[id].all > 0) {
            w->logits[id] = penalized(&s->params, w->logits[id], w->counts[id]);
            w->counts[id] = (struct sampler_counts){0};
        }
    }
}

static bool is_allowed(const struct sampler *s, uint32_t id)
{
    return s->allowed == NULL || (s->allowed[id / 64] >> id % 64 & 1) != 0;
}

static bool is_end(const struct sampler_params *p, uint32_t id)
{
    size_t i = 0;
    while (i < p->n_ends && p->ends[i] != id) {
        i++;
    }
    return i < p->n_ends;
}

/* Whether something beside the ends can be chosen. */
static bool can_go_on(const struct sampler *s, uint32_t n_vocab)
{
    if (s->allowed == NULL) {
        return true;
    }
    for (uint32_t id = 0; id < n_vocab; id++) {
        if (s->allowed[id / 64] == 0) {
            id |= 63;
        } else if (is_allowed(s, id) && !is_end(&s->params, id)) {
            return true;
        }
    }
    return false;
}

static void hold_back_ends(const struct sampler *s, struct sampler_scratch *w)
{
    bool holds = s->n_sampled < s->params.min_tokens && s->params.n_ends > 0;
    if (!holds || !can_go_on(s, w->n_vocab)) {
        return;
    }
    for (size_t i = 0; i < s->params.n_ends; i++) {
        w->logits[s->params.ends[i]] = -INFINITY;
    }
}

static void forbid_others(const struct sampler *s, struct sampler_scratch *w)
{
    for (uint32_t id = 0; s->allowed != NULL && id < w->n_vocab; id++) {
        w->logits[id] = is_allowed(s, id) ? w->logits[id] : -INFINITY;
    }
}

static void apply_biases(const struct sampler_params *p, struct sampler_scratch *w)
{
    for (size_t i = 0; i < p->n_logit_bias; i++) {
        w->logits[p->logit_bias[i].token] += (double)p->logit_bias[i].bias;
    }
}

/* --- candidates */

/* Candidates are the tokens above (floor, last id at the floor); those at -inf never are. */
static void gather(struct sampler_scratch *w, double floor, uint32_t last_id)
{
    size_t n = 0;
    for (uint32_t id = 0; id < w->n_vocab; id++) {
        double logit = w->logits[id];
        if (logit > floor || (logit == floor && id <= last_id && floor > -INFINITY)) {
            w->candidates[n++] = (struct sampler_candidate){.logit = logit, .token = id};
        }
    }
    w->n_candidates = n;
}

/* top_k: a heap of the k best so far with the worst of them at its root, so that most tokens cost
 * one comparison. A later token never replaces an equal one: the lower id stays. */
static void gather_top_k(struct sampler_scratch *w, size_t k)
{
    size_t n = 0;
    for (uint32_t id = 0; id < w->n_vocab; id++) {
        double logit = w->logits[id];
        if (n == k) {
            if (logit > w->heap[0].key) {
                w->heap[0] = (struct sampler_heap_item){logit, -(int64_t)id};
                heap_sift_down(w->heap, n, 0);
            }
        } else if (logit > -INFINITY) {
            w->heap[n++] = (struct sampler_heap_item){logit, -(int64_t)id};
            if (n == k) {
                heap_build(w->heap, n);
            }
        }
    }
    if (n == k) {
        gather(w, w->heap[0].key, (uint32_t)-w->heap[0].tie);
    } else {
        gather(w, -INFINITY, 0);
    }
}

static double max_logit(const struct sampler_scratch *w)
{
    double max = -INFINITY;
    for (size_t i = 0; i < w->n_candidates; i++) {
        max = w->candidates[i].logit > max ? w->candidates[i].logit : max;
    }
    return max;
}

/* p = softmax(logit / temperature); returns the sum of exp((logit - max) / temperature), >= 1. */
static double softmax(struct sampler_scratch *w, double max, double temperature)
{
    double sum = 0;
    double *p = w->logits; /* which the candidates have */
    for (size_t i = 0; i < w->n_candidates; i++) {
        p[i] = (w->candidates[i].logit - max) / temperature;
    }
    fmath_exp_all(p, w->n_candidates);
    for (size_t i = 0; i < w->n_candidates; i++) {
        w->candidates[i].p = p[i];
        sum += p[i];
    }
    for (size_t i = 0; i < w->n_candidates; i++) {
        w->candidates[i].p /= sum;
    }
    return sum;
}

/* Keeps candidates in the order of the keys in w->heap (smallest first, then lower id) until their
 * p add up to `mass`; `strictly` asks for more than that. At least one stays. */
static void keep_mass(struct sampler_scratch *w, double mass, bool strictly)
{
    size_t n = w->n_candidates;
    heap_build(w->heap, n);
    double sum = 0;
    while (n > 0) {
        const struct sampler_candidate *c = &w->candidates[w->heap[0].tie];
        w->counts[c->token].all = 1;
        sum += c->p;
        if (strictly ? sum > mass : sum >= mass) {
            break;
        }
        w->heap[0] = w->heap[--n];
        heap_sift_down(w->heap, n, 0);
    }
    size_t n_kept = 0;
    for (size_t i = 0; i < w->n_candidates; i++) {
        uint32_t token = w->candidates[i].token;
        if (w->counts[token].all > 0) {
            w->counts[token].all = 0;
            w->candidates[n_kept++] = w->candidates[i];
        }
    }
    w->n_candidates = n_kept;
}

/* Locally typical sampling (Meister et al. 2022): order by | -log p - entropy |. */
static void filter_typical(struct sampler_scratch *w, double mass)
{
    double max = max_logit(w);
    double log_sum = fmath_log(softmax(w, max, 1));
    double entropy = 0;
    for (size_t i = 0; i < w->n_candidates; i++) {
        const struct sampler_candidate *c = &w->candidates[i];
        entropy += c->p * (max + log_sum - c->logit);
    }
    for (size_t i = 0; i < w->n_candidates; i++) {
        double surprise = max + log_sum - w->candidates[i].logit;
        w->heap[i] = (struct sampler_heap_item){fabs(surprise - entropy), (int64_t)i};
    }
    keep_mass(w, mass, true);
}

static void filter_top_p(struct sampler_scratch *w, double mass)
{
    softmax(w, max_logit(w), 1);
    for (size_t i = 0; i < w->n_candidates; i++) {
        w->heap[i] = (struct sampler_heap_item){-w->candidates[i].logit, (int64_t)i};
    }
    keep_mass(w, mass, false);
}

/* p >= min_p * max p, compared as logits. */
static void filter_min_p(struct sampler_scratch *w, double min_p)
{
    double floor = max_logit(w) + fmath_log(min_p);
    size_t n_kept = 0;
    for (size_t i = 0; i < w->n_candidates; i++) {
        if (w->candidates[i].logit >= floor) {
            w->candidates[n_kept++] = w->candidates[i];
        }
    }
    w->n_candidates = n_kept;
}

static void filter(const struct sampler_params *p, struct sampler_scratch *w)
{
    if (p->top_k > 0 && (uint32_t)p->top_k < w->n_vocab) {
        gather_top_k(w, (size_t)p->top_k);
    } else {
        gather(w, -INFINITY, 0);
    }
    if (p->typical_p < 1) {
        filter_typical(w, (double)p->typical_p);
    }
    if (p->top_p < 1) {
        filter_top_p(w, (double)p->top_p);
    }
    if (p->min_p > 0) {
        filter_min_p(w, (double)p->min_p);
    }
}

/* --- choice */

/* Whether the logits are taken as they are. */
static bool changes_logits(const struct sampler *s)
{
    return s->params.n_logit_bias > 0 || s->recent != NULL || s->allowed != NULL ||
           (s->params.n_ends > 0 && s->n_sampled < s->params.min_tokens);
}

/* The best of the logits as they are, read once and not copied. False, with nothing chosen, when
 * one is NaN or +inf. */
static bool choose_best_of(struct sampler_scratch *w, const float *logits)
{
    enum { LANES = 16 };
    float best[LANES];
    uint32_t bad[LANES] = {0}, n_whole = w->n_vocab / LANES * LANES;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        best[lane] = -INFINITY;
    }
    for (uint32_t id = 0; id < n_whole; id += LANES) {
        for (uint32_t lane = 0; lane < LANES; lane++) {
            float x = logits[id + lane];
            best[lane] = x > best[lane] ? x : best[lane];
            bad[lane] |= !(x < INFINITY);
        }
    }
    for (uint32_t id = n_whole; id < w->n_vocab; id++) {
        best[0] = logits[id] > best[0] ? logits[id] : best[0];
        bad[0] |= !(logits[id] < INFINITY);
    }
    for (uint32_t lane = 1; lane < LANES; lane++) {
        best[0] = best[lane] > best[0] ? best[lane] : best[0];
        bad[0] |= bad[lane];
    }
    if (bad[0] || best[0] == -INFINITY) {
        return false;
    }
    uint32_t id = 0;
    while (logits[id] != best[0]) {
        id++;
    }
    w->candidates[0] = (struct sampler_candidate){(double)best[0], 1, id};
    w->n_candidates = 1;
    return true;
}

static void choose_best(struct sampler_scratch *w)
{
    uint32_t best = 0;
    for (uint32_t id = 1; id < w->n_vocab; id++) {
        if (w->logits[id] > w->logits[best]) {
            best = id;
        }
    }
    w->candidates[0] = (struct sampler_candidate){w->logits[best], 1, best};
    w->n_candidates = w->logits[best] > -INFINITY;
}

static uint32_t draw(const struct sampler_scratch *w, double uniform)
{
    double total = 0;
    for (size_t i = 0; i < w->n_candidates; i++) {
        total += w->candidates[i].p;
    }
    double target = uniform * total;
    double sum = 0;
    size_t chosen = 0;
    for (size_t i = 0; i < w->n_candidates; i++) {
        if (w->candidates[i].p > 0) {
            chosen = i;
            sum += w->candidates[i].p;
            if (sum > target) {
                break;
            }
        }
    }
    return w->candidates[chosen].token;
}

bool sampler_sample_at(const struct sampler *s, struct sampler_scratch *w, const float *logits,
                       double uniform, uint32_t *out_token, struct error *e)
{
    const struct sampler_params *p = &s->params;
    w->n_candidates = 0;
    if (p->temperature <= 0 && !changes_logits(s) && choose_best_of(w, logits)) {
        *out_token = w->candidates[0].token;
        return true;
    }
    if (!copy_logits(w, logits, e)) {
        return false;
    }
    apply_biases(p, w);
    apply_penalties(s, w);
    hold_back_ends(s, w);
    forbid_others(s, w);
    if (p->temperature > 0) {
        filter(p, w);
        softmax(w, max_logit(w), (double)p->temperature);
    } else if (w->n_vocab > 0) {
        choose_best(w);
    }
    if (w->n_candidates == 0) {
        return s->allowed != NULL
                   ? error_set(e, ERROR_USAGE,
                               "no token can follow: the model, or a bias, forbids all that are "
                               "allowed here")
                   : error_set(e, ERROR_FORMAT, "no token can follow: all %u logits are -inf",
                               w->n_vocab);
    }
    *out_token = draw(w, uniform);
    return true;
}

bool sampler_sample(struct sampler *s, struct sampler_scratch *w, const float *logits,
                    uint32_t *out_token, struct error *e)
{
    double uniform = s->params.temperature > 0 ? rng_uniform(&s->rng) : 0;
    if (!sampler_sample_at(s, w, logits, uniform, out_token, e)) {
        return false;
    }
    s->n_sampled += s->n_sampled < UINT32_MAX;
    return true;
}
