/* inspect_json.c - the report of `puna inspect --json`. jansson writes strings and reals; the
 * document around them is printed while it is walked, because a tree of a large file's arrays would
 * take many times the file's size, and because jansson's integers stop at INT64_MAX. */
#include "base/buf.h"
#include "base/mem.h"
#include "cmd/inspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

enum { MAX_STRING_BYTES = 1 << 30 };

static bool dump(json_t *scalar, struct error *e)
{
    if (scalar == NULL) {
        return error_set(e, ERROR_MEMORY, "out of memory: a JSON value");
    }
    bool ok = json_dumpf(scalar, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) == 0;
    json_decref(scalar);
    return ok || error_set(e, ERROR_IO, "standard output cannot be written");
}

/* s with U+FFFD for every byte that is no UTF-8, appended to *out. */
static bool repair(struct str s, struct buf *out, struct error *e)
{
    while (s.n > 0) {
        uint32_t c;
        size_t length = str_decode_utf8(s, &c);
        bool ok = length > 0 ? buf_append(out, (struct str){s.p, length}, e)
                             : buf_append(out, STR("\xEF\xBF\xBD"), e);
        if (!ok) {
            return false;
        }
        s = str_skip(s, length > 0 ? length : 1);
    }
    return true;
}

static bool print_string(struct str s, struct error *e)
{
    json_t *scalar = json_stringn(s.n > 0 ? s.p : "", s.n);
    if (scalar != NULL) {
        return dump(scalar, e);
    }
    struct buf b;
    buf_init(&b, MAX_STRING_BYTES);
    bool ok = repair(s, &b, e) && dump(json_stringn(b.n > 0 ? b.data : "", b.n), e);
    buf_finish(&b);
    return ok;
}

static bool print_text(const char *text, struct error *e)
{
    return print_string(str_from(text), e);
}

/* JSON has no infinities: they are strings. */
static bool print_real(double f, struct error *e)
{
    if (isfinite(f)) {
        return dump(json_real(f), e);
    }
    return print_text(isnan(f) ? "NaN" : f > 0 ? "Infinity" : "-Infinity", e);
}

/* --- metadata */

static bool print_item(const struct gguf_value *v, uint64_t index, struct error *e)
{
    switch (v->array_type) {
    case GGUF_STRING:
        return print_string(gguf_array_str(v, index), e);
    case GGUF_F32:
    case GGUF_F64:
        return print_real(gguf_array_float(v, index), e);
    case GGUF_BOOL:
        fputs(gguf_array_int(v, index) != 0 ? "true" : "false", stdout);
        return true;
    case GGUF_U64:
        printf("%" PRIu64, (uint64_t)gguf_array_int(v, index));
        return true;
    default:
        printf("%" PRId64, gguf_array_int(v, index));
        return true;
    }
}

static bool print_array(const struct gguf_value *v, bool all_items, struct error *e)
{
    if (!all_items) {
        printf("{\"array_type\": \"%s\", \"count\": %" PRIu64 "}",
               gguf_value_type_name(v->array_type), v->n_items);
        return true;
    }
    putchar('[');
    for (uint64_t i = 0; i < v->n_items; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        if (!print_item(v, i, e)) {
            return false;
        }
    }
    putchar(']');
    return true;
}

static bool print_value(const struct gguf_value *v, bool all_items, struct error *e)
{
    switch (v->type) {
    case GGUF_STRING:
        return print_string(v->s, e);
    case GGUF_ARRAY:
        return print_array(v, all_items, e);
    case GGUF_BOOL:
        fputs(v->u != 0 ? "true" : "false", stdout);
        return true;
    case GGUF_F32:
    case GGUF_F64:
        return print_real(v->f, e);
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        printf("%" PRId64, v->i);
        return true;
    default:
        printf("%" PRIu64, v->u);
        return true;
    }
}

static bool print_metadata(const struct inspect_report *r, struct error *e)
{
    printf(" \"metadata\": {");
    for (size_t i = 0; i < gguf_n_values(r->g); i++) {
        const struct gguf_value *v = gguf_value_at(r->g, i);
        fputs(i > 0 ? ",\n  " : "\n  ", stdout);
        if (!print_string(v->key, e)) {
            return false;
        }
        printf(": ");
        if (!print_value(v, r->all_items, e)) {
            return false;
        }
    }
    printf("},\n");
    return true;
}

/* --- tensors */

static bool print_tensors(const struct inspect_report *r, struct error *e)
{
    printf(" \"tensors\": [");
    for (size_t i = 0; i < gguf_n_tensors(r->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(r->g, i);
        fputs(i > 0 ? ",\n  {\"name\": " : "\n  {\"name\": ", stdout);
        if (!print_string(t->name, e)) {
            return false;
        }
        printf(", \"type\": \"%s\", \"dims\": [", quant_type_name(t->type));
        for (uint32_t k = 0; k < t->n_dims; k++) {
            printf("%s%" PRIu64, k > 0 ? ", " : "", t->dims[k]);
        }
        printf("], \"bytes\": %" PRIu64 ", \"split\": %" PRIu32 ", \"offset\": %" PRIu64 "}",
               t->n_bytes, t->split, t->file_offset);
    }
    printf("],\n");
    return true;
}

static void print_types(const struct inspect_report *r)
{
    const char *separator = "\n  ";
    printf(" \"types\": {");
    for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
        const struct inspect_type_sum *sum = &r->types[type];
        if (sum->n_tensors > 0) {
            printf("%s\"%s\": {\"tensors\": %" PRIu64 ", \"items\": %" PRIu64
                   ", \"bytes\": %" PRIu64 "}",
                   separator, quant_type_name(type), sum->n_tensors, sum->n_items, sum->n_bytes);
            separator = ",\n  ";
        }
    }
    printf("},\n");
}

/* --- tokenizer, memory */

static bool print_tokenizer(const struct inspect_report *r, struct error *e)
{
    printf(" \"tokenizer\": ");
    if (r->tokenizer == NULL && r->tokenizer_why.code == ERROR_NONE) {
        printf("null,\n");
        return true;
    }
    if (r->tokenizer == NULL) {
        printf("{\"error\": ");
        bool ok = print_text(r->tokenizer_why.text, e);
        printf("},\n");
        return ok;
    }
    const struct token_info *info = tokenizer_info(r->tokenizer);
    struct inspect_role roles[INSPECT_N_ROLES];
    inspect_roles(info, roles);
    printf("{\"model\": \"%s\", \"pre\": ", info->model == TOKEN_MODEL_BPE ? "bpe" : "spm");
    if (!print_text(info->pre, e)) {
        return false;
    }
    printf(", \"n_tokens\": %" PRIu32
           ", \"add_bos\": %s, \"add_eos\": %s, \"add_space_prefix\": %s",
           info->n_tokens, info->add_bos ? "true" : "false", info->add_eos ? "true" : "false",
           info->add_space_prefix ? "true" : "false");
    for (size_t i = 0; i < INSPECT_N_ROLES; i++) {
        printf(",\n  \"%s\": ", roles[i].name);
        if (roles[i].id == TOKEN_NONE) {
            printf("null");
            continue;
        }
        printf("{\"id\": %" PRIu32 ", \"text\": ", roles[i].id);
        if (!print_string(tokenizer_text(r->tokenizer, roles[i].id), e)) {
            return false;
        }
        putchar('}');
    }
    printf("},\n");
    return true;
}

static bool print_memory(const struct inspect_memory *m, struct error *e)
{
    printf(" \"memory\": ");
    if (!m->is_known) {
        printf("{\"weights_bytes\": %" PRIu64 ", \"error\": ", m->weight_bytes);
        bool ok = print_text(m->why.text, e);
        putchar('}');
        return ok;
    }
    printf("{\"ctx\": %" PRIu32 ", \"weights_bytes\": %" PRIu64 ", \"kv_type\": \"f16\", "
           "\"kv_bytes\": %" PRIu64 ", \"total_bytes\": %" PRIu64 "}",
           m->n_ctx, m->weight_bytes, m->kv_bytes, m->total_bytes);
    return true;
}

bool inspect_print_json(const struct inspect_report *r, struct error *e)
{
    printf("{\"file\": ");
    if (!print_text(r->path, e)) {
        return false;
    }
    printf(", \"version\": %" PRIu32 ", \"splits\": %" PRIu32 ", \"bytes\": %" PRIu64 ",\n",
           gguf_version(r->g), gguf_n_splits(r->g), gguf_file_bytes(r->g));
    if (!print_metadata(r, e) || !print_tensors(r, e)) {
        return false;
    }
    print_types(r);
    if (!print_tokenizer(r, e) || !print_memory(&r->memory, e)) {
        return false;
    }
    printf("}\n");
    return true;
}
