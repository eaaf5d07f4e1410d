/* service_constrain.c - from what a request asks of its answer's text to the grammar that the
 * engine writes it by. What cannot be enforced is refused here, before the first token. */
#include "chat/tool_grammar.h"
#include "schema/schema_compile.h"
#include "serve/service_internal.h"

#include <stdio.h>
#include <string.h>

/* --- the format */

static struct grammar *grammar_of(const struct api_format *f, struct schema_remarks *remarks,
                                  struct error *e)
{
    switch (f->kind) {
    case API_FORMAT_OBJECT:
        return schema_compile_any_object(e);
    case API_FORMAT_SCHEMA:
        return schema_compile(f->schema, remarks, e);
    case API_FORMAT_PATTERN:
        return grammar_from_pattern(f->text, e);
    case API_FORMAT_CHOICE:
        return grammar_from_choices(f->choices, f->n_choices, e);
    default:
        return grammar_from_gbnf(f->text, e);
    }
}

/* The format as a part of a larger grammar: beside calls of tools. */
static bool build_format(struct grammar_builder *b, const struct api_format *f, uint32_t *out,
                         struct schema_remarks *remarks, struct error *e)
{
    json_t *any = NULL;
    bool ok = true;
    switch (f->kind) {
    case API_FORMAT_OBJECT:
        any = json_pack("{s:s}", "type", "object");
        ok = any != NULL ? schema_compile_into(b, any, out, NULL, e)
                         : error_set(e, ERROR_MEMORY, "out of memory: schema of an object");
        json_decref(any);
        return ok;
    case API_FORMAT_SCHEMA:
        return schema_compile_into(b, f->schema, out, remarks, e);
    default:
        *out = grammar_pattern(b, f->text, 0);
        return true;
    }
}

/* --- calls of tools */

static bool has_strict(const json_t *tools)
{
    bool strict = false;
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        strict = strict || json_is_true(json_object_get(function, "strict"));
    }
    return strict;
}

/* Where a schema that is but a $ref into its own definitions leads. */
static const json_t *follow(const json_t *root)
{
    static const char *const places[] = {"$defs", "definitions"};
    enum { MOST_STEPS = 8 };
    const json_t *at = root;
    for (int step = 0; step < MOST_STEPS; step++) {
        const char *ref = json_string_value(json_object_get(at, "$ref"));
        const json_t *next = NULL;
        for (size_t i = 0; ref != NULL && i < sizeof places / sizeof places[0]; i++) {
            size_t n = strlen(places[i]);
            if (strncmp(ref, "#/", 2) == 0 && strncmp(ref + 2, places[i], n) == 0 &&
                ref[2 + n] == '/') {
                next = json_object_get(json_object_get(root, places[i]), ref + 3 + n);
            }
        }
        if (next == NULL) {
            return at;
        }
        at = next;
    }
    return NULL;
}

/* Whether a text of the format could be one that the parser takes for a call: but for objects with
 * a member that calls lack and none for arguments, it could. */
static bool may_be_call(const struct api_format *f)
{
    static const char *const of_calls[] = {"name", "type", "parameters", "arguments"};
    const json_t *schema = f->kind == API_FORMAT_SCHEMA ? follow(f->schema) : NULL;
    const char *type = json_string_value(json_object_get(schema, "type"));
    const json_t *properties = json_object_get(schema, "properties"), *name;
    size_t i;
    if (type == NULL || strcmp(type, "object") != 0 ||
        !json_is_false(json_object_get(schema, "additionalProperties")) ||
        json_object_get(schema, "patternProperties") != NULL ||
        json_object_get(properties, "parameters") != NULL ||
        json_object_get(properties, "arguments") != NULL) {
        return true;
    }
    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        size_t k = 0;
        while (k < sizeof of_calls / sizeof of_calls[0] && json_is_string(name) &&
               strcmp(json_string_value(name), of_calls[k]) != 0) {
            k++;
        }
        if (k == sizeof of_calls / sizeof of_calls[0]) {
            return false;
        }
    }
    return true;
}

/* Whether the format can be told from calls that the model may make instead. */
static bool check_beside_tools(const struct api_generation *r, struct api_error *error)
{
    const struct api_format *f = &r->format;
    if (f->kind == API_FORMAT_TEXT || r->tool_choice != API_TOOLS_AUTO) {
        return true;
    }
    if (f->kind == API_FORMAT_CHOICE || f->kind == API_FORMAT_GBNF) {
        return api_error_set(error, API_ERROR_UNSUPPORTED_VALUE, f->param,
                             "%s is not offered beside tools that the model may call: tool_choice "
                             "'none' leaves them out",
                             f->param);
    }
    return !has_strict(r->callable) || !may_be_call(f) ||
           api_error_set(error, API_ERROR_UNSUPPORTED_VALUE, f->param,
                         "%s could be read as a call, beside strict tools: it has to be the schema "
                         "of an object without additionalProperties, 'parameters' and "
                         "'arguments' that requires another member than 'name' and 'type'",
                         f->param);
}

/* What was found out while a grammar was made. */
struct notes {
    struct schema_remarks format;
    struct tool_grammar_notes tools;
};

/* A grammar of calls, of the format beside them, or of text without calls. */
static struct grammar *tools_grammar(const struct service *s, const struct api_generation *r,
                                     const struct tool_set *set, struct notes *notes,
                                     struct error *e)
{
    bool has_format = r->format.kind != API_FORMAT_TEXT;
    struct tool_grammar_options o = {
        .format = s->chat->tool_format,
        .set = set,
        .only = r->tool_choice == API_TOOLS_NAMED ? tool_set_find(set, r->tool_name) : NULL,
        .several = !r->one_call,
        .may_say = r->tool_choice == API_TOOLS_AUTO && !has_format};
    struct grammar *made = NULL;
    uint32_t ways[2];
    struct grammar_builder *b = grammar_builder_create(e);
    if (b != NULL && tool_grammar_build(b, &o, &ways[0], &notes->tools, e) &&
        (!has_format || r->tool_choice != API_TOOLS_AUTO ||
         build_format(b, &r->format, &ways[1], &notes->format, e))) {
        bool both = has_format && r->tool_choice == API_TOOLS_AUTO;
        made = grammar_compile(b, both ? grammar_choice(b, ways, 2) : ways[0], e);
    }
    grammar_builder_destroy(b);
    return made;
}

/* --- warnings */

static bool warn_loose(struct api_request *request, const struct tool_grammar_notes *notes,
                       struct api_error *error)
{
    const struct tool *tool = notes->loose;
    char text[sizeof notes->loose_why.text + 2 * API_MAX_TOOL_CHARS + 200], others[48] = "";
    if (tool == NULL) {
        return true;
    }
    if (notes->n_loose > 1) {
        snprintf(others, sizeof others, " and of %zu other tool%s", notes->n_loose - 1,
                 notes->n_loose > 2 ? "s" : "");
    }
    snprintf(text, sizeof text,
             "arguments of '%.*s'%s are held to no schema, as it cannot be enforced and strict is "
             "not asked for: %s",
             STR_ARG(tool->name), others, notes->loose_why.text);
    return api_request_warn(request, "tools", text, error);
}

static bool warn_format(struct api_request *request, const struct schema_remarks *remarks,
                        struct api_error *error)
{
    bool ok = true;
    for (size_t i = 0; i < remarks->n && ok; i++) {
        ok = api_request_warn(request, request->generation.format.param, remarks->text[i], error);
    }
    return ok;
}

/* Which of the request's tools it is: an answer may call but some of them. */
static size_t place_of(const json_t *tools, const struct tool *tool)
{
    size_t i = 0;
    while (i < json_array_size(tools) &&
           !json_equal(json_object_get(json_array_get(tools, i), "function"), tool->function)) {
        i++;
    }
    return i;
}

/* With the tool's name, as what is said of two tools alike would be told once. */
static bool warn_tools(struct api_request *request, const struct tool_set *set,
                       const struct schema_remarks *remarks, struct api_error *error)
{
    bool is_old = request->generation.is_function_form, ok = true;
    for (size_t i = 0; i < remarks->n && i < SCHEMA_MAX_REMARKS && ok; i++) {
        char param[64], text[SCHEMA_REMARK_BYTES + 2 * API_MAX_TOOL_CHARS];
        const struct tool *tool = &set->tools[remarks->source[i]];
        snprintf(param, sizeof param, "%s[%zu]%s.parameters", is_old ? "functions" : "tools",
                 place_of(request->generation.tools, tool), is_old ? "" : ".function");
        snprintf(text, sizeof text, "parameters of '%.*s': %s", STR_ARG(tool->name),
                 remarks->text[i]);
        ok = api_request_warn(request, param, text, error);
    }
    return ok && (remarks->n <= SCHEMA_MAX_REMARKS ||
                  api_request_warn(request, is_old ? "functions" : "tools",
                                   remarks->text[SCHEMA_MAX_REMARKS], error));
}

/* --- all of it */

/* A schema or grammar is the request's, not a file of the server's. */
static bool refuse(struct error *e, const char *param, struct api_error *error)
{
    e->code = e->code == ERROR_FORMAT ? ERROR_USAGE : e->code;
    error_prefix(e, "%s", param);
    return api_error_from(error, e, param);
}

static bool has_calls(const struct api_generation *r)
{
    return r->callable != NULL && (r->tool_choice != API_TOOLS_AUTO || has_strict(r->callable) ||
                                   r->format.kind != API_FORMAT_TEXT);
}

bool service_check_calls(const struct service *s, const struct api_request *request,
                         struct api_error *error)
{
    const struct api_generation *r = &request->generation;
    const char *param = r->tool_choice != API_TOOLS_AUTO ? "tool_choice" : "tools";
    if (!has_calls(r)) {
        return true;
    }
    if (s->chat == NULL || s->chat->tool_format == TOOL_FORMAT_NONE) {
        return api_error_set(error, API_ERROR_UNSUPPORTED_VALUE, param,
                             "%s needs calls of tools, which this server does not listen for",
                             param);
    }
    return check_beside_tools(r, error);
}

bool service_is_constrained(const struct api_request *request)
{
    const struct api_generation *r = &request->generation;
    return (request->endpoint == API_CHAT || request->endpoint == API_COMPLETION) &&
           (r->format.kind != API_FORMAT_TEXT || has_calls(r));
}

bool service_constrain(const struct service *s, struct api_request *request, struct grammar **out,
                       struct api_error *error)
{
    const struct api_generation *r = &request->generation;
    struct error e = {0};
    struct notes notes = {0};
    *out = NULL;
    if (!has_calls(r)) {
        *out = r->format.kind != API_FORMAT_TEXT ? grammar_of(&r->format, &notes.format, &e) : NULL;
        return r->format.kind == API_FORMAT_TEXT ||
               (*out != NULL ? warn_format(request, &notes.format, error)
                             : refuse(&e, r->format.param, error));
    }
    struct tool_set set;
    if (!tool_set_init(&set, r->callable, &e)) {
        return refuse(&e, "tools", error);
    }
    *out = tools_grammar(s, r, &set, &notes, &e);
    bool ok = *out != NULL ? warn_loose(request, &notes.tools, error) &&
                                 warn_tools(request, &set, &notes.tools.remarks, error) &&
                                 warn_format(request, &notes.format, error)
                           : refuse(&e, "tools", error);
    tool_set_finish(&set);
    return ok;
}
