/* packing.c - all matrices of a model into one block, each by all threads. */
#include "model/packing.h"

#include "base/mem.h"
#include "model/packed_cache.h"

enum { CHUNK_GROUPS = 16, MATRICES_PER_LAYER = 7, PAGE_BYTES = 4096 };

/* The matrices in a fixed order: index 0 is the output, then 7 a layer. */
static struct model_matrix *matrix_at(const struct packing *p, size_t index)
{
    if (index == 0) {
        return &p->weights->output;
    }
    struct model_layer *l = &p->weights->layers[(index - 1) / MATRICES_PER_LAYER];
    struct model_matrix *in_layer[MATRICES_PER_LAYER] = {&l->q,    &l->k,  &l->v,   &l->o,
                                                         &l->gate, &l->up, &l->down};
    return in_layer[(index - 1) % MATRICES_PER_LAYER];
}

static size_t n_matrices(const struct packing *p)
{
    return 1 + (size_t)p->n_layers * MATRICES_PER_LAYER;
}

static bool add_sizes(const struct packing *p, size_t *out_total, struct error *e)
{
    size_t total = 0;
    for (size_t i = 0; i < n_matrices(p); i++) {
        if (!mem_add(total, pack_matrix_bytes(&matrix_at(p, i)->packed), &total)) {
            return error_set(e, ERROR_FORMAT,
                             "the packed weights do not fit the address space: %zu bytes, and %zu "
                             "of matrix %zu of %zu",
                             total, pack_matrix_bytes(&matrix_at(p, i)->packed), i + 1,
                             n_matrices(p));
        }
    }
    *out_total = total;
    return true;
}

/* --- a pass over all matrices: packs them, or tells what they are made of, or both ------------ */

/* A digest of its type and shape, then one for each CHUNK_GROUPS of its groups. */
static size_t n_digests_of(const struct model_matrix *m)
{
    return 1 + ((size_t)m->packed.n_groups + CHUNK_GROUPS - 1) / CHUNK_GROUPS;
}

static size_t n_digests(const struct packing *p)
{
    size_t n = 0;
    for (size_t i = 0; i < n_matrices(p); i++) {
        n += n_digests_of(matrix_at(p, i));
    }
    return n;
}

static struct digest digest_of_shape(const struct pack_matrix *m)
{
    uint32_t shape[3] = {(uint32_t)m->type, m->rows, m->cols};
    return digest_of(shape, sizeof shape);
}

/* ---- where the packed rows lie on a machine whose memory has nodes ---- */

struct placing {
    const struct packing *p;
    struct pool_shares *shares; /* (matrices) */
};

/* Touches every page of the groups that the thread's node will multiply. */
static void place_groups(void *argument, unsigned thread)
{
    const struct placing *placing = argument;
    const struct packing *p = placing->p;
    unsigned node = pool_node_of(p->pool, thread);
    volatile uint8_t *data = p->weights->packed;
    for (size_t i = 0; i < n_matrices(p); i++) {
        const struct pack_matrix *m = &matrix_at(p, i)->packed;
        uint32_t begin, end;
        while (pool_next_of_share(&placing->shares[i], node, &begin, &end)) {
            for (size_t at = begin * m->group_bytes; at < end * m->group_bytes; at += PAGE_BYTES) {
                data[at] = 0;
            }
        }
        data += pack_matrix_bytes(m);
    }
}

/* Before anything is written to the packed weights; what no thread came for is placed by whoever
 * packs. */
static bool place(const struct packing *p, struct error *e)
{
    if (pool_n_nodes(p->pool) == 1) {
        return true;
    }
    struct placing placing = {
        p, mem_alloc(n_matrices(p), sizeof *placing.shares, "shares of the nodes", e)};
    if (placing.shares == NULL) {
        return false;
    }
    for (size_t i = 0; i < n_matrices(p); i++) {
        placing.shares[i] = (struct pool_shares){.n_shares = pool_n_nodes(p->pool),
                                                 .n = matrix_at(p, i)->packed.n_groups,
                                                 .chunk = CHUNK_GROUPS};
    }
    pool_run(p->pool, place_groups, &placing);
    mem_free(placing.shares);
    return true;
}

struct phase {
    const struct model_matrix *m;
    uint8_t *data;          /* where it is packed, NULL: it is not */
    struct digest *digests; /* of its rows, CHUNK_GROUPS groups each; NULL: not wanted */
    _Atomic uint32_t next_group;
};

static struct digest digest_of_groups(const struct model_matrix *m, uint32_t begin, uint32_t end)
{
    size_t rows = m->packed.rows, row_bytes = m->tensor->n_bytes / rows;
    size_t first = (size_t)begin * PACK_ROWS, last = (size_t)end * PACK_ROWS;
    return digest_of(m->tensor->data + first * row_bytes,
                     ((last < rows ? last : rows) - first) * row_bytes);
}

/* A chunk is hashed right before it is packed, so that it comes from memory once. */
static void run_phase(void *argument, unsigned thread)
{
    (void)thread;
    struct phase *p = argument;
    uint32_t begin, end;
    while (pool_next_chunk(&p->next_group, p->m->packed.n_groups, CHUNK_GROUPS, &begin, &end)) {
        if (p->digests != NULL) {
            p->digests[begin / CHUNK_GROUPS] = digest_of_groups(p->m, begin, end);
        }
        if (p->data != NULL) {
            pack_groups(&p->m->packed, p->m->tensor->data, p->data, begin, end);
        }
    }
}

/* dst: the packed weights or NULL; digests (n_digests) or NULL. */
static void run_pass(const struct packing *p, uint8_t *dst, struct digest *digests)
{
    const struct model_weights *w = p->weights;
    size_t done = 0;
    for (size_t i = 0; i < n_matrices(p); i++) {
        const struct model_matrix *m = matrix_at(p, i);
        struct phase phase = {.m = m, .data = dst != NULL ? dst + done : NULL};
        if (digests != NULL) {
            digests[0] = digest_of_shape(&m->packed);
            phase.digests = digests + 1;
            digests += n_digests_of(m);
        }
        pool_run(p->pool, run_phase, &phase);
        done += pack_matrix_bytes(&m->packed);
        if (m->tensor != w->embedding) {
            gguf_release_tensor(p->gguf, m->tensor);
        }
        model_watch_progress(&p->options->watch, dst != NULL ? "loading" : "checking", done,
                             w->packed_bytes);
    }
}

/* --- with the cache --------------------------------------------------------------------------- */

struct packing_cache {
    struct packed_cache cache;
    struct digest content; /* of the matrices, once they were hashed */
    struct digest *digests;
};

void packing_order_digest(const struct packing *p, struct digest *out)
{
    struct { /* no padding */
        struct digest before, name;
        uint64_t type, rows, cols, offset;
    } all = {0};
    for (size_t i = 0; i < n_matrices(p); i++) {
        const struct model_matrix *m = matrix_at(p, i);
        all.name = digest_of(m->tensor->name.p, m->tensor->name.n);
        all.type = (uint64_t)m->packed.type;
        all.rows = m->packed.rows;
        all.cols = m->packed.cols;
        all.offset = (uint64_t)(m->packed.data - p->weights->packed);
        all.before = digest_of(&all, sizeof all);
    }
    *out = all.before;
}

/* NULL where nothing is kept. What goes wrong is told, and the model is packed. */
static struct packing_cache *open_cache(const struct packing *p)
{
    const struct model_watch *watch = &p->options->watch;
    struct error e = {0};
    if (p->options->cache == NULL) {
        return NULL;
    }
    struct packing_cache *c = mem_alloc(1, sizeof *c, "cache of packed weights", &e);
    if (c != NULL) {
        struct digest order;
        packing_order_digest(p, &order);
        packed_cache_open(&c->cache, p->options->cache, watch, p->gguf, p->weights->packed_bytes,
                          &order);
        if (c->cache.state == PACKED_CACHE_OFF) {
            packing_cache_destroy(c);
            return NULL;
        }
        c->digests = mem_alloc(n_digests(p), sizeof *c->digests, "digests of the weights", &e);
    }
    if (c == NULL || c->digests == NULL) {
        model_watch_note(watch, e.text);
        packing_cache_destroy(c);
        return NULL;
    }
    return c;
}

void packing_cache_destroy(struct packing_cache *c)
{
    if (c != NULL) {
        packed_cache_close(&c->cache);
        mem_free(c->digests);
        mem_free(c);
    }
}

static void run_hashing_pass(const struct packing *p, struct packing_cache *c, uint8_t *dst)
{
    run_pass(p, dst, c->digests);
    c->content = digest_of(c->digests, n_digests(p) * sizeof *c->digests);
}

static bool read_cache(const struct packing *p, struct packing_cache *c)
{
    if (c->cache.state == PACKED_CACHE_UNSURE) {
        run_hashing_pass(p, c, NULL);
        packed_cache_confirm(&c->cache, &c->content);
    }
    return c->cache.state == PACKED_CACHE_VALID &&
           packed_cache_read(&c->cache, p->weights->packed, p->pool);
}

static void fill(const struct packing *p)
{
    struct model_weights *w = p->weights;
    struct packing_cache *c = open_cache(p);
    if (c == NULL) {
        run_pass(p, w->packed, NULL);
    } else if (read_cache(p, c)) {
        w->from_cache = true;
        packing_cache_destroy(c);
    } else {
        run_hashing_pass(p, c, w->packed);
        w->cache = c;
    }
}

void packing_store(struct model_weights *w, struct pool *pool)
{
    if (w->cache != NULL) {
        packed_cache_store(&w->cache->cache, &w->cache->content, w->packed, pool);
    }
    packing_cache_destroy(w->cache);
    w->cache = NULL;
}

bool packing_run(const struct packing *p, struct error *e)
{
    struct model_weights *w = p->weights;
    size_t total = 0, at = 0;
    if (!add_sizes(p, &total, e)) {
        return false;
    }
    w->packed = mem_alloc_pages(total, "packed weights", e);
    if (w->packed == NULL) {
        return false;
    }
    w->packed_bytes = total;
    for (size_t i = 0; i < n_matrices(p); i++) {
        struct pack_matrix *m = &matrix_at(p, i)->packed;
        m->data = w->packed + at;
        at += pack_matrix_bytes(m);
    }
    if (!place(p, e)) {
        return false;
    }
    fill(p);
    return mem_seal_pages(w->packed, total, "packed weights", e);
}
