/* rope.c - RoPE (Su et al. 2021), linear scaling, YaRN (Peng et al. 2023), Llama 3.1's divisors. */
#include "model/rope.h"

#include "base/fmath.h"
#include "base/mem.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* YaRN: the pair index whose wave fits `rotations` times into the original context. */
static double correction_index(const struct model_config *c, double rotations)
{
    double ratio = (double)c->rope_ctx_orig / (rotations * 2.0 * pi);
    return (double)c->n_rot * fmath_log(ratio) / (2.0 * fmath_log((double)c->rope_base));
}

/* YaRN: 1 for pairs that keep their frequency, 0 for pairs that are interpolated. */
static double extrapolation_share(const struct model_config *c, uint32_t pair)
{
    double low = floor(correction_index(c, (double)c->yarn_beta_fast));
    double high = ceil(correction_index(c, (double)c->yarn_beta_slow));
    low = low > 0.0 ? low : 0.0;
    high = high < (double)(c->n_rot - 1) ? high : (double)(c->n_rot - 1);
    double width = high - low > 0.001 ? high - low : 0.001;
    double share = ((double)pair - low) / width;
    return 1.0 - (share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share);
}

/* Angles beyond what fmath reduces exactly would be NaN. */
static bool check_frequencies(const double *frequency, uint32_t n_pairs, uint32_t n_positions,
                              struct error *e)
{
    for (uint32_t i = 0; i < n_pairs; i++) {
        double largest = frequency[i] * (n_positions - 1);
        if (!(largest <= FMATH_MAX_ANGLE)) {
            return error_set(e, ERROR_FORMAT,
                             "RoPE pair %u turns %g radians a position: %u positions need angles "
                             "up to %g, at most %g are computed",
                             i, frequency[i], n_positions, largest, FMATH_MAX_ANGLE);
        }
    }
    return true;
}

bool rope_init(struct rope *r, const struct model_config *c, const float *factors, struct error *e)
{
    uint32_t n_pairs = c->n_rot / 2;
    double *frequency = mem_alloc(n_pairs, sizeof *frequency, "RoPE frequencies", e);
    if (frequency == NULL) {
        return false;
    }
    double log_base = fmath_log((double)c->rope_base);
    double scale = 1.0 / (double)c->rope_factor;
    for (uint32_t i = 0; i < n_pairs; i++) {
        double plain = fmath_exp(-log_base * (2.0 * i / c->n_rot));
        if (factors != NULL) {
            plain /= (double)factors[i];
        }
        double keep = c->rope_scaling == ROPE_SCALING_YARN ? extrapolation_share(c, i) : 0.0;
        frequency[i] = plain * scale * (1.0 - keep) + plain * keep;
    }
    uint32_t n_positions = c->ctx_train < ROPE_MAX_POSITIONS ? c->ctx_train : ROPE_MAX_POSITIONS;
    if (!check_frequencies(frequency, n_pairs, n_positions, e)) {
        mem_free(frequency);
        return false;
    }
    *r = (struct rope){.n_pairs = n_pairs,
                       .frequency = frequency,
                       .magnitude = (double)c->rope_attn_factor * model_yarn_magnitude(c)};
    return true;
}

void rope_finish(struct rope *r)
{
    mem_free(r->frequency);
    r->frequency = NULL;
}

bool rope_check_ctx(uint32_t n_ctx, uint32_t ctx_train, struct error *e)
{
    if (n_ctx > ctx_train) {
        return error_set(e, ERROR_USAGE, "a context of %u tokens: the model was made for %u", n_ctx,
                         ctx_train);
    }
    return n_ctx <= ROPE_MAX_POSITIONS ||
           error_set(e, ERROR_UNSUPPORTED, "a context of %u tokens: at most %d are supported",
                     n_ctx, ROPE_MAX_POSITIONS);
}

void rope_angles(const struct rope *r, uint32_t position, float *out)
{
    for (uint32_t i = 0; i < r->n_pairs; i++) {
        double angle = (double)position * r->frequency[i];
        out[2 * i] = (float)(fmath_cos(angle) * r->magnitude);
        out[2 * i + 1] = (float)(fmath_sin(angle) * r->magnitude);
    }
}
