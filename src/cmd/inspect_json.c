/* inspect_json.c - the report of `puna inspect --json`. The document is printed while it is walked:
 * a tree of a large file's arrays would take many times the file's size, and jansson's integers
 * stop at INT64_MAX. */
#include "cmd/inspect.h"
#include "cmd/print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* JSON has no infinities: they are strings. */
static void print_real(double f)
{
    if (!isfinite(f)) {
        fputs(isnan(f) ? "\"NaN\"" : f > 0 ? "\"Infinity\"" : "\"-Infinity\"", stdout);
        return;
    }
    char text[40];
    snprintf(text, sizeof text, "%.17g", f);
    fputs(text, stdout);
    if (strpbrk(text, ".e") == NULL) {
        fputs(".0", stdout); /* a real number stays one */
    }
}

/* --- metadata */

static void print_item(const struct gguf_value *v, uint64_t index)
{
    switch (v->array_type) {
    case GGUF_STRING:
        print_json_text(stdout, gguf_array_str(v, index));
        break;
    case GGUF_F32:
    case GGUF_F64:
        print_real(gguf_array_float(v, index));
        break;
    case GGUF_BOOL:
        fputs(gguf_array_int(v, index) != 0 ? "true" : "false", stdout);
        break;
    case GGUF_U64:
        printf("%" PRIu64, (uint64_t)gguf_array_int(v, index));
        break;
    default:
        printf("%" PRId64, gguf_array_int(v, index));
        break;
    }
}

static void print_array(const struct gguf_value *v, bool all_items)
{
    if (!all_items) {
        printf("{\"array_type\": \"%s\", \"count\": %" PRIu64 "}",
               gguf_value_type_name(v->array_type), v->n_items);
        return;
    }
    putchar('[');
    for (uint64_t i = 0; i < v->n_items; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        print_item(v, i);
    }
    putchar(']');
}

static void print_value(const struct gguf_value *v, bool all_items)
{
    switch (v->type) {
    case GGUF_STRING:
        print_json_text(stdout, v->s);
        break;
    case GGUF_ARRAY:
        print_array(v, all_items);
        break;
    case GGUF_BOOL:
        fputs(v->u != 0 ? "true" : "false", stdout);
        break;
    case GGUF_F32:
    case GGUF_F64:
        print_real(v->f);
        break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        printf("%" PRId64, v->i);
        break;
    default:
        printf("%" PRIu64, v->u);
        break;
    }
}

static void print_metadata(const struct inspect_report *r)
{
    printf(" \"metadata\": {");
    for (size_t i = 0; i < gguf_n_values(r->g); i++) {
        const struct gguf_value *v = gguf_value_at(r->g, i);
        fputs(i > 0 ? ",\n  " : "\n  ", stdout);
        print_json_text(stdout, v->key);
        printf(": ");
        print_value(v, r->all_items);
    }
    printf("},\n");
}

/* --- tensors */

static void print_tensors(const struct inspect_report *r)
{
    printf(" \"tensors\": [");
    for (size_t i = 0; i < gguf_n_tensors(r->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(r->g, i);
        fputs(i > 0 ? ",\n  {\"name\": " : "\n  {\"name\": ", stdout);
        print_json_text(stdout, t->name);
        printf(", \"type\": \"%s\", \"dims\": [", quant_type_name(t->type));
        for (uint32_t k = 0; k < t->n_dims; k++) {
            printf("%s%" PRIu64, k > 0 ? ", " : "", t->dims[k]);
        }
        printf("], \"bytes\": %" PRIu64 ", \"split\": %" PRIu32 ", \"offset\": %" PRIu64 "}",
               t->n_bytes, t->split, t->file_offset);
    }
    printf("],\n");
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

/* --- tokenizer, template, memory */

static void print_tokenizer(const struct inspect_report *r)
{
    printf(" \"tokenizer\": ");
    if (r->tokenizer == NULL && r->tokenizer_why.code == ERROR_NONE) {
        printf("null,\n");
        return;
    }
    if (r->tokenizer == NULL) {
        printf("{\"error\": ");
        print_json_text(stdout, str_from(r->tokenizer_why.text));
        printf("},\n");
        return;
    }
    const struct token_info *info = tokenizer_info(r->tokenizer);
    struct inspect_role roles[INSPECT_N_ROLES];
    inspect_roles(info, roles);
    printf("{\"model\": \"%s\", \"pre\": ", info->model == TOKEN_MODEL_BPE ? "bpe" : "spm");
    print_json_text(stdout, str_from(info->pre));
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
        print_json_text(stdout, tokenizer_text(r->tokenizer, roles[i].id));
        putchar('}');
    }
    printf("},\n");
}

/* Role by role what the template calls it, null where that is no name. */
static void print_chat_roles(const struct chat_roles *roles)
{
    const char *separator = "";
    printf(", \"roles\": {");
    for (int i = 0; i < CHAT_ROLE_COUNT; i++) {
        const char *quote = roles->names[i] != NULL ? "\"" : "";
        if (roles->writes[i]) {
            printf("%s\"%s\": %s%s%s", separator, chat_role_name((enum chat_role)i), quote,
                   roles->names[i] != NULL ? roles->names[i] : "null", quote);
            separator = ", ";
        }
    }
    printf("}, \"take_turns\": %s", roles->take_turns ? "true" : "false");
}

static void print_template(const struct inspect_report *r)
{
    printf(" \"chat_template\": ");
    if (!r->has_chat && r->chat_why.code == ERROR_NONE) {
        printf("null,\n");
        return;
    }
    if (!r->has_chat) {
        printf("{\"error\": ");
        print_json_text(stdout, str_from(r->chat_why.text));
        printf("},\n");
        return;
    }
    struct inspect_supported supported[INSPECT_N_SUPPORTED];
    inspect_support(&r->chat, supported);
    printf("{\"built_in\": ");
    if (r->chat.name != NULL) {
        print_json_text(stdout, str_from(r->chat.name));
    } else {
        printf("null");
    }
    print_chat_roles(&r->chat.roles);
    for (size_t i = 0; i < INSPECT_N_SUPPORTED; i++) {
        printf(", \"%s\": %s", supported[i].key, supported[i].is_so ? "true" : "false");
    }
    printf(", \"tool_format\": \"%s\"},\n", tool_format_name(r->chat.tool_format));
}

static void print_memory(const struct inspect_memory *m)
{
    printf(" \"memory\": ");
    if (!m->is_known) {
        printf("{\"weights_bytes\": %" PRIu64 ", \"error\": ", m->weight_bytes);
        print_json_text(stdout, str_from(m->why.text));
        putchar('}');
        return;
    }
    printf("{\"ctx\": %" PRIu32 ", \"weights_bytes\": %" PRIu64
           ", \"tied_embedding_bytes\": %" PRIu64 ", \"kv_type\": \"%s\", \"kv_bytes\": %" PRIu64
           ", \"total_bytes\": %" PRIu64 "}",
           m->n_ctx, m->weight_bytes, m->tied_bytes, kv_type_name(m->kv_type), m->kv_bytes,
           m->total_bytes);
}

void inspect_print_json(const struct inspect_report *r)
{
    printf("{\"file\": ");
    print_json_text(stdout, str_from(r->path));
    printf(", \"version\": %" PRIu32 ", \"splits\": %" PRIu32 ", \"bytes\": %" PRIu64 ",\n",
           gguf_version(r->g), gguf_n_splits(r->g), gguf_file_bytes(r->g));
    print_metadata(r);
    print_tensors(r);
    print_types(r);
    print_tokenizer(r);
    print_template(r);
    print_memory(&r->memory);
    printf("}\n");
}
