/* pace.h - how many tokens of prompts a step may take beside running answers: so many that it takes
 * less than twice as long as a step without. Pure arithmetic on what steps took.
 *
 * What is measured: a step of decodes alone, and what the last step with rows of prompts took
 * longer. A step without prompts is asked for, by 0 rows, where none was measured for half to twice
 * as many decodes, soon after a first one, and now and then. No step of decodes takes longer than
 * one with more rows, so that a measurement that was disturbed is found out by the next ones. A
 * machine with other work is noisy: times are means, and the rows settle where most steps keep the
 * pace.
 * What is assumed, to know before a step what it will cost:
 *   - time is convex in the rows of a step: reading the weights is free of them, computing is not.
 *     So with more decodes as many rows in all are as good, with fewer decodes as many beside, and
 *     for half the time half of them.
 *   - a row costs no more than `row_keys` + the keys that it attends to. So a prompt that goes on
 *     deeper, from what the prefix cache holds, begins with fewer; one less deep is not trusted to
 *     be cheaper before it was seen.
 * From there the rows grow by one or an eighth a step, at most; they are never below one: a prompt
 * goes on whatever it costs. Zeroed is a beginning but for row_keys. */
#ifndef ENGINE_PACE_H
#define ENGINE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    double row_keys;     /* what a row costs beside its attention, in keys attended to; at least */
    double base_s;       /* of a step of n_base decodes alone */
    uint32_t n_base;     /* 0: none was measured */
    uint32_t n_measured; /* such steps, as far as it matters */
    uint32_t n_since;    /* steps since then that had rows of prompts, too */
    double n_rows;       /* that a step may have beside n_decodes, each with so many keys ... */
    double keys;
    double noted_base_s; /* ... where it takes so long without */
    uint32_t n_decodes;
};

/* What a step computed. */
struct pace_step {
    uint32_t n_decodes; /* sequences that are computed for their next token */
    uint32_t n_guesses; /* behind those */
    double n_rows;      /* of prompts; one that gives logits counts for more */
    double n_keys;      /* that all of these attend to */
};

/* Rows of prompts beside n_decodes (> 0) answers when none attends to more than `keys`; 0: none at
 * all, for the sake of measuring. */
double pace_rows(const struct pace *p, uint32_t n_decodes, double keys);

/* A step took so long. */
void pace_note(struct pace *p, const struct pace_step *step, double seconds);

#endif
