/* model.c - loading a model: configuration, then weights, then RoPE frequencies; and its digest. */
#include "model/model.h"

#include "base/mem.h"
#include "base/str.h"

enum { DIGEST_CHUNK = 1 << 20 };

/* The embedding multiplies only where it is the output, too. */
static bool multiplies_bf16(const struct gguf *g)
{
    bool is_tied = gguf_find_tensor(g, "output.weight") == NULL;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (t->type == QUANT_BF16 && t->n_dims > 1 &&
            (is_tied || !str_eq(t->name, STR("token_embd.weight")))) {
            return true;
        }
    }
    return false;
}

bool model_load(struct model *m, const struct gguf *g, const struct kern_table *kern,
                const struct model_load_options *options, struct pool *pool, struct error *e)
{
    *m = (struct model){.kern = kern, .exact = options->exact};
    if (kern->numerics == KERN_BF16 && !multiplies_bf16(g)) {
        return error_set(e, ERROR_USAGE,
                         "numerics 'bf16' would change nothing: no matrix of the model is BF16");
    }
    if (!model_config_read(&m->config, g, e) ||
        !model_weights_load(&m->weights, g, &m->config, options, pool, e)) {
        return false;
    }
    if (!rope_init(&m->rope, &m->config, m->weights.rope_factors, e)) {
        model_weights_finish(&m->weights);
        return false;
    }
    return true;
}

void model_finish(struct model *m)
{
    rope_finish(&m->rope);
    model_weights_finish(&m->weights);
}

/* Bytes of which each chunk has a digest. */
struct hashing {
    const uint8_t *data;
    size_t n_bytes;
    uint32_t n_chunks;
    struct digest *digests; /* (n_chunks) */
    _Atomic uint32_t next;
};

static void hash_chunks(void *argument, unsigned thread)
{
    (void)thread;
    struct hashing *h = argument;
    uint32_t begin, end;
    while (pool_next_chunk(&h->next, h->n_chunks, 1, &begin, &end)) {
        size_t at = (size_t)begin * DIGEST_CHUNK, left = h->n_bytes - at;
        h->digests[begin] = digest_of(h->data + at, left < DIGEST_CHUNK ? left : DIGEST_CHUNK);
    }
}

static bool hash_all(const void *data, size_t n_bytes, struct pool *pool, struct digest *out,
                     struct error *e)
{
    struct hashing h = {.data = data,
                        .n_bytes = n_bytes,
                        .n_chunks = (uint32_t)((n_bytes + DIGEST_CHUNK - 1) / DIGEST_CHUNK)};
    h.digests = mem_alloc(h.n_chunks, sizeof *h.digests, "digests of the model", e);
    if (h.digests == NULL) {
        return false;
    }
    pool_run(pool, hash_chunks, &h);
    *out = digest_of(h.digests, h.n_chunks * sizeof *h.digests);
    mem_free(h.digests);
    return true;
}

/* What the packed bytes are read as. */
static struct digest digest_of_types(const struct model *m)
{
    const struct model_weights *w = &m->weights;
    struct {
        struct digest before;
        uint32_t types[7];
    } all = {.types = {w->embedding->type, (uint32_t)w->output.packed.type}};
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        all.before = digest_of(&all, sizeof all);
        const struct model_layer *l = &w->layers[i];
        const struct model_matrix *matrices[7] = {&l->q,    &l->k,  &l->v,   &l->o,
                                                  &l->gate, &l->up, &l->down};
        for (int k = 0; k < 7; k++) {
            all.types[k] = (uint32_t)matrices[k]->packed.type;
        }
    }
    return digest_of(&all, sizeof all);
}

/* The embedding is packed, too, where it is the output. */
bool model_digest(const struct model *m, struct pool *pool, struct digest *out, struct error *e)
{
    const struct model_weights *w = &m->weights;
    size_t n_bytes = w->output.tensor == w->embedding ? 0 : w->embedding->n_bytes;
    struct {
        struct model_config config; /* 32-bit numbers: no padding */
        struct digest types, packed, floats, embedding;
    } all = {.config = m->config, .types = digest_of_types(m)};
    if (!hash_all(w->packed, w->packed_bytes, pool, &all.packed, e) ||
        !hash_all(w->floats, w->n_floats * sizeof *w->floats, pool, &all.floats, e) ||
        !hash_all(w->embedding->data, n_bytes, pool, &all.embedding, e)) {
        return false;
    }
    *out = digest_of(&all, sizeof all);
    return true;
}
