/* fuzz_gguf.c - the GGUF reader on any bytes: opens them and touches everything it hands out. */
#include "format/gguf.h"
#include "quant/quant.h"

#include "require.h"

static volatile uint64_t sink; /* keeps the reads */

static void touch(const void *p, size_t n)
{
    const uint8_t *bytes = p;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += bytes[i];
    }
    sink += sum;
}

static void touch_array(const struct gguf_value *v)
{
    for (uint64_t i = 0; i < v->n_items; i++) {
        if (v->array_type == GGUF_STRING) {
            struct str s = gguf_array_str(v, i);
            touch(s.p, s.n);
        } else if (v->array_type == GGUF_F32 || v->array_type == GGUF_F64) {
            sink += gguf_array_float(v, i) > 0;
        } else {
            sink += (uint64_t)gguf_array_int(v, i);
        }
    }
}

/* Names are printable, so without NUL: a C string finds them. */
static void name_to_text(struct str name, char text[GGUF_MAX_NAME_BYTES + 1])
{
    require(name.n > 0 && name.n <= GGUF_MAX_NAME_BYTES);
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
}

static void touch_value(const struct gguf *g, const struct gguf_value *v)
{
    char key[GGUF_MAX_NAME_BYTES + 1];
    name_to_text(v->key, key);
    require(gguf_find(g, key) == v);
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    struct str s = {0};
    sink += gguf_get_u32(g, key, true, &u, NULL) + gguf_get_f32(g, key, true, &f, NULL) +
            gguf_get_bool(g, key, true, &b, NULL);
    if (gguf_get_str(g, key, true, &s, NULL)) {
        touch(s.p, s.n);
    }
    if (v->type == GGUF_ARRAY) {
        touch_array(v);
    }
}

static void touch_tensor(const struct gguf *g, const struct gguf_tensor *t, size_t n_bytes)
{
    char name[GGUF_MAX_NAME_BYTES + 1];
    name_to_text(t->name, name);
    require(gguf_find_tensor(g, name) == t);
    require(quant_type_info(t->type) != NULL);
    require(t->n_bytes > 0 && t->n_bytes <= n_bytes && t->file_offset <= n_bytes - t->n_bytes);
    require(t->dims[0] % quant_type_info(t->type)->block_items == 0);
    touch(t->data, t->n_bytes);
    gguf_release_tensor(g, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct error e = {0};
    struct gguf *g = gguf_parse(data, n_bytes, &e);
    if (g == NULL) {
        require(e.code != ERROR_NONE && e.text[0] != '\0');
        for (const char *p = e.text; *p != '\0'; p++) {
            require((unsigned char)*p >= 0x20 && *p != 0x7F);
        }
        return 0;
    }
    uint64_t tensor_bytes = 0;
    for (size_t i = 0; i < gguf_n_values(g); i++) {
        touch_value(g, gguf_value_at(g, i));
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        touch_tensor(g, gguf_tensor_at(g, i), n_bytes);
        tensor_bytes += gguf_tensor_at(g, i)->n_bytes;
    }
    require(tensor_bytes <= n_bytes); /* no byte belongs to two tensors */
    gguf_destroy(g);
    return 0;
}
