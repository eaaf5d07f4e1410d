/* inspect.c - `puna inspect`: what is in a model file, whatever its architecture. */
#include "cmd/inspect.h"

#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/session.h"
#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>

enum { KEY_BYTES = 128 }; /* of "ARCHITECTURE.some.key" */

void inspect_roles(const struct token_info *info, struct inspect_role out[INSPECT_N_ROLES])
{
    const struct inspect_role roles[INSPECT_N_ROLES] = {
        {"bos", info->bos}, {"eos", info->eos},         {"eot", info->eot},
        {"eom", info->eom}, {"unknown", info->unknown}, {"pad", info->pad},
    };
    memcpy(out, roles, sizeof roles);
}

static void sum_types(struct inspect_report *r)
{
    for (size_t i = 0; i < gguf_n_tensors(r->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(r->g, i);
        struct inspect_type_sum *sum = &r->types[t->type];
        sum->n_tensors++;
        sum->n_items += t->n_items;
        sum->n_bytes += t->n_bytes;
        r->tensor_bytes += t->n_bytes;
    }
}

/* --- memory */

/* "ARCHITECTURE.name"; false when the file names no architecture or an absurd one. */
static bool architecture_key(const struct gguf *g, const char *name, char key[KEY_BYTES],
                             struct error *e)
{
    struct str architecture;
    if (!gguf_get_str(g, "general.architecture", true, &architecture, e)) {
        return false;
    }
    if (architecture.n > KEY_BYTES / 2) {
        return error_set(e, ERROR_FORMAT, "key 'general.architecture' has %zu bytes",
                         architecture.n);
    }
    snprintf(key, KEY_BYTES, "%.*s.%s", STR_ARG(architecture), name);
    return true;
}

static bool get_u32(const struct gguf *g, const char *name, bool required, uint32_t *out,
                    struct error *e)
{
    char key[KEY_BYTES];
    return architecture_key(g, name, key, e) && gguf_get_u32(g, key, required, out, e);
}

static bool is_integer_array(const struct gguf_value *v)
{
    return v->type == GGUF_ARRAY && v->array_type != GGUF_STRING && v->array_type != GGUF_F32 &&
           v->array_type != GGUF_F64;
}

/* Heads of a model whose layers may differ. */
struct heads {
    uint64_t sum; /* of all layers */
    uint64_t max; /* of one layer */
};

/* Reads a key that holds one number for all layers, or an array of one a layer; *out stays as it is
 * when the key is absent. */
static bool read_layers(const struct gguf *g, const char *name, uint32_t n_layers,
                        struct heads *out, struct error *e)
{
    char key[KEY_BYTES];
    if (!architecture_key(g, name, key, e)) {
        return false;
    }
    const struct gguf_value *v = gguf_find(g, key);
    if (v == NULL) {
        return true;
    }
    if (!is_integer_array(v)) {
        uint32_t each = 0;
        if (!gguf_get_u32(g, key, true, &each, e)) {
            return false;
        }
        *out = (struct heads){(uint64_t)each * n_layers, each};
        return true;
    }
    if (v->n_items != n_layers) {
        return error_set(e, ERROR_FORMAT, "key '%s' has %" PRIu64 " items for %" PRIu32 " layers",
                         key, v->n_items, n_layers);
    }
    struct heads heads = {0};
    for (uint64_t i = 0; i < v->n_items; i++) {
        int64_t n = gguf_array_int(v, i);
        if (n < 0 || n > UINT32_MAX) {
            return error_set(e, ERROR_FORMAT, "key '%s' has an item %" PRId64, key, n);
        }
        heads.sum += (uint64_t)n;
        heads.max = (uint64_t)n > heads.max ? (uint64_t)n : heads.max;
    }
    *out = heads;
    return true;
}

/* Key and value heads of all layers, and their lengths: embedding / heads unless the file says. */
static bool read_heads(const struct gguf *g, struct inspect_memory *m, struct error *e)
{
    struct heads heads = {0};
    uint32_t embedding = 0;
    if (!get_u32(g, "block_count", true, &m->n_layers, e) ||
        !read_layers(g, "attention.head_count", m->n_layers, &heads, e)) {
        return false;
    }
    struct heads kv_heads = heads;
    if (!read_layers(g, "attention.head_count_kv", m->n_layers, &kv_heads, e) ||
        !get_u32(g, "embedding_length", false, &embedding, e)) {
        return false;
    }
    m->n_kv_heads = kv_heads.sum;
    m->key_length = heads.max > 0 ? (uint32_t)(embedding / heads.max) : 0;
    m->value_length = m->key_length;
    if (!get_u32(g, "attention.key_length", false, &m->key_length, e) ||
        !get_u32(g, "attention.value_length", false, &m->value_length, e)) {
        return false;
    }
    if (m->n_kv_heads == 0 || m->key_length == 0 || m->value_length == 0) {
        return error_set(e, ERROR_FORMAT,
                         "the metadata does not give the size of attention heads: %" PRIu64
                         " KV heads of %" PRIu32 " + %" PRIu32 " numbers",
                         m->n_kv_heads, m->key_length, m->value_length);
    }
    return true;
}

static uint64_t tied_embedding_bytes(const struct gguf *g)
{
    const struct gguf_tensor *embedding = gguf_find_tensor(g, "token_embd.weight");
    return embedding != NULL && gguf_find_tensor(g, "output.weight") == NULL ? embedding->n_bytes
                                                                             : 0;
}

static bool measure_memory(const struct inspect_report *r, uint32_t ctx, struct inspect_memory *m,
                           struct error *e)
{
    m->weight_bytes = r->tensor_bytes;
    m->tied_bytes = tied_embedding_bytes(r->g);
    if (gguf_n_tensors(r->g) == 0) {
        return error_set(e, ERROR_FORMAT, "the file has no tensors");
    }
    uint32_t trained_ctx = ctx > 0 ? ctx : ENGINE_DEFAULT_CTX;
    if (!read_heads(r->g, m, e) || !get_u32(r->g, "context_length", false, &trained_ctx, e)) {
        return false;
    }
    uint32_t most = trained_ctx < ENGINE_DEFAULT_CTX ? trained_ctx : ENGINE_DEFAULT_CTX;
    m->n_ctx = ctx > 0 ? ctx : most;
    if (!rope_check_ctx(m->n_ctx, trained_ctx, e)) {
        return false;
    }
    m->n_kv_tokens = kv_pages_for(m->n_ctx) * KERN_ATTN_TILE;
    size_t bytes_per_token, kv_bytes, total;
    if (!mem_mul(m->n_kv_heads, kv_row_bytes(m->kv_type, m->key_length, m->value_length),
                 &bytes_per_token) ||
        !mem_mul(bytes_per_token, m->n_kv_tokens, &kv_bytes) ||
        !mem_add(kv_bytes, m->weight_bytes, &total) || !mem_add(total, m->tied_bytes, &total)) {
        return error_set(e, ERROR_FORMAT,
                         "%" PRIu64 " tokens of %" PRIu64 " KV heads of %" PRIu32 " + %" PRIu32
                         " numbers beside %" PRIu64 " bytes of weights are more than 2^64 bytes",
                         m->n_kv_tokens, m->n_kv_heads, m->key_length, m->value_length,
                         m->weight_bytes);
    }
    m->kv_bytes = kv_bytes;
    m->total_bytes = total;
    m->is_known = true;
    return true;
}

void inspect_support(const struct chat_template *t,
                     struct inspect_supported out[INSPECT_N_SUPPORTED])
{
    const struct chat_support *s = &t->support;
    const struct inspect_supported all[INSPECT_N_SUPPORTED] = {
        {"system", "system messages", "refused", s->system},
        {"tools", "tools", "told in a system message", s->tools},
        {"tool_calls", "calls of tools", "written as text", s->calls},
        {"parallel_tool_calls", "several in a message", "written as text", s->several_calls},
        {"text_beside_calls", "text beside calls", "both written as text", s->text_and_calls},
        {"tool_answers", "answers of tools", "refused", s->tool_answers},
        {"date", "the date", "not written", s->date || s->clock},
    };
    memcpy(out, all, sizeof all);
}

/* --- command */

static bool report(struct inspect_report *r, uint32_t ctx, bool json, struct error *e)
{
    struct tokenizer *tokenizer = NULL;
    if (gguf_find(r->g, "tokenizer.ggml.model") != NULL) {
        tokenizer = tokenizer_create(r->g, &r->tokenizer_why);
    }
    r->tokenizer = tokenizer;
    r->has_chat =
        tokenizer != NULL && chat_template_init(&r->chat, r->g, tokenizer, NULL, &r->chat_why);
    sum_types(r);
    measure_memory(r, ctx, &r->memory, &r->memory.why);
    bool bad_ctx = r->memory.why.code == ERROR_USAGE || r->memory.why.code == ERROR_UNSUPPORTED;
    bool no_memory = r->tokenizer_why.code == ERROR_MEMORY || r->chat_why.code == ERROR_MEMORY;
    bool ok = !no_memory && !bad_ctx;
    if (!ok) {
        *e = bad_ctx                            ? r->memory.why
             : r->chat_why.code == ERROR_MEMORY ? r->chat_why
                                                : r->tokenizer_why;
    } else if (json) {
        inspect_print_json(r);
    } else {
        inspect_print_text(r);
    }
    if (r->has_chat) {
        chat_template_finish(&r->chat);
    }
    tokenizer_destroy(tokenizer);
    return ok;
}

int cmd_inspect(const struct cmd_env *env, int argc, char **argv)
{
    uint32_t ctx = 0;
    bool json = false;
    const char *cache_type = NULL;
    struct inspect_report r = {0};
    const struct option_spec specs[] = {
        {OPTION_FLAG, "json", 0, NULL, NULL, &json, 0, 0, "print one JSON document", NULL},
        {OPTION_FLAG, "arrays", 0, NULL, NULL, &r.all_items, 0, 0,
         "print metadata arrays in full (default: the first\nitems; with --json type and count)",
         NULL},
        {OPTION_U32, "ctx", 'c', "ctx-size", "N", &ctx, 1, 1 << 24,
         "context in tokens to reckon memory for, no more than the\nmodel was made for (default: "
         "that, at "
         "most 8192)",
         NULL},
        OPTION_CACHE_TYPE(cache_type),
    };
    static const struct options_usage usage = {
        .command = "inspect",
        .synopsis = "[OPTION]... [MODEL]",
        .about = "Print what is in a GGUF file: metadata, tensors, sizes by type, tokenizer, chat\n"
                 "template, and the memory that a context needs. MODEL is a path or a name in the\n"
                 "model folder (default: the default model).",
        .epilog = "Control characters and bytes that are no UTF-8 are printed as \\n, \\xNN or "
                  "\\u{N}; in\n"
                  "JSON such bytes become U+FFFD.",
    };
    const char *model = NULL;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    char *path = NULL;
    if (!session_cache_type(cache_type, &r.memory.kv_type, &e) ||
        !cmd_find_model(env, model, &path, &e)) {
        return cmd_fail("inspect", &e);
    }
    struct gguf *g = gguf_open(path, &e);
    r.path = path;
    r.g = g;
    int exit_code = g != NULL && report(&r, ctx, json, &e) ? cmd_finish_output("inspect", 0)
                                                           : cmd_fail("inspect", &e);
    gguf_destroy(g);
    mem_free(path);
    return exit_code;
}
