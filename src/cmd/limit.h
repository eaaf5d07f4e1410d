/* limit.h - the least time of several steps on this machine, for the shares that bench and run
 * print beside their speeds. */
#ifndef CMD_LIMIT_H
#define CMD_LIMIT_H

#include "model/roofline.h"

struct limit {
    double seconds;
    double by_bound[ROOFLINE_BOUND_COUNT]; /* of seconds: steps that this bound holds back */
};

/* Sequences that a step serves alike. */
struct limit_step {
    uint32_t batch;    /* sequences */
    uint64_t n_tokens; /* new ones of each */
    uint64_t n_logits; /* rows of each */
    uint64_t depth;    /* tokens that each holds before */
    enum kern_kv kv_type;
};

/* Adds the least time of one step. m is loaded and packed (not exact). */
void limit_add(struct limit *l, const struct model *m, const struct roofline_machine *machine,
               const struct limit_step *step);

/* What holds back most of the time. */
enum roofline_bound limit_bound(const struct limit *l);

#endif
