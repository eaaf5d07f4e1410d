/* inspect_text.c - the report of `puna inspect` for people. */
#include "cmd/inspect.h"
#include "cmd/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SHOWN_ITEMS = 6,          /* of an array */
    SHOWN_STRING = 60,        /* code points of a string */
    SHOWN_TEMPLATE_LINES = 8, /* of the chat template */
    SHOWN_TEMPLATE_LINE = 96, /* code points of each */
    MIN_NAME_WIDTH = 16,
    MAX_NAME_WIDTH = 48
};

/* 98362432 as "98,362,432". */
static void print_grouped(uint64_t n, int width)
{
    char text[32];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    for (int n_digits = 0; n > 0 || n_digits == 0; n /= 10) {
        if (n_digits > 0 && n_digits % 3 == 0) {
            text[--at] = ',';
        }
        text[--at] = (char)('0' + n % 10);
        n_digits++;
    }
    printf("%*s", width, text + at);
}

static void print_bytes(uint64_t n, int width)
{
    print_grouped(n, width);
    printf(" bytes");
    if (n >= 1 << 20) {
        bool is_large = n >= 1 << 30;
        printf(" (%.2f %s)", (double)n / (is_large ? 0x1p30 : 0x1p20), is_large ? "GiB" : "MiB");
    }
}

/* --- metadata */

/* The shortest decimal that reads back as the same number. */
static void print_float(double f, bool is_f32)
{
    char text[40];
    for (int digits = is_f32 ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        if (is_f32 ? strtof(text, NULL) == (float)f : strtod(text, NULL) == f) {
            break;
        }
    }
    fputs(text, stdout);
}

static void print_item(const struct gguf_value *v, uint64_t index, size_t max)
{
    switch (v->array_type) {
    case GGUF_STRING:
        print_quoted(stdout, gguf_array_str(v, index), max);
        break;
    case GGUF_F32:
    case GGUF_F64:
        print_float(gguf_array_float(v, index), v->array_type == GGUF_F32);
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
    uint64_t n_shown = all_items || v->n_items < SHOWN_ITEMS ? v->n_items : SHOWN_ITEMS;
    putchar('[');
    for (uint64_t i = 0; i < n_shown; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        print_item(v, i, all_items ? SIZE_MAX : SHOWN_STRING / 3);
    }
    fputs(n_shown < v->n_items ? ", ...]" : "]", stdout);
}

static void print_value(const struct gguf_value *v, bool all_items)
{
    switch (v->type) {
    case GGUF_STRING:
        print_quoted(stdout, v->s, SHOWN_STRING);
        break;
    case GGUF_ARRAY:
        print_array(v, all_items);
        break;
    case GGUF_BOOL:
        fputs(v->u != 0 ? "true" : "false", stdout);
        break;
    case GGUF_F32:
    case GGUF_F64:
        print_float(v->f, v->type == GGUF_F32);
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

static int fit_width(int width, size_t n)
{
    return n > (size_t)width ? (n < MAX_NAME_WIDTH ? (int)n : MAX_NAME_WIDTH) : width;
}

static void print_metadata(const struct inspect_report *r)
{
    size_t n = gguf_n_values(r->g);
    int width = MIN_NAME_WIDTH;
    for (size_t i = 0; i < n; i++) {
        width = fit_width(width, gguf_value_at(r->g, i)->key.n);
    }
    printf("\nMetadata: %zu keys\n", n);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_value *v = gguf_value_at(r->g, i);
        char type[48];
        if (v->type == GGUF_ARRAY) {
            snprintf(type, sizeof type, "%s[%" PRIu64 "]", gguf_value_type_name(v->array_type),
                     v->n_items);
        } else {
            snprintf(type, sizeof type, "%s", gguf_value_type_name(v->type));
        }
        printf("  %-*.*s  %-14s ", width, STR_ARG(v->key), type);
        print_value(v, r->all_items);
        putchar('\n');
    }
}

/* --- tensors */

static void print_types(const struct inspect_report *r)
{
    if (gguf_n_tensors(r->g) == 0) {
        printf("\nTensors: none (a vocabulary alone)\n");
        return;
    }
    printf("\nSizes by type\n");
    for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
        const struct inspect_type_sum *sum = &r->types[type];
        if (sum->n_tensors > 0) {
            printf("  %-7s%6" PRIu64 " tensors ", quant_type_name(type), sum->n_tensors);
            print_grouped(sum->n_items, 18);
            printf(" items ");
            print_grouped(sum->n_bytes, 18);
            printf(" bytes %5.1f %%\n", 100.0 * (double)sum->n_bytes / (double)r->tensor_bytes);
        }
    }
}

static void print_tensors(const struct inspect_report *r)
{
    size_t n = gguf_n_tensors(r->g);
    if (n == 0) {
        return;
    }
    int width = MIN_NAME_WIDTH;
    for (size_t i = 0; i < n; i++) {
        width = fit_width(width, gguf_tensor_at(r->g, i)->name.n);
    }
    printf("\nTensors: %zu (columns x rows)\n", n);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(r->g, i);
        char dims[4 * 24];
        int at = 0;
        for (uint32_t k = 0; k < t->n_dims; k++) {
            at += snprintf(dims + at, sizeof dims - (size_t)at, "%s%" PRIu64, k > 0 ? " x " : "",
                           t->dims[k]);
        }
        printf("  %-*.*s  %-7s %-20s", width, STR_ARG(t->name), quant_type_name(t->type), dims);
        print_grouped(t->n_bytes, 15);
        printf(" bytes\n");
    }
}

/* --- tokenizer, template, memory */

static void print_tokenizer(const struct inspect_report *r)
{
    printf("\nTokenizer\n");
    if (r->tokenizer == NULL) {
        printf("  %s", r->tokenizer_why.code == ERROR_NONE ? "none" : "cannot be used: ");
        print_escaped(stdout, str_from(r->tokenizer_why.text), SIZE_MAX);
        putchar('\n');
        return;
    }
    const struct token_info *info = tokenizer_info(r->tokenizer);
    struct inspect_role roles[INSPECT_N_ROLES];
    inspect_roles(info, roles);
    bool is_bpe = info->model == TOKEN_MODEL_BPE;
    printf("  %s%s%s, %" PRIu32 " tokens\n", is_bpe ? "byte-level BPE" : "SPM",
           is_bpe ? ", pre-tokenizer " : "", is_bpe ? info->pre : "", info->n_tokens);
    printf("  text begins with BOS: %s, ends with EOS: %s%s\n", info->add_bos ? "yes" : "no",
           info->add_eos ? "yes" : "no", info->add_space_prefix ? ", gets a space prefix" : "");
    for (size_t i = 0; i < INSPECT_N_ROLES; i++) {
        if (roles[i].id != TOKEN_NONE) {
            printf("  %-8s%8" PRIu32 "  ", roles[i].name, roles[i].id);
            print_quoted(stdout, tokenizer_text(r->tokenizer, roles[i].id), SHOWN_STRING);
            putchar('\n');
        }
    }
}

static void print_template_text(struct str text)
{
    for (int i = 0; i < SHOWN_TEMPLATE_LINES && text.n > 0; i++) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.n;
        printf("  ");
        print_escaped(stdout, (struct str){text.p, n}, SHOWN_TEMPLATE_LINE);
        putchar('\n');
        text = str_skip(text, end != NULL ? n + 1 : n);
    }
    if (text.n > 0) {
        printf("  ... and %zu bytes more\n", text.n);
    }
}

/* "system, user, assistant, tool as ipython": what a template calls a role, where that is another
 * name. */
static void print_chat_roles(const struct chat_roles *roles)
{
    const char *separator = "";
    printf("  %-24s", "roles");
    for (int i = 0; i < CHAT_ROLE_COUNT; i++) {
        const char *role = chat_role_name((enum chat_role)i), *name = roles->names[i];
        if (roles->writes[i]) {
            bool is_other = name != NULL && strcmp(name, role) != 0;
            printf("%s%s%s%s", separator, role, is_other ? " as " : "", is_other ? name : "");
            separator = ", ";
        }
    }
    printf("\n  %-24s%s\n", "user and assistant",
           roles->take_turns ? "must take turns" : "in any order");
}

/* The file's own, if it has one, and what a chat is written with. */
static void print_template(const struct inspect_report *r)
{
    struct str text;
    printf("\nChat template\n");
    if (gguf_find(r->g, "tokenizer.chat_template") == NULL) {
        printf("  none in the file\n");
    } else if (!gguf_get_str(r->g, "tokenizer.chat_template", true, &text, NULL)) {
        printf("  of the wrong type\n");
    } else {
        print_template_text(text);
    }
    if (!r->has_chat && r->chat_why.code != ERROR_NONE) {
        printf("  cannot be used: ");
        print_escaped(stdout, str_from(r->chat_why.text), SIZE_MAX);
        putchar('\n');
    }
    if (!r->has_chat) {
        return;
    }
    if (r->chat.name != NULL) {
        printf("  chats are written as %s, which is built in\n", r->chat.name);
    }
    print_chat_roles(&r->chat.roles);
    struct inspect_supported supported[INSPECT_N_SUPPORTED];
    inspect_support(&r->chat, supported);
    for (size_t i = 0; i < INSPECT_N_SUPPORTED; i++) {
        printf("  %-24s%s\n", supported[i].text,
               supported[i].is_so ? "written" : supported[i].otherwise);
    }
    printf("  %-24s%s\n", "calls are expected as", tool_format_name(r->chat.tool_format));
}

static void print_memory(const struct inspect_memory *m)
{
    printf("\nMemory\n");
    if (!m->is_known) {
        printf("  not known: ");
        print_escaped(stdout, str_from(m->why.text), SIZE_MAX);
        putchar('\n');
        return;
    }
    printf("  weights   ");
    print_bytes(m->weight_bytes, 16);
    printf(": packed, as large as in the file\n");
    if (m->tied_bytes > 0) {
        printf("  embedding ");
        print_bytes(m->tied_bytes, 16);
        printf(": in the file's pages too, for the output is a packed copy\n");
    }
    printf("  KV cache  ");
    print_bytes(m->kv_bytes, 16);
    printf(": %s, %" PRIu64 " tokens x %" PRIu64 " KV heads (%" PRIu32 " layers) x ((%" PRIu32
           " + %" PRIu32 ") x %zu%s) bytes\n  together  ",
           kv_type_name(m->kv_type), m->n_kv_tokens, m->n_kv_heads, m->n_layers, m->key_length,
           m->value_length, kern_kv_item_bytes(m->kv_type),
           kern_kv_has_scales(m->kv_type) ? " + 8" : "");
    print_bytes(m->total_bytes, 16);
    printf(", activations and tokenizer apart\n");
}

void inspect_print_text(const struct inspect_report *r)
{
    uint32_t n_splits = gguf_n_splits(r->g);
    printf("File: ");
    print_escaped(stdout, str_from(r->path), SIZE_MAX);
    printf("\nFormat: GGUF version %" PRIu32 ", %" PRIu32 " file%s, ", gguf_version(r->g), n_splits,
           n_splits > 1 ? "s" : "");
    print_bytes(gguf_file_bytes(r->g), 0);
    putchar('\n');
    print_metadata(r);
    print_types(r);
    print_tensors(r);
    print_tokenizer(r);
    print_template(r);
    print_memory(&r->memory);
}
