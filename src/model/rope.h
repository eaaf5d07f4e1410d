/* rope.h - rotation angles of RoPE, with linear, YaRN and Llama 3 frequency scaling. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/config.h"

/* Frequencies of the pairs of a head, ready for any position. */
struct rope {
    uint32_t n_pairs;  /* n_rot / 2 */
    double *frequency; /* (n_pairs) radians a position */
    double magnitude;  /* of the rotated vectors: 1 times attention factors */
};

/* Positions that have angles at least. */
enum { ROPE_MAX_POSITIONS = 1 << 20 };

/* factors: (n_pairs) f32 divisors from `rope_freqs.weight`, or NULL. ERROR_MEMORY; ERROR_FORMAT
 * when a scaling or a divisor makes a pair turn too fast for the positions of the model. */
bool rope_init(struct rope *r, const struct model_config *c, const float *factors, struct error *e);
void rope_finish(struct rope *r);

/* Whether a sequence may have n_ctx tokens: ERROR_USAGE when the model was made for fewer,
 * ERROR_UNSUPPORTED beyond ROPE_MAX_POSITIONS. */
bool rope_check_ctx(uint32_t n_ctx, uint32_t ctx_train, struct error *e);

/* out (n_pairs, 2): cos and sin of position's angles. Same bits on every machine. */
void rope_angles(const struct rope *r, uint32_t position, float *out);

#endif
