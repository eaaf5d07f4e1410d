/* api_format.c - what the text of an answer must be: OpenAI's response_format, and the names that
 * vLLM and llama-server have for the same and more. Whether it can be enforced is found out when
 * the request is worked on (service_constrain.c). */
#include "serve/api_json.h"
#include "serve/api_parameter.h"

enum { MAX_CHOICES = 10000, MAX_GRAMMAR_BYTES = 1 << 20 };

/* The request's format, to be filled in; NULL with an error when there is one already. The path is
 * the parameter's. */
static struct api_format *new_format(struct api_reader *r, enum api_format_kind kind)
{
    struct api_format *f = &r->request->generation.format;
    struct str param = {0};
    if (f->kind != API_FORMAT_TEXT) {
        api_fail(r, API_ERROR_INVALID_VALUE, "is given beside %s: an answer has one format",
                 f->param);
        return NULL;
    }
    if (!api_copy_text(r, (struct str){r->path, strlen(r->path) + 1}, &param)) {
        return NULL;
    }
    *f = (struct api_format){.kind = kind, .param = param.p}; /* with its NUL */
    return f;
}

/* --- schemas */

static bool keep_schema(struct api_reader *r, const json_t *v)
{
    struct api_format *f = new_format(r, API_FORMAT_SCHEMA);
    json_t *boxed = f != NULL ? json_pack("[O]", v) : NULL; /* a schema may be true or false */
    if (f != NULL && boxed == NULL) {
        return api_fail_memory(r);
    }
    const json_t *copy = f != NULL ? api_json_copy(r, boxed) : NULL;
    json_decref(boxed);
    if (copy == NULL) {
        return false;
    }
    f->schema = json_array_get(copy, 0);
    return true;
}

static bool read_schema(struct api_reader *r, const json_t *v)
{
    if (!json_is_object(v) && !json_is_boolean(v)) {
        return api_fail(r, API_ERROR_INVALID_TYPE, "is no JSON schema: an object or a boolean");
    }
    return keep_schema(r, v);
}

static bool read_json_schema(struct api_reader *r, const json_t *v)
{
    static const char *const keys[] = {"name", "description", "schema", "strict", NULL};
    struct str text = {0};
    bool strict = false;
    size_t before = r->path_n;
    if (!api_want_object(r, v) || !api_check_keys(r, v, keys) ||
        !api_want_text(r, v, "name", API_MAX_NAME_CHARS, &text)) {
        return false;
    }
    const json_t *description = api_member(v, "description"), *is_strict = api_member(v, "strict");
    const json_t *schema = api_member(v, "schema");
    api_enter_key(r, "description");
    if (description != NULL && !api_view_text(r, description, SIZE_MAX, &text)) {
        return false;
    }
    api_leave(r, before);
    api_enter_key(r, "strict");
    if (is_strict != NULL && !api_read_bool(r, is_strict, &strict)) {
        return false; /* what cannot be enforced is refused either way */
    }
    api_leave(r, before);
    if (schema == NULL) {
        return new_format(r, API_FORMAT_OBJECT) != NULL;
    }
    api_enter_key(r, "schema");
    return read_schema(r, schema);
}

bool api_read_response_format(struct api_reader *r, const json_t *v)
{
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    static const char *const keys[] = {"type", NULL};
    static const char *const schema_keys[] = {"type", "json_schema", NULL};
    size_t path = r->path_n, type = 0;
    const json_t *schema = NULL;
    if (!api_want_object(r, v) || !api_want_choice(r, v, "type", types, &type)) {
        return false;
    }
    if (type == 2 && !api_want_member(r, v, "json_schema", &schema)) {
        return false;
    }
    if (!api_check_keys(r, v, type == 2 ? schema_keys : keys)) {
        return false;
    }
    if (type == 1) {
        return new_format(r, API_FORMAT_OBJECT) != NULL;
    }
    if (type == 2) {
        api_enter_key(r, "json_schema");
        if (!read_json_schema(r, schema)) {
            return false;
        }
        api_leave(r, path);
    }
    return true;
}

/* --- the other names */

/* The schema, or as vLLM takes it, too, its JSON text. */
bool api_read_guided_json(struct api_reader *r, const json_t *v)
{
    if (!json_is_string(v)) {
        return read_schema(r, v);
    }
    struct json_tree inner;
    struct str text = {json_string_value(v), json_string_length(v)};
    struct api_error why = {0};
    const struct api_limits *all = &r->options->limits;
    struct api_limits limits = api_limits_of_text(all, all->schema_values);
    if (!api_json_parse(&inner, text, "the text", JSON_REJECT_DUPLICATES, &limits, &why)) {
        return why.kind == API_ERROR_OVERLOADED
                   ? api_fail_memory(r)
                   : api_fail(r, API_ERROR_INVALID_VALUE, "cannot be read: %s", why.message);
    }
    bool ok = keep_schema(r, inner.root);
    json_tree_finish(&inner);
    return ok;
}

static bool read_text(struct api_reader *r, const json_t *v, enum api_format_kind kind)
{
    struct str text = {0};
    if (!api_read_text(r, v, MAX_GRAMMAR_BYTES, &text)) {
        return false;
    }
    struct api_format *f = new_format(r, kind);
    if (f != NULL) {
        f->text = text;
    }
    return f != NULL;
}

bool api_read_guided_regex(struct api_reader *r, const json_t *v)
{
    return read_text(r, v, API_FORMAT_PATTERN);
}

bool api_read_guided_grammar(struct api_reader *r, const json_t *v)
{
    return read_text(r, v, API_FORMAT_GBNF);
}

bool api_read_guided_choice(struct api_reader *r, const json_t *v)
{
    if (!api_want_array(r, v, 1, MAX_CHOICES)) {
        return false;
    }
    size_t n = json_array_size(v);
    struct str *choices = api_alloc(r, n, sizeof *choices);
    if (choices == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t before = api_enter_index(r, i);
        if (!api_read_text(r, json_array_get(v, i), SIZE_MAX, &choices[i])) {
            return false;
        }
        api_leave(r, before);
    }
    struct api_format *f = new_format(r, API_FORMAT_CHOICE);
    if (f != NULL) {
        f->choices = choices;
        f->n_choices = n;
    }
    return f != NULL;
}

/* vLLM's object with one of the above in it. */
bool api_read_structured_outputs(struct api_reader *r, const json_t *v)
{
    static const struct {
        const char *name;
        bool (*read)(struct api_reader *r, const json_t *v);
    } ways[] = {{"json", api_read_guided_json},
                {"regex", api_read_guided_regex},
                {"choice", api_read_guided_choice},
                {"grammar", api_read_guided_grammar}};
    static const char *const keys[] = {"json", "regex", "choice", "grammar", "json_object", NULL};
    size_t path = r->path_n;
    bool any_object = false;
    if (!api_want_object(r, v) || !api_check_keys(r, v, keys)) {
        return false;
    }
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const json_t *member = api_member(v, ways[i].name);
        api_enter_key(r, ways[i].name);
        if (member != NULL && !ways[i].read(r, member)) {
            return false;
        }
        api_leave(r, path);
    }
    const json_t *object = api_member(v, "json_object");
    api_enter_key(r, "json_object");
    if (object != NULL && (!api_read_bool(r, object, &any_object) ||
                           (any_object && new_format(r, API_FORMAT_OBJECT) == NULL))) {
        return false;
    }
    api_leave(r, path);
    return true;
}
