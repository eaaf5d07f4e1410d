/* limit.c - adds up the least times of steps. */
#include "cmd/limit.h"

void limit_add(struct limit *l, const struct model *m, const struct roofline_machine *machine,
               const struct limit_step *step)
{
    uint64_t n = step->n_tokens;
    struct roofline_step s = {
        .n_tokens = n * step->batch,
        .n_logits = step->n_logits * step->batch,
        .n_keys = (n * step->depth + n * (n + 1) / 2) * step->batch,
        .n_cached = (step->depth + n) * step->batch,
        .kv_type = step->kv_type,
    };
    struct roofline_work work = roofline_work(m, &s);
    enum roofline_bound bound;
    double seconds = roofline_seconds(&work, machine, &bound);
    l->seconds += seconds;
    l->by_bound[bound] += seconds;
}

enum roofline_bound limit_bound(const struct limit *l)
{
    enum roofline_bound most = ROOFLINE_READ;
    for (int i = 0; i < ROOFLINE_BOUND_COUNT; i++) {
        most = l->by_bound[i] > l->by_bound[most] ? (enum roofline_bound)i : most;
    }
    return most;
}
