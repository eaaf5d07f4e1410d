/* pace.c - keeps the steps of running answers below twice their time. */
#include "engine/pace.h"

#include <math.h>

/* A row more than a step was measured with may cost a whole step of tiles: the aim leaves room. */
static const double aim = 0.6; /* of a step without, for rows of prompts */
static const double most_growth = 1.125, most_shrinking = 0.8;

enum { MEASURE_EVERY = 16, MEASURE_SOON = 4, FEW = 4 /* measurements */ };

static bool is_base_known(const struct pace *p, uint32_t n_decodes)
{
    return p->n_base > 0 && n_decodes >= p->n_base / 2 && n_decodes / 2 <= p->n_base &&
           p->n_since < (p->n_measured < FEW ? MEASURE_SOON : MEASURE_EVERY);
}

/* Time of a step of n_decodes alone, at least: of fewer than were measured it takes their part of
 * what those took, or longer. */
static double base_of(const struct pace *p, uint32_t n_decodes)
{
    return n_decodes < p->n_base ? p->base_s * n_decodes / p->n_base : p->base_s;
}

/* What is known of n_decodes and keys, from what was measured of others. */
static double rows_for(const struct pace *p, uint32_t n_decodes, double keys)
{
    double n = p->n_rows, base_s = base_of(p, n_decodes);
    if (n_decodes > p->n_decodes) {
        n -= n_decodes - p->n_decodes;
    }
    if (base_s < p->noted_base_s) {
        n *= base_s / p->noted_base_s;
    }
    if (keys > p->keys) {
        n *= (p->row_keys + p->keys) / (p->row_keys + keys);
    }
    return n > 1.0 ? n : 1.0;
}

double pace_rows(const struct pace *p, uint32_t n_decodes, double keys)
{
    return is_base_known(p, n_decodes) ? rows_for(p, n_decodes, keys) : 0.0;
}

/* The mean of the few, and of more those that came last. */
static void note_decodes(struct pace *p, const struct pace_step *step, double seconds)
{
    bool is_new = step->n_decodes != p->n_base;
    p->n_measured = is_new ? 0 : p->n_measured;
    p->n_measured += p->n_measured < FEW;
    double believed_s = is_new ? seconds : fmin(seconds, 2.0 * p->base_s);
    p->base_s += (believed_s - p->base_s) / p->n_measured;
    p->n_base = step->n_decodes;
    p->n_since = 0;
}

void pace_note(struct pace *p, const struct pace_step *step, double seconds)
{
    if (step->n_decodes == 0 || (step->n_rows <= 0.0 && step->n_guesses > 0)) {
        return;
    }
    if (step->n_rows <= 0.0) {
        note_decodes(p, step, seconds);
        return;
    }
    double keys = step->n_keys / step->n_rows;
    double had = rows_for(p, step->n_decodes, keys), rows = had;
    p->n_since++;
    if (seconds < p->base_s &&
        step->n_decodes >= p->n_base) { /* which was too long, then: it is measured anew */
        p->base_s += (seconds - p->base_s) / FEW;
        p->n_measured = 0;
    }
    double base_s = base_of(p, step->n_decodes);
    double allowed_s = aim * base_s, extra_s = seconds - base_s;
    double change = extra_s > 0.0 ? allowed_s / extra_s : HUGE_VAL;
    if (change < 1.0) { /* of a few rows at a prompt's end not all is believed, as of any outlier */
        rows = fmax(fmin(step->n_rows, had) * change, had * most_shrinking);
    } else if (step->n_rows > had - 2.0) {
        rows = fmin(step->n_rows * change, fmax(step->n_rows * most_growth, step->n_rows + 1.5));
    }
    p->n_rows = fmax(rows, 1.0);
    p->n_decodes = step->n_decodes;
    p->noted_base_s = base_s;
    p->keys = keys;
}
