/* tool_grammar.c - the grammar of calls, by the form that a model is taught. */
#include "chat/tool_grammar.h"

#include "base/mem.h"

/* What stands around the name and the arguments of a call, and between two calls. */
struct form {
    const char *before, *between, *after, *separator;
};

static const struct form *form_of(enum tool_format format)
{
    static const struct form llama3_json = {"{\"name\": \"", "\", \"parameters\": ", "}", "; "};
    static const struct form function_tag = {"<function=", ">", "</function>", "\n"};
    static const struct form hermes = {"<tool_call>\n{\"name\": \"",
                                       "\", \"arguments\": ", "}\n</tool_call>", "\n"};
    switch (format) {
    case TOOL_FORMAT_FUNCTION_TAG:
        return &function_tag;
    case TOOL_FORMAT_HERMES:
        return &hermes;
    default:
        return &llama3_json;
    }
}

/* --- arguments */

/* The schema of the arguments as one that allows objects alone; NULL when memory ran out. */
static json_t *object_schema(const struct tool *tool)
{
    const json_t *parameters = json_object_get(tool->function, "parameters");
    bool is_empty = json_is_object(parameters) && json_object_size(parameters) == 0;
    if (parameters == NULL || json_is_null(parameters) || is_empty) {
        return json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 0);
    }
    if (!json_is_object(parameters) || json_object_get(parameters, "type") != NULL) {
        return json_incref((json_t *)parameters);
    }
    json_t *copy = json_copy((json_t *)parameters);
    if (copy != NULL && json_object_set_new(copy, "type", json_string("object")) != 0) {
        json_decref(copy);
        copy = NULL;
    }
    return copy;
}

/* A builder that failed once fails for good: whether a schema will do is tried with another, which
 * is one for all schemas up to the first that will not do, and so on. */
struct trials {
    struct grammar_builder *b; /* NULL: the next one is to be made */
    uint64_t steps;            /* left to spend for b and those to come */
};

static bool can_enforce(struct trials *t, const json_t *schema, struct error *why)
{
    uint32_t node = GRAMMAR_NONE;
    if (t->b == NULL && (t->b = grammar_builder_create(why)) != NULL) {
        grammar_builder_limit(t->b, t->steps);
        t->steps -= grammar_builder_steps(t->b);
    }
    bool ok = t->b != NULL && schema_compile_into(t->b, schema, &node, NULL, why);
    if (!ok && t->b != NULL) {
        t->steps += grammar_builder_steps(t->b);
        grammar_builder_destroy(t->b);
        t->b = NULL;
    }
    return ok;
}

static bool build_arguments(struct grammar_builder *b, const struct tool *tool,
                            struct trials *trials, uint32_t *out, struct tool_grammar_notes *notes,
                            struct error *e)
{
    bool strict = json_is_true(json_object_get(tool->function, "strict"));
    json_t *schema = object_schema(tool);
    json_t *any = json_pack("{s:s}", "type", "object");
    struct error why = {0};
    bool ok = schema != NULL && any != NULL
                  ? strict || can_enforce(trials, schema, &why)
                  : error_set(&why, ERROR_MEMORY, "out of memory: schema of a tool");
    bool is_loose = !ok && why.code == ERROR_UNSUPPORTED;
    if (is_loose && notes->n_loose++ == 0) {
        notes->loose = tool;
        notes->loose_why = why;
    }
    ok = (ok || is_loose) &&
         schema_compile_into(b, is_loose ? any : schema, out, &notes->remarks, &why);
    json_decref(schema);
    json_decref(any);
    if (!ok) {
        error_set(e, why.code, "parameters of tool '%.*s': %s", STR_ARG(tool->name), why.text);
    }
    return ok;
}

/* --- calls */

static uint32_t build_call(struct grammar_builder *b, const struct form *form,
                           const struct tool *tool, uint32_t arguments)
{
    const uint32_t parts[] = {grammar_bytes(b, str_from(form->before)),
                              grammar_bytes(b, tool->name),
                              grammar_bytes(b, str_from(form->between)), arguments,
                              grammar_bytes(b, str_from(form->after))};
    return grammar_sequence(b, parts, sizeof parts / sizeof parts[0]);
}

static bool build_calls(struct grammar_builder *b, const struct tool_grammar_options *o,
                        uint32_t *out, struct tool_grammar_notes *notes, struct error *e)
{
    const struct form *form = form_of(o->format);
    const struct tool *tools = o->only != NULL ? o->only : o->set->tools;
    size_t n = o->only != NULL ? 1 : o->set->n_tools;
    uint32_t *ways = mem_alloc(n, sizeof *ways, "tools of a grammar", e);
    /* twice what the builder has: one schema that takes too much leaves enough for others */
    struct trials trials = {.steps = 2 * grammar_builder_steps(b)};
    bool ok = ways != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        notes->remarks.next_source = (size_t)(&tools[i] - o->set->tools);
        uint32_t arguments = GRAMMAR_NONE;
        ok = build_arguments(b, &tools[i], &trials, &arguments, notes, e);
        ways[i] = ok ? build_call(b, form, &tools[i], arguments) : GRAMMAR_NONE;
    }
    grammar_builder_destroy(trials.b);
    if (ok) {
        uint32_t call = grammar_declare(b, STR("call of a tool"));
        grammar_define(b, call, grammar_choice(b, ways, n));
        const uint32_t next[] = {grammar_bytes(b, str_from(form->separator)),
                                 grammar_call(b, call)};
        const uint32_t all[] = {grammar_call(b, call),
                                grammar_repeat(b, grammar_sequence(b, next, 2), 0,
                                               o->several ? TOOL_GRAMMAR_MAX_CALLS - 1 : 0)};
        *out = grammar_sequence(b, all, 2);
    }
    mem_free(ways);
    return ok;
}

/* --- texts without calls */

/* Whatever the parser could take for the beginning of a call is left out. */
static void build_text(struct grammar_builder *b, enum tool_format format, uint32_t *out)
{
    static const char *const llama[] = {
        "\\{[ \\n\\t\\r]*\"",      "<function=",
        "<\\|python_tag\\|>",      "\\[[ \\n\\t\\r]*[A-Za-z0-9_.-]+[ \\n\\t\\r]*\\(",
        "\\.call[ \\n\\t\\r]*\\(", NULL};
    static const char *const hermes[] = {"\\{[ \\n\\t\\r]*\"", "<tool_call>", NULL};
    uint32_t text = grammar_pattern(b, STR(".*"), GRAMMAR_PATTERN_DOT_ALL);
    /* one by one: quicker than all of them in one pattern */
    for (const char *const *p = format == TOOL_FORMAT_HERMES ? hermes : llama; *p != NULL; p++) {
        text = grammar_subtract(
            b, text,
            grammar_pattern(b, str_from(*p), GRAMMAR_PATTERN_SEARCH | GRAMMAR_PATTERN_DOT_ALL));
    }
    *out = text;
}

bool tool_grammar_build(struct grammar_builder *b, const struct tool_grammar_options *o,
                        uint32_t *out, struct tool_grammar_notes *notes, struct error *e)
{
    uint32_t ways[2];
    *notes = (struct tool_grammar_notes){0};
    if (!build_calls(b, o, &ways[0], notes, e)) {
        return false;
    }
    *out = ways[0];
    if (o->may_say) {
        build_text(b, o->format, &ways[1]);
        *out = grammar_choice(b, ways, 2);
    }
    return true;
}
