/* kern.h - CPU kernels: one table of function pointers a set, picked once per process.
 *
 * Every set returns the same bits as `ref` (kern_ref.c, the specification): a lane is an output, so
 * no horizontal float sum exists; integers are exact; blocks are folded in order with one fused
 * multiply-add; exp is our own (base/fmath.h). NaN results compare equal to any NaN.
 * Those are the numerics `portable`. In the numerics `bf16`, which only some sets have, BF16
 * weights are multiplied by dot products of bf16 pairs: other bits, again the same with every set.
 * Owner/threads: tables are immutable once kern_get() has returned them; every kernel is pure and
 * thread-safe. */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include "base/error.h"
#include "quant/pack.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum kern_set {
    KERN_REF,
    KERN_AVX2,
    KERN_AVXVNNI,
    KERN_AVX512,
    KERN_AMX,
    KERN_NEON,
    KERN_I8MM,
    KERN_SET_COUNT
};
enum kern_numerics { KERN_PORTABLE, KERN_BF16, KERN_NUMERICS_COUNT };

enum {
    KERN_TILE = 12,      /* tokens of an activation tile */
    KERN_LANES = 16,     /* partial sums of the few reductions that exist */
    KERN_ATTN_TILE = 64, /* keys of an attention tile = tokens of a KV page */
    KERN_ATTN_SPAN = 512 /* keys after which attention starts a new partial result */
};

/* A super-block of one token; 5 lines, the first 4 of which are its quants. */
struct kern_act_row {
    int8_t q[256];
    float d, unused[3];
    int16_t n32[8], n16[16];
};
static_assert(sizeof(struct kern_act_row) == 5 * 64, "");

/* A matrix of activations (n_tokens, cols), stored for a matmul kernel in tiles of KERN_TILE
 * tokens; the last tile is as narrow as the tokens left (T below). Tile follows tile, so tile t
 * starts t * KERN_TILE tokens into each array; arrays that a form lacks are NULL. Quants of Q256
 * are the exception: super-block follows super-block, q_step bytes apart, and tile t starts
 * t * KERN_TILE tokens into each of them, as long prompts are multiplied super-block by super-block
 * (matmul_run_panels). Of a token, 8 quants lie side by side, as instructions want them that take
 * two tokens at once; others broadcast 4 of them. Within tile t:
 *   F32   f[cols][T]                     values
 *   Q32   q[cols/8][T][8] int8           quants of blocks of 32
 *         d[cols/32][T] f32              scales: x ~ d * q
 *         s[cols/32][T] f32              d * (float)sum of the block's q
 *         n[cols/32][T] int32            -(sum of the block's q)
 *   Q256  q[256/8][T][8] int8            quants of a super-block of 256
 *         d[cols/256][T] f32             scales
 *         n16[cols/32][T][2] int16       -(sum of 16 q): the two halves of a block of 32
 *         n32[cols/64][T][2] int16       -(sum of 32 q): two neighbouring blocks of 32
 *         most16[cols/256][T] uint16     the largest sum of |q| over 16 items, a half of a block
 *   BF16  b[cols/2][T][2] bf16           values rounded to nearest even; a NaN stays one
 *   Q256_ROWS  as Q256, and all but most16 once more by tokens, tiles or not:
 *         rows[cols/256][n_tokens]       of a part, q_step / 256 apart
 * Quantisation of a block, with m = max |x|: m not finite (a NaN in the block, too) -> d = NaN,
 * q = 0; m < 2^-100 -> d = 0, q = 0; else d = m / 127, q = round-to-nearest-even(x * (127 / m)). */
struct kern_act {
    enum pack_act form;
    uint32_t n_tokens, cols;
    float *f;
    int8_t *q;
    size_t q_step; /* Q256, Q256_ROWS: bytes, n_tokens * 256; of a part, the whole matrix's */
    float *d, *s;
    int32_t *n;                /* Q32 */
    int16_t *n16, *n32;        /* Q256: the 4-byte operand of a 16-bit pair product */
    uint16_t *most16;          /* Q256 */
    uint16_t *b;               /* BF16: the operand of a pair product */
    struct kern_act_row *rows; /* Q256_ROWS */
};

static inline uint32_t kern_act_tiles(uint32_t n_tokens)
{
    return (n_tokens + KERN_TILE - 1) / KERN_TILE;
}

/* Bytes (a multiple of 64) of one activation matrix, and its pointers laid into `memory` (64-byte
 * aligned, that many bytes). cols must suit the form: a multiple of 32 for Q32, of 256 for Q256, of
 * 2 for BF16. */
size_t kern_act_bytes(enum pack_act form, uint32_t n_tokens, uint32_t cols);
void kern_act_init(struct kern_act *a, enum pack_act form, uint32_t n_tokens, uint32_t cols,
                   void *memory);

/* Columns [col_begin, col_end) of one tile, as a matrix of one tile that shares a's memory: storing
 * the parts one by one stores the same bytes as storing the tile. Both must be multiples of the
 * form's block (any number for F32, 2 for BF16). */
struct kern_act kern_act_part(const struct kern_act *a, uint32_t tile, uint32_t col_begin,
                              uint32_t col_end);

/* Stores tokens of tiles [tile_begin, tile_end) from x: token t's values at x + t * x_stride. */
typedef void kern_store_act_fn(const struct kern_act *a, const float *x, size_t x_stride,
                               uint32_t tile_begin, uint32_t tile_end);

/* y[t][r] = sum over k of W[r][k] * a[t][k] for rows of groups [group_begin, group_end).
 * shapes  w (rows, cols) packed; a (n_tokens, cols) in the form that the table's `act` has for w's
 *         type; y + t * y_stride (rows), of which only rows < w->rows are written
 * order   Q32:  f = 0; per block, ascending: f = fmaf(dw * da, (float)isum, f), with isum the exact
 *         sum of (q - zero) * qa; then, types with a minimum: f = fmaf(mw, s, f)
 *         Q256: f = 0; per super-block, ascending: f = fmaf(dw * da, (float)isum, f), isum the
 *         exact sum of sub-scale * (q - zero) * qa over 256 items; then, types with a minimum:
 *         f = fmaf(-(dminw * da), (float)msum, f), msum the exact sum of sub-minimum * sum of qa
 *         dense: f = 0; per k, ascending: f = fmaf(W[r][k], a[t][k], f)
 *         BF16 in numerics bf16: f = 0; per pair (k, k + 1), k even, ascending:
 *         f = fma(W[r][k+1], a[t][k+1], f), then f = fma(W[r][k], a[t][k], f), where each fma takes
 *         denormal operands as zeros of their sign, rounds once, to nearest even, and gives a zero
 *         of its sign when the result, rounded as if exponents had no limit, is below 2^-126
 * source  for the last: vdpbf16ps in Intel's SDM, volume 2, which leaves open when a result
 *         counts as denormal; that was measured on AMD Zen 4, which agrees in all else. Arm's
 *         BFDOT adds the two products first, and so is no kernel of these numerics. */
typedef void kern_matmul_fn(const struct pack_matrix *w, uint32_t group_begin, uint32_t group_end,
                            const struct kern_act *a, float *y, size_t y_stride);

/* y = x / sqrt(mean(x^2) + eps) * w, in this order: ss = lane sums (item i in lane i % 16,
 * ascending, fmaf) added by halves (8, 4, 2, 1); scale = 1 / sqrtf(ss / n + eps);
 * y = (x * scale) * w. */
typedef void kern_rmsnorm_fn(float *y, const float *x, const float *w, uint32_t n, float eps);

/* Rotates pairs (2i, 2i+1), i < n_rot/2, of each of n_heads heads of head_dim, in place:
 * (a, b) -> (fmaf(a, c, -(b * s)), fmaf(a, s, b * c)). cos_sin (n_rot/2, 2): c, s of the pair. */
typedef void kern_rope_fn(float *x, uint32_t n_heads, uint32_t head_dim, uint32_t n_rot,
                          const float *cos_sin);

/* y = (gate / (1 + exp(-gate))) * up, n items; y may be gate or up. */
typedef void kern_silu_mul_fn(float *y, const float *gate, const float *up, uint32_t n);

/* y += x, n items. */
typedef void kern_add_fn(float *y, const float *x, uint32_t n);

/* Quantises the n items of src, n a multiple of 16, as one block of kern_act; returns d. */
typedef float kern_to_q8_fn(int8_t *dst, const float *src, uint32_t n);

/* The same to quants of at most `max` < 2^15 in magnitude, which takes the place of 127. */
typedef float kern_to_q16_fn(int16_t *dst, const float *src, uint32_t n, uint32_t max);

/* dst = src rounded to the nearest half, even of two; a NaN stays one, what is too large becomes
 * infinite. n items, n a multiple of 16. */
typedef void kern_to_f16_fn(uint16_t *dst, const float *src, uint32_t n);

/* Keys and values of KERN_ATTN_TILE tokens for one KV head, S items side by side:
 *   k (KERN_ATTN_TILE/16, dim_k/S, 16, S): S consecutive items of 16 keys
 *   v (KERN_ATTN_TILE/S, dim_v, S): every item of S consecutive tokens
 *   kd, vd (KERN_ATTN_TILE): a scale for each token's
 * Q16: int16 (to_q16 with kern_kv_item_max), Q8_0: int8 (to_q8), both with S = 2; F16: halves
 * (to_f16), S = 1, and no scales. */
enum kern_kv { KERN_KV_Q16, KERN_KV_Q8_0, KERN_KV_F16, KERN_KV_COUNT };
struct kern_kv_tile {
    void *k, *v;
    float *kd, *vd;
};

static inline size_t kern_kv_item_bytes(enum kern_kv type)
{
    return type == KERN_KV_Q8_0 ? sizeof(int8_t) : sizeof(int16_t);
}

static inline bool kern_kv_has_scales(enum kern_kv type)
{
    return type != KERN_KV_F16;
}

/* S above. */
static inline size_t kern_kv_side_by_side(enum kern_kv type)
{
    return type == KERN_KV_F16 ? 1 : 2;
}

/* Where item d of token `slot` lies in k and in v. */
static inline size_t kern_kv_key_at(enum kern_kv type, size_t dim_k, size_t slot, size_t d)
{
    size_t n = kern_kv_side_by_side(type);
    return (slot / 16 * dim_k + d / n * n) * 16 + slot % 16 * n + d % n;
}

static inline size_t kern_kv_value_at(enum kern_kv type, size_t dim_v, size_t slot, size_t d)
{
    size_t n = kern_kv_side_by_side(type);
    return (slot / n * dim_v + d) * n + slot % n;
}

enum { KERN_ATTN_ROWS = 32, KERN_ATTN_MAX_DIM = 256 };

/* The largest quants of keys and values, of queries, and of weights (Q16, Q8_0): such that an int32
 * holds any sum of their products. 12 bits and a sign on either side are more than f16 has in
 * mantissas. */
static inline uint32_t kern_kv_item_max(enum kern_kv type)
{
    return type == KERN_KV_Q16 ? 4095 : 127;
}

static inline uint32_t kern_attn_factor_max(enum kern_kv type, uint32_t n_products)
{
    uint32_t max = INT32_MAX / (kern_kv_item_max(type) * n_products);
    return max < INT16_MAX ? max : INT16_MAX;
}

static inline uint32_t kern_attn_query_max(enum kern_kv type, uint32_t dim_k)
{
    return kern_attn_factor_max(type, dim_k);
}

static inline uint32_t kern_attn_weight_max(enum kern_kv type)
{
    return kern_attn_factor_max(type, KERN_ATTN_TILE);
}

/* Attention of rows (token, head) that share one KV head, over one tile of keys.
 * shapes  q (n_rows, dim_k), qd (n_rows): queries times 1/sqrt(dim_k), each quantised by to_q16
 *         with kern_attn_query_max (F16: q is floats, qd not read); n_keys[row]: the row sees keys
 *         0..n_keys-1 of this tile (0: it is left as it is)
 *         m, l (n_rows), o (n_rows, dim_v): running maximum, sum, weighted sum; start -inf, 0, 0
 * needs   dim_k, dim_v multiples of 16 and at most 256; n_rows <= KERN_ATTN_ROWS; m not NaN
 * order   i < n_keys (the rest of the tile is not used and may hold anything):
 *         s[i] = (float)isum * (qd * kd[i]), isum the exact sum over d of q[d] * k[i][d]
 *         (F16: s[i] = 0; per d, ascending: s[i] = fmaf(q[d], k[i][d], s[i]));
 *         mt = max over i of s[i], NaN left out; mn = max(m, mt) + 0 (so never -0);
 *         c = exp(m - mn); p[i] = exp(s[i] - mn); sum = lane sums over i (lane i % 16, ascending,
 *         plain additions) added by halves; l = fmaf(l, c, sum); m = mn;
 *         p[i] = p[i] * vd[i]; pq[i], pd = p quantised as by to_q16 with kern_attn_weight_max;
 *         o = fmaf((float)isum, pd, o * c), isum the exact sum over i of pq[i] * v[i]
 *         (F16, for the last two lines: o = o * c; per i, ascending: o = fmaf(p[i], v[i], o)) */
struct kern_attn {
    enum kern_kv type; /* of the tile */
    uint32_t n_rows, dim_k, dim_v;
    const void *q; /* int16, or floats */
    const float *qd;
    float *m, *l, *o;
    ptrdiff_t ahead; /* bytes from this tile to the next one, whose v lies behind its k, and which
                        is prefetched meanwhile; 0: none */
};
typedef void kern_attend_fn(const struct kern_attn *a, const struct kern_kv_tile *tile,
                            const uint32_t *n_keys);

/* Merges partial result b into a (one row; not both without a key): mn = max(ma, mb) + 0;
 * ca = exp(ma - mn); cb = exp(mb - mn); la = fmaf(lb, cb, la * ca); oa = fmaf(ob, cb, oa * ca);
 * ma = mn. */
typedef void kern_merge_fn(float *ma, float *la, float *oa, const float *mb, const float *lb,
                           const float *ob, uint32_t dim_v);

struct kern_table {
    const char *name;
    enum kern_set set;
    enum kern_numerics numerics;
    enum pack_act act[QUANT_TYPE_COUNT]; /* form of the activations that matmul[type] reads */
    kern_store_act_fn *store_act[PACK_ACT_COUNT];
    kern_matmul_fn *matmul[QUANT_TYPE_COUNT]; /* NULL for ids that are no type */
    kern_rmsnorm_fn *rmsnorm;
    kern_rope_fn *rope;
    kern_silu_mul_fn *silu_mul;
    kern_add_fn *add;
    kern_to_q8_fn *to_q8;
    kern_to_q16_fn *to_q16;
    kern_to_f16_fn *to_f16;
    kern_attend_fn *attend[KERN_KV_COUNT]; /* by kern_attn.type */
    kern_merge_fn *merge;
};

/* The table of a set, built from ref overlaid with what the set has. ERROR_UNSUPPORTED, naming the
 * missing CPU feature, when this CPU (or this build) cannot run it. */
const struct kern_table *kern_get(enum kern_set set, struct error *e);

/* The same in numerics bf16. ERROR_UNSUPPORTED, naming what it takes, where the set has none. */
const struct kern_table *kern_get_bf16(enum kern_set set, struct error *e);

/* The fastest set this CPU runs, of those whose speed is known: amx, which was written with an
 * emulator, has to be asked for. */
enum kern_set kern_best(void);

/* "ref", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm" -> set; false for any other name. */
bool kern_parse(const char *name, enum kern_set *out);
const char *kern_name(enum kern_set set);

/* "portable", "bf16" -> numerics; false for any other name. */
bool kern_numerics_parse(const char *name, enum kern_numerics *out);
const char *kern_numerics_name(enum kern_numerics numerics);

#endif
