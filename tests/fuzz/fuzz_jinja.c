/* fuzz_jinja.c - a chat template out of an untrusted file. The input is the template, and after
 * a NUL byte, if there is one, a JSON object of variables; without one, a small conversation.
 * Whatever comes, rendering ends within its bounds, the spans cover the text, and the character
 * that all strings of the conversation hold is never the template's. */
#include "chat/jinja.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define MARK "\xee\x80\x80" /* U+E000, a private character */

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system" MARK "\", \"content\": \"" MARK "be <|eot_id|> kind\"},"
    "{\"role\": \"user" MARK "\", \"content\": [{\"type\": \"text" MARK "\", \"text\": \" a" MARK
    "b \"}]}, {\"role\": \"" MARK "tool\", \"content\": null}],"
    "\"tools\": [{\"name\": \"f" MARK "\", \"n\": 1.5, \"on\": true}], \"s\": \"x" MARK
    " y\", \"n\": 3, \"d\": {\"a" MARK "\": [1, 2]}, \"add_generation_prompt\": true}";

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* The template cannot write the character itself. */
static bool is_marked(struct str template)
{
    return memmem(template.p, template.n, MARK, 3) == NULL &&
           memmem(template.p, template.n, "\\", 1) == NULL;
}

static void check_output(const struct jinja_output *out, bool marked)
{
    size_t at = 0;
    for (size_t i = 0; i < out->n_spans; i++) {
        const struct jinja_span *span = &out->spans[i];
        require(span->n_bytes > 0 && (i == 0 || span->origin != out->spans[i - 1].origin));
        require(span->n_bytes <= out->text.n - at);
        require(!marked || span->origin == JINJA_DATA ||
                memmem(out->text.data + at, span->n_bytes, MARK, 3) == NULL);
        at += span->n_bytes;
    }
    require(at == out->text.n);
}

static void render(const struct jinja_template *t, struct jinja_arena *a, const json_t *json,
                   bool marked)
{
    struct jinja_value variables;
    struct jinja_limits limits = {.max_steps = 100000,
                                  .max_depth = 200,
                                  .max_output_bytes = 1 << 20,
                                  .max_memory_bytes = 8 << 20};
    struct tm now = {.tm_year = 125, .tm_mon = 6, .tm_mday = 26};
    struct jinja_output out;
    struct error e = {0};
    if (!jinja_from_json(a, json, JINJA_DATA, &variables, &e)) {
        require(e.code != ERROR_NONE && e.code != ERROR_INTERNAL);
    } else if (jinja_render(t, variables, &now, &limits, &out, &e)) {
        check_output(&out, marked);
        jinja_output_finish(&out);
    } else {
        require(e.code != ERROR_NONE && e.code != ERROR_INTERNAL);
        require(e.code == ERROR_USAGE || e.text[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    struct str template = {(const char *)data, nul != NULL ? (size_t)(nul - data) : n_bytes};
    struct str variables = {conversation, sizeof conversation - 1};
    if (nul != NULL) {
        variables = (struct str){(const char *)nul + 1, n_bytes - template.n - 1};
    }
    struct error e = {0};
    struct jinja_template *t = jinja_parse(template, &e);
    require(t != NULL || (e.code != ERROR_NONE && e.code != ERROR_INTERNAL && e.text[0] != '\0'));
    json_t *json = t != NULL ? json_loadb(variables.p, variables.n, JSON_ALLOW_NUL, NULL) : NULL;
    if (json_is_object(json)) {
        struct jinja_arena arena;
        jinja_arena_init(&arena, 8 << 20);
        render(t, &arena, json, nul == NULL && is_marked(template));
        jinja_arena_finish(&arena);
    }
    json_decref(json);
    jinja_destroy(t);
    return 0;
}
