/* api_plain.c - parameters of what generates nothing: embeddings, tokenize, detokenize, keys. */
#include "serve/api_parameter.h"
#include "serve/http_cors.h"

/* --- embeddings */

static bool read_input(struct api_reader *r, const json_t *v)
{
    struct api_embedding *q = &r->request->embedding;
    if (!api_read_prompts(r, v, API_MAX_INPUTS, &q->inputs, &q->n_inputs)) {
        return false;
    }
    for (size_t i = 0; i < q->n_inputs; i++) {
        if (!q->inputs[i].is_ids && q->inputs[i].text.n == 0) {
            if (json_is_array(v)) {
                api_enter_index(r, i);
            }
            return api_fail(r, API_ERROR_INVALID_VALUE, "is empty");
        }
    }
    return true;
}

static bool read_encoding(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"float", "base64", NULL};
    size_t i = 0;
    if (!api_read_choice(r, v, names, &i)) {
        return false;
    }
    r->request->embedding.base64 = i == 1;
    return true;
}

static bool read_pooling(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"mean", "last", NULL};
    size_t i = 0;
    if (!api_read_choice(r, v, names, &i)) {
        return false;
    }
    r->request->embedding.pooling = i == 0 ? API_POOLING_MEAN : API_POOLING_LAST;
    return true;
}

static bool read_dimensions(struct api_reader *r, const json_t *v)
{
    int64_t n = 0;
    uint32_t n_embd = r->options->n_embd;
    if (!api_read_int(r, v, 1, INT32_MAX, &n)) {
        return false;
    }
    return n_embd == 0 || n == n_embd ||
           api_fail(r, API_ERROR_UNSUPPORTED_VALUE, "is %lld, the model's embeddings have %u",
                    (long long)n, n_embd);
}

static const struct api_parameter embedding_items[] = {
    {"input", API_KIND_CUSTOM, 0, 0, 0, read_input},
    {"encoding_format", API_KIND_CUSTOM, 0, 0, 0, read_encoding},
    {"dimensions", API_KIND_CUSTOM, 0, 0, 0, read_dimensions},
    {"pooling", API_KIND_CUSTOM, 0, 0, 0, read_pooling},
    {"user", API_KIND_CUSTOM, 0, 0, 0, api_read_user},
    {"strict", API_KIND_BOOL, API_FIELD(strict), 0, 0, NULL},
};
const struct api_table api_embedding_table = API_TABLE(embedding_items);

/* --- tokenize and detokenize */

/* llama-server takes a text, or an array of texts and ids in any order. */
static bool read_mixed_content(struct api_reader *r, const json_t *v)
{
    struct api_tokenize *q = &r->request->tokenize;
    bool is_text = json_is_string(v);
    if (!is_text && !json_is_array(v)) {
        return api_fail(r, API_ERROR_INVALID_TYPE,
                        "is neither a string nor an array of strings and token ids");
    }
    size_t n = is_text ? 1 : json_array_size(v);
    struct api_prompt *pieces = api_alloc(r, n, sizeof *pieces);
    if (pieces == NULL || (is_text && !api_read_text(r, v, SIZE_MAX, &pieces[0].text))) {
        return false;
    }
    for (size_t i = 0; i < n && !is_text; i++) {
        const json_t *item = json_array_get(v, i);
        struct api_prompt *p = &pieces[i];
        size_t before = api_enter_index(r, i);
        p->is_ids = json_is_number(item);
        uint32_t *id = p->is_ids ? api_alloc(r, 1, sizeof *id) : NULL;
        if (p->is_ids ? id == NULL || !api_read_id(r, item, id)
                      : !api_read_text(r, item, SIZE_MAX, &p->text)) {
            return false;
        }
        p->ids = id;
        p->n_ids = p->is_ids;
        api_leave(r, before);
    }
    q->pieces = pieces;
    q->n_pieces = n;
    return true;
}

static const struct api_parameter tokenize_items[] = {
    {"content", API_KIND_CUSTOM, 0, 0, 0, read_mixed_content},
    {"add_special", API_KIND_BOOL, API_FIELD(tokenize.add_special), 0, 0, NULL},
    {"parse_special", API_KIND_BOOL, API_FIELD(tokenize.parse_special), 0, 0, NULL},
    {"with_pieces", API_KIND_BOOL, API_FIELD(tokenize.with_pieces), 0, 0, NULL},
};
const struct api_table api_tokenize_table = API_TABLE(tokenize_items);

static bool read_tokens(struct api_reader *r, const json_t *v)
{
    return api_read_ids(r, v, 0, &r->request->detokenize.ids, &r->request->detokenize.n_ids);
}

static const struct api_parameter detokenize_items[] = {
    {"tokens", API_KIND_CUSTOM, 0, 0, 0, read_tokens},
};
const struct api_table api_detokenize_table = API_TABLE(detokenize_items);

/* --- ephemeral keys */

static bool read_origin(struct api_reader *r, const json_t *v)
{
    struct str *origin = &r->request->ephemeral_key.origin;
    return api_read_text(r, v, API_MAX_ORIGIN_CHARS, origin) &&
           (http_cors_is_origin(*origin) ||
            api_fail(r, API_ERROR_INVALID_VALUE,
                     "is not like https://app.example or http://localhost:3000"));
}

/* As OpenAI has it: {"anchor": "created_at", "seconds": 600}. */
static bool read_expiry(struct api_reader *r, const json_t *v)
{
    static const char *const keys[] = {"anchor", "seconds", NULL};
    static const char *const anchors[] = {"created_at", NULL};
    int64_t seconds = API_MAX_KEY_SECONDS;
    size_t i;
    if (!api_check_keys(r, v, keys)) {
        return false;
    }
    const json_t *anchor = api_member(v, keys[0]), *number = api_member(v, keys[1]);
    size_t before = api_enter_key(r, keys[0]);
    if (anchor != NULL && !api_read_choice(r, anchor, anchors, &i)) {
        return false;
    }
    api_leave(r, before);
    api_enter_key(r, keys[1]);
    if (number != NULL && !api_read_int(r, number, 1, API_MAX_KEY_SECONDS, &seconds)) {
        return false;
    }
    api_leave(r, before);
    r->request->ephemeral_key.seconds = (uint32_t)seconds;
    return true;
}

static const struct api_parameter ephemeral_key_items[] = {
    {"origin", API_KIND_CUSTOM, 0, 0, 0, read_origin},
    {"max_tokens", API_KIND_UINT32, API_FIELD(ephemeral_key.max_tokens), 1, INT32_MAX, NULL},
    {"budget_tokens", API_KIND_UINT32, API_FIELD(ephemeral_key.budget_tokens), 1, INT32_MAX, NULL},
    {"expires_after", API_KIND_CUSTOM, 0, 0, 0, read_expiry},
};
const struct api_table api_ephemeral_key_table = API_TABLE(ephemeral_key_items);
