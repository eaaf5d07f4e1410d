/* jinja_render.c - renders templates for the comparisons of tests/oracle: one JSON object a line
 * on standard input
 *   {"template": TEXT, "context": {...}, "trusted": {...}, "now": SECONDS, "limits": {...}} (the
 * variables of "trusted" count as the template's own; all but "template" may be missing), one a
 * line on standard output
 *   {"text": TEXT, "spans": [[BYTES, is data], ...]}  or  {"error": TEXT, "code": NAME} */
#include "chat/jinja.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const code_names[ERROR_CODE_COUNT] = {
    [ERROR_USAGE] = "raised",
    [ERROR_FORMAT] = "error",
    [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_MEMORY] = "memory",
};

static json_t *failure(const struct error *e)
{
    const char *name = code_names[e->code] != NULL ? code_names[e->code] : "other";
    return json_pack("{s:s, s:s}", "error", e->text, "code", name);
}

static bool add_variables(struct jinja_arena *a, struct jinja_value variables, const json_t *from,
                          enum jinja_origin origin, struct error *e)
{
    const char *key;
    json_t *json;
    json_object_foreach((json_t *)from, key, json)
    {
        struct jinja_value value;
        if (!jinja_from_json(a, json, origin, &value, e) ||
            !jinja_dict_put(a, variables, str_from(key), origin, value, e)) {
            return false;
        }
    }
    return true;
}

static size_t limit_of(const json_t *request, const char *name)
{
    return (size_t)json_integer_value(json_object_get(json_object_get(request, "limits"), name));
}

static json_t *render(const json_t *request, const struct jinja_template *t,
                      struct jinja_value variables)
{
    struct jinja_limits limits = {.max_steps = limit_of(request, "steps"),
                                  .max_depth = limit_of(request, "depth"),
                                  .max_output_bytes = limit_of(request, "output"),
                                  .max_memory_bytes = limit_of(request, "memory")};
    time_t seconds = (time_t)json_integer_value(json_object_get(request, "now"));
    struct tm now;
    struct error e = {0};
    struct jinja_output out;
    gmtime_r(&seconds, &now);
    if (!jinja_render(t, variables, &now, &limits, &out, &e)) {
        return failure(&e);
    }
    json_t *spans = json_array();
    for (size_t i = 0; i < out.n_spans; i++) {
        json_array_append_new(spans, json_pack("[I, b]", (json_int_t)out.spans[i].n_bytes,
                                               out.spans[i].origin == JINJA_DATA));
    }
    const char *text = out.text.n > 0 ? out.text.data : "";
    json_t *answer =
        json_pack("{s:o, s:o}", "text", json_stringn(text, out.text.n), "spans", spans);
    jinja_output_finish(&out);
    return answer;
}

static json_t *answer(const json_t *request)
{
    struct error e = {0};
    struct jinja_arena arena;
    struct jinja_value variables;
    const json_t *source = json_object_get(request, "template");
    struct str text = {json_string_value(source), json_string_length(source)};
    struct jinja_template *t = jinja_parse(text, &e);
    if (t == NULL) {
        return failure(&e);
    }
    jinja_arena_init(&arena, 64 << 20);
    json_t *result;
    if (!jinja_dict_create(&arena, &variables, &e) ||
        !add_variables(&arena, variables, json_object_get(request, "context"), JINJA_DATA, &e) ||
        !add_variables(&arena, variables, json_object_get(request, "trusted"), JINJA_TEMPLATE,
                       &e)) {
        result = failure(&e);
    } else {
        result = render(request, t, variables);
    }
    jinja_arena_finish(&arena);
    jinja_destroy(t);
    return result;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0;) {
        json_error_t why;
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why);
        json_t *result = request != NULL
                             ? answer(request)
                             : json_pack("{s:s, s:s}", "error", why.text, "code", "json");
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(request);
    }
    free(line);
    return 0;
}
