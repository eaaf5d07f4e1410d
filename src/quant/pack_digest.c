/* pack_digest.c - tells versions of the packed layout apart. */
#include "base/digest.h"
#include "base/mem.h"
#include "base/rng.h"
#include "quant/pack.h"

/* Three groups, the last one padded, and several blocks of every type: no step from one part of the
 * layout to the next is left out. */
enum { SAMPLE_ROWS = 2 * PACK_ROWS + 1, SAMPLE_COLS = 3 * 256 };

static struct digest digest_of_type(enum quant_type type, const uint8_t *sample, uint8_t *packed)
{
    struct pack_matrix m;
    if (!pack_matrix_init(&m, type, SAMPLE_ROWS, SAMPLE_COLS, NULL)) {
        return (struct digest){0}; /* a number that names no type */
    }
    pack_groups(&m, sample, packed, 0, m.n_groups);
    return digest_of(packed, pack_matrix_bytes(&m));
}

bool pack_layout_digest(struct digest *out, struct error *e)
{
    enum { MAX_ITEM_BYTES = 4, MAX_ITEMS = 3 * PACK_ROWS * SAMPLE_COLS };
    uint8_t *sample = mem_alloc(2 * MAX_ITEMS, MAX_ITEM_BYTES, "sample of the packed layout", e);
    if (sample == NULL) {
        return false;
    }
    uint8_t *packed = sample + MAX_ITEMS * MAX_ITEM_BYTES;
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < MAX_ITEMS * MAX_ITEM_BYTES; i++) {
        sample[i] = (uint8_t)(rng_next(&rng) >> 56);
    }
    struct digest types[QUANT_TYPE_COUNT];
    for (int type = 0; type < QUANT_TYPE_COUNT; type++) {
        types[type] = digest_of_type((enum quant_type)type, sample, packed);
    }
    *out = digest_of(types, sizeof types);
    mem_free(sample);
    return true;
}
