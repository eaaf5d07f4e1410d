/* gen_gguf.c - writes a llama GGUF with random weights and the real shapes of the family, so that
 * speed and shapes can be tested without anybody's weights.
 *
 *     gen_gguf --shape 8b --type Q4_K_M --layers 4 -o 8b-4layers.gguf
 *
 * The file is streamed: memory stays at a few MiB whatever the model's size. It appears under its
 * name only when complete. */
#include "gen.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 32, CHUNK_BYTES = 1 << 20, HEADER_MAX_BYTES = 1 << 28, GGUF_MAGIC = 0x46554747 };

struct generator {
    struct gen_shape shape;
    struct gen_recipe recipe;
    float rms_eps;
    uint64_t seed;
    FILE *file;
    const char *path; /* of file, for errors */
    uint64_t n_written;
    uint8_t *chunk; /* (CHUNK_BYTES) + slack */
};

static bool write_bytes(struct generator *g, const void *bytes, size_t n, struct error *e)
{
    if (fwrite(bytes, 1, n, g->file) != n) {
        return error_set(e, ERROR_IO, "cannot write '%s': %s", g->path, strerror(errno));
    }
    g->n_written += n;
    return true;
}

static bool write_padding(struct generator *g, struct error *e)
{
    static const uint8_t zeros[ALIGNMENT] = {0};
    return write_bytes(g, zeros, (ALIGNMENT - g->n_written % ALIGNMENT) % ALIGNMENT, e);
}

static bool put_rope_keys(struct gen_keys *k, const struct gen_shape *s, struct error *e)
{
    if (!gen_key_f32(k, "llama.rope.freq_base", s->rope_base, e) ||
        !gen_key_u32(k, "llama.rope.dimension_count", gen_shape_rope_dim(s), e)) {
        return false;
    }
    if (s->rope_scaling == NULL) {
        return true;
    }
    return gen_key_str(k, "llama.rope.scaling.type", s->rope_scaling, e) &&
           gen_key_f32(k, "llama.rope.scaling.factor", s->rope_factor, e) &&
           gen_key_u32(k, "llama.rope.scaling.original_context_length", s->rope_original, e);
}

static bool put_metadata(struct gen_keys *k, const struct generator *g, struct error *e)
{
    const struct gen_shape *s = &g->shape;
    char name[64];
    snprintf(name, sizeof name, "random %s", s->name);
    return gen_key_str(k, "general.architecture", "llama", e) &&
           gen_key_str(k, "general.name", name, e) &&
           gen_key_u32(k, "general.file_type", g->recipe.file_type, e) &&
           gen_key_u32(k, "general.quantization_version", 2, e) &&
           gen_key_u32(k, "general.alignment", ALIGNMENT, e) &&
           gen_key_u32(k, "llama.vocab_size", s->vocab, e) &&
           gen_key_u32(k, "llama.context_length", s->ctx, e) &&
           gen_key_u32(k, "llama.embedding_length", s->embd, e) &&
           gen_key_u32(k, "llama.block_count", s->layers, e) &&
           gen_key_u32(k, "llama.feed_forward_length", s->ff, e) &&
           gen_key_u32(k, "llama.attention.head_count", s->heads, e) &&
           gen_key_u32(k, "llama.attention.head_count_kv", s->kv_heads, e) &&
           gen_key_u32(k, "llama.attention.key_length", s->key_length, e) &&
           gen_key_u32(k, "llama.attention.value_length", s->value_length, e) &&
           gen_key_f32(k, "llama.attention.layer_norm_rms_epsilon", g->rms_eps, e) &&
           put_rope_keys(k, s, e) && gen_vocab_write(k, s->vocab, e);
}

/* Name, dimensions, type and place of every tensor; *n_tensors is their number. */
static bool put_tensor_table(struct buf *out, const struct generator *g, uint64_t *n_tensors,
                             struct error *e)
{
    struct gen_tensor t;
    uint64_t offset = 0;
    uint32_t n = 0;
    for (; gen_tensor_at(&g->shape, &g->recipe, n, &t); n++) {
        bool ok = gen_put_str(out, t.name, e) && gen_put(out, t.n_dims, 4, e);
        for (uint32_t d = 0; ok && d < t.n_dims; d++) {
            ok = gen_put(out, t.dims[d], 8, e);
        }
        if (!ok || !gen_put(out, t.type, 4, e) || !gen_put(out, offset, 8, e)) {
            return false;
        }
        offset += (gen_tensor_bytes(&t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    *n_tensors = n;
    return true;
}

static bool write_header(struct generator *g, struct error *e)
{
    struct gen_keys keys = {0};
    struct buf table, head;
    uint64_t n_tensors = 0;
    buf_init(&keys.bytes, HEADER_MAX_BYTES);
    buf_init(&table, HEADER_MAX_BYTES);
    buf_init(&head, 64);
    bool ok = put_metadata(&keys, g, e) && put_tensor_table(&table, g, &n_tensors, e) &&
              gen_put(&head, GGUF_MAGIC, 4, e) && gen_put(&head, 3, 4, e) &&
              gen_put(&head, n_tensors, 8, e) && gen_put(&head, keys.n, 8, e) &&
              write_bytes(g, head.data, head.n, e) &&
              write_bytes(g, keys.bytes.data, keys.bytes.n, e) &&
              write_bytes(g, table.data, table.n, e) && write_padding(g, e);
    buf_finish(&keys.bytes);
    buf_finish(&table);
    buf_finish(&head);
    return ok;
}

/* A tensor's own stream: other layers or types elsewhere do not change it. FNV-1a of the name. */
static uint64_t tensor_seed(const struct generator *g, const char *name)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001B3u;
    }
    return hash ^ g->seed * 0x9E3779B97F4A7C15u;
}

static bool write_random(struct generator *g, const struct gen_tensor *t, struct error *e)
{
    const struct quant_info *info = quant_type_info(t->type);
    struct gen_blocks blocks;
    if (!gen_blocks_init(&blocks, t->type, t->spread, tensor_seed(g, t->name), e)) {
        return false;
    }
    uint64_t n_left = t->dims[0] * t->dims[1] / info->block_items;
    size_t n_chunk = CHUNK_BYTES / info->block_bytes / 4 * 4;
    bool ok = true;
    while (ok && n_left > 0) {
        size_t n = n_left < n_chunk ? (size_t)n_left : n_chunk;
        gen_blocks_fill(&blocks, g->chunk, n);
        for (size_t i = 0; t->values == GEN_NORM && i < n; i++) {
            ((float *)(void *)g->chunk)[i] += 1;
        }
        ok = write_bytes(g, g->chunk, n * info->block_bytes, e);
        n_left -= n;
    }
    gen_blocks_finish(&blocks);
    return ok;
}

static bool write_model(struct generator *g, struct error *e)
{
    struct gen_tensor t;
    bool ok = write_header(g, e);
    for (uint32_t i = 0; ok && gen_tensor_at(&g->shape, &g->recipe, i, &t); i++) {
        if (t.values == GEN_ROPE_FREQS) {
            gen_rope_freqs(&g->shape, (float *)(void *)g->chunk);
            ok = write_bytes(g, g->chunk, (size_t)gen_tensor_bytes(&t), e);
        } else {
            ok = write_random(g, &t, e);
        }
        ok = ok && write_padding(g, e);
    }
    return ok;
}

/* Writes PATH.part, then renames it; nothing is left behind on failure. */
static bool generate(struct generator *g, const char *path, struct error *e)
{
    size_t n = strlen(path) + sizeof ".part";
    char *part = mem_alloc(n, 1, "file name", e);
    g->chunk = mem_alloc(CHUNK_BYTES + GEN_BLOCKS_SLACK, 1, "chunk", e);
    bool ok = part != NULL && g->chunk != NULL;
    if (ok) {
        snprintf(part, n, "%s.part", path);
        g->path = part;
        g->file = fopen(part, "wb");
        ok = g->file != NULL ||
             error_set(e, ERROR_IO, "cannot create '%s': %s", part, strerror(errno));
    }
    if (ok) {
        ok = write_model(g, e);
        if (fclose(g->file) != 0 && ok) {
            ok = error_set(e, ERROR_IO, "cannot write '%s': %s", part, strerror(errno));
        }
        if (ok && rename(part, path) != 0) {
            ok = error_set(e, ERROR_IO, "cannot rename '%s': %s", part, strerror(errno));
        }
        if (!ok) {
            unlink(part);
        }
    }
    mem_free(g->chunk);
    mem_free(part);
    return ok;
}

/* What the command line says; zeros leave the preset's value. */
struct request {
    const char *shape, *type, *path;
    struct gen_shape over;
    uint32_t head_dim;
    float rms_eps;
    uint64_t seed;
    bool untied, no_rope_freqs;
};

static void override_u32(uint32_t *value, uint32_t with)
{
    *value = with != 0 ? with : *value;
}

static bool build_shape(const struct request *r, struct gen_shape *out, struct error *e)
{
    const char *names;
    const struct gen_shape *preset = gen_shape_find(r->shape, &names);
    if (preset == NULL) {
        return error_set(e, ERROR_USAGE, "shape '%s': one of %s expected", r->shape, names);
    }
    struct gen_shape s = *preset;
    const struct gen_shape *over = &r->over;
    override_u32(&s.layers, over->layers);
    override_u32(&s.embd, over->embd);
    override_u32(&s.heads, over->heads);
    override_u32(&s.kv_heads, over->kv_heads);
    override_u32(&s.key_length, r->head_dim);
    s.value_length = s.key_length;
    override_u32(&s.value_length, over->value_length);
    override_u32(&s.ff, over->ff);
    override_u32(&s.vocab, over->vocab);
    override_u32(&s.ctx, over->ctx);
    override_u32(&s.rope_dim, over->rope_dim);
    override_u32(&s.rope_original, over->rope_original);
    s.rope_base = over->rope_base != 0 ? over->rope_base : s.rope_base;
    s.rope_factor = over->rope_factor != 0 ? over->rope_factor : s.rope_factor;
    s.rope_scaling = over->rope_scaling;
    s.rope_freqs = (s.rope_freqs || over->rope_freqs) && !r->no_rope_freqs;
    s.tied = (s.tied || over->tied) && !r->untied;
    s.bias = over->bias;
    s.mlp_bias = over->mlp_bias;
    *out = s;
    return gen_shape_check(&s, e);
}

static bool run(const struct request *r, struct error *e)
{
    struct generator g = {.seed = r->seed, .rms_eps = r->rms_eps};
    if (r->path == NULL) {
        return error_set(e, ERROR_USAGE, "no output file (-o FILE)");
    }
    if (!gen_recipe_parse(r->type, &g.recipe, e) || !build_shape(r, &g.shape, e)) {
        return false;
    }
    uint64_t start = clock_now_ns();
    if (!generate(&g, r->path, e)) {
        return false;
    }
    double seconds = clock_seconds_since(start);
    printf("%s: %" PRIu64 " bytes in %.1f s, %.0f MB/s\n", r->path, g.n_written, seconds,
           (double)g.n_written * 1e-6 / seconds);
    return true;
}

int main(int argc, char **argv)
{
    struct request r = {.shape = "tiny", .type = "Q4_K_M", .rms_eps = 1e-5f};
    const struct options_usage usage = {
        .program = "",
        .command = "gen_gguf",
        .synopsis = "[OPTION]... -o FILE",
        .about = "Writes a GGUF model of architecture llama with random weights.",
        .epilog = "The same options give the same bytes on every machine.",
    };
    const struct option_spec specs[] = {
        {OPTION_TEXT, "output", 'o', NULL, "FILE", &r.path, 0, 0, "file to write", NULL},
        {OPTION_TEXT, "shape", 's', NULL, "NAME", &r.shape, 0, 0,
         "tiny, 135m, 1b, 3b, 7b, 8b, 13b, 70b or 405b\n(default: tiny)", NULL},
        {OPTION_TEXT, "type", 't', NULL, "TYPE", &r.type, 0, 0,
         "any supported type for all matrices, or the mix\nQ4_K_M (default) or Q5_K_M", NULL},
        {OPTION_U64, "seed", 0, NULL, "N", &r.seed, 0, 0, "default: 0", NULL},
        {OPTION_HEADING, .help = "Changes to the shape"},
        {OPTION_U32, "layers", 0, NULL, "N", &r.over.layers, 1, 1024, "", NULL},
        {OPTION_U32, "embd", 0, NULL, "N", &r.over.embd, 32, 1 << 17, "embedding length", NULL},
        {OPTION_U32, "heads", 0, NULL, "N", &r.over.heads, 1, 1024, "attention heads", NULL},
        {OPTION_U32, "kv-heads", 0, NULL, "N", &r.over.kv_heads, 1, 1024, "", NULL},
        {OPTION_U32, "head-dim", 0, NULL, "N", &r.head_dim, 2, 1024, "length of a key", NULL},
        {OPTION_U32, "value-length", 0, NULL, "N", &r.over.value_length, 2, 1024,
         "length of a value (default: of a key)", NULL},
        {OPTION_U32, "ff", 0, NULL, "N", &r.over.ff, 32, 1 << 20, "feed-forward length", NULL},
        {OPTION_U32, "vocab", 0, NULL, "N", &r.over.vocab, GEN_VOCAB_MIN, GEN_VOCAB_MAX, "tokens",
         NULL},
        {OPTION_U32, "ctx", 0, NULL, "N", &r.over.ctx, 1, 1 << 24, "context length", NULL},
        {OPTION_FLAG, "tied", 0, NULL, NULL, &r.over.tied, 0, 0, "no output.weight", NULL},
        {OPTION_FLAG, "untied", 0, NULL, NULL, &r.untied, 0, 0, "output.weight of its own", NULL},
        {OPTION_FLAG, "bias", 0, NULL, NULL, &r.over.bias, 0, 0, "biases in attention", NULL},
        {OPTION_FLAG, "mlp-bias", 0, NULL, NULL, &r.over.mlp_bias, 0, 0,
         "biases in the feed-forward part", NULL},
        {OPTION_F32, "rms-eps", 0, NULL, "X", &r.rms_eps, 0, 1, "default: 1e-5", NULL},
        {OPTION_HEADING, .help = "Position encoding"},
        {OPTION_U32, "rope-dim", 0, NULL, "N", &r.over.rope_dim, 2, 1024,
         "dimensions that rotate (default: all of a key)", NULL},
        {OPTION_F32, "rope-base", 0, NULL, "X", &r.over.rope_base, 1, 1e12, "frequency base", NULL},
        {OPTION_FLAG, "rope-freqs", 0, NULL, NULL, &r.over.rope_freqs, 0, 0,
         "llama3 scaling, as tensor rope_freqs.weight", NULL},
        {OPTION_FLAG, "no-rope-freqs", 0, NULL, NULL, &r.no_rope_freqs, 0, 0, "", NULL},
        {OPTION_TEXT, "rope-scaling", 0, NULL, "TYPE", &r.over.rope_scaling, 0, 0, "linear or yarn",
         NULL},
        {OPTION_F32, "rope-factor", 0, NULL, "X", &r.over.rope_factor, 1, 1e6, "of either scaling",
         NULL},
        {OPTION_U32, "rope-original-ctx", 0, NULL, "N", &r.over.rope_original, 1, 1 << 24,
         "context length before scaling", NULL},
    };
    struct error e = {0};
    const struct options_line line = {.argc = argc, .argv = argv};
    enum options_result parsed =
        options_parse(&usage, specs, sizeof specs / sizeof specs[0], &line, &e);
    if (parsed == OPTIONS_HELP) {
        return 0;
    }
    if (parsed == OPTIONS_BAD || !run(&r, &e)) {
        fprintf(stderr, "gen_gguf: %s\n", e.text);
        return error_exit_code(e.code);
    }
    return 0;
}
