/* api_listing.c - answers that are lists: models, embeddings, token ids. */
#include "base/half.h"
#include "serve/api_answer_internal.h"

/* --- embeddings */

bool api_embeddings_begin(struct buf *out, struct error *e)
{
    return buf_append(out, STR("{\"object\":\"list\",\"data\":["), e);
}

static void write_number_list(struct api_writer *w, const float *vector, size_t n)
{
    api_write_raw(w, "[");
    for (size_t i = 0; i < n; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        api_write_float(w, vector[i]);
    }
    api_write_raw(w, "]");
}

/* float32, little-endian on any machine; three values are four whole groups of base64. */
static void write_base64_floats(struct api_writer *w, const float *vector, size_t n)
{
    enum { AT_ONCE = 3 };
    api_write_raw(w, "\"");
    for (size_t i = 0; i < n; i += AT_ONCE) {
        uint8_t bytes[4 * AT_ONCE];
        size_t n_here = n - i < AT_ONCE ? n - i : AT_ONCE;
        for (size_t k = 0; k < 4 * n_here; k++) {
            bytes[k] = (uint8_t)(half_to_bits(vector[i + k / 4]) >> 8 * (k % 4));
        }
        api_write_base64(w, bytes, 4 * n_here);
    }
    api_write_raw(w, "\"");
}

bool api_embeddings_add(uint32_t index, const float *vector, size_t n, bool base64, struct buf *out,
                        struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, index > 0 ? "," : "");
    api_write_raw(&w, "{\"object\":\"embedding\",\"index\":");
    api_write_int(&w, index);
    api_write_raw(&w, ",\"embedding\":");
    if (base64) {
        write_base64_floats(&w, vector, n);
    } else {
        write_number_list(&w, vector, n);
    }
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

bool api_embeddings_end(const struct api_head *h, uint64_t prompt_tokens, struct buf *out,
                        struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, "],\"model\":");
    api_write_text(&w, h->model);
    api_write_raw(&w, ",\"usage\":{\"prompt_tokens\":");
    api_write_int(&w, (int64_t)prompt_tokens);
    api_write_raw(&w, ",\"total_tokens\":");
    api_write_int(&w, (int64_t)prompt_tokens);
    api_write_raw(&w, "}");
    api_write_reports(&w, h);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

/* --- models */

static void write_model(struct api_writer *w, const struct api_model *m)
{
    api_write_raw(w, "{\"id\":");
    api_write_text(w, m->id);
    api_write_raw(w, ",\"object\":\"model\",\"created\":");
    api_write_int(w, m->created_s);
    api_write_raw(w, ",\"owned_by\":");
    api_write_text(w, m->owned_by);
    api_write_raw(w, "}");
}

bool api_model_print(const struct api_model *m, struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    write_model(&w, m);
    return api_writer_end(&w);
}

bool api_models_print(const struct api_model *models, size_t n, struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        api_write_raw(&w, i > 0 ? "," : "");
        write_model(&w, &models[i]);
    }
    api_write_raw(&w, "]}");
    return api_writer_end(&w);
}

/* --- tokenize, detokenize, apply-template */

static void write_ids(struct api_writer *w, const uint32_t *ids, size_t n)
{
    api_write_raw(w, "[");
    for (size_t i = 0; i < n; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        api_write_int(w, ids[i]);
    }
    api_write_raw(w, "]");
}

static void write_piece(struct api_writer *w, uint32_t id, struct str bytes)
{
    api_write_raw(w, "{\"id\":");
    api_write_int(w, id);
    api_write_raw(w, ",\"piece\":");
    if (str_is_utf8(bytes)) {
        api_write_text(w, bytes);
    } else {
        api_write_byte_list(w, bytes);
    }
    api_write_raw(w, "}");
}

bool api_tokenize_print(const struct api_head *h, const struct tokenizer *t, const uint32_t *ids,
                        size_t n, struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, "{\"tokens\":");
    if (t != NULL) {
        for (size_t i = 0; i < n; i++) {
            api_write_raw(&w, i > 0 ? "," : "[");
            write_piece(&w, ids[i], tokenizer_piece(t, ids[i], true));
        }
        api_write_raw(&w, n > 0 ? "]" : "[]");
    } else {
        write_ids(&w, ids, n);
    }
    api_write_reports(&w, h);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

bool api_detokenize_print(struct str text, struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, "{\"content\":");
    api_write_text(&w, text);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}

bool api_apply_template_print(const struct api_head *h, struct str prompt, const uint32_t *ids,
                              size_t n, struct buf *out, struct error *e)
{
    struct api_writer w;
    api_writer_init(&w, out, e);
    api_write_raw(&w, "{\"prompt\":");
    api_write_text(&w, prompt);
    api_write_raw(&w, ",\"tokens\":");
    write_ids(&w, ids, n);
    api_write_reports(&w, h);
    api_write_raw(&w, "}");
    return api_writer_end(&w);
}
