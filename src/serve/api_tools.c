/* api_tools.c - what an answer of a chat may call: tools and how to choose among them, and the same
 * in the form of old, functions. */
#include "serve/api_json.h"
#include "serve/api_parameter.h"

static struct api_generation *generation(struct api_reader *r)
{
    return &r->request->generation;
}

/* --- one function */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool read_name(struct api_reader *r, const json_t *function)
{
    struct str name = {0};
    if (!api_want_text(r, function, "name", API_MAX_TOOL_CHARS, &name)) {
        return false;
    }
    size_t n = 0;
    while (n < name.n && is_name_char(name.p[n])) {
        n++;
    }
    api_enter_key(r, "name");
    return (n == name.n && n > 0) ||
           api_fail(r, API_ERROR_INVALID_VALUE,
                    "is '%.80s', expected 1 to %d of the characters a-z, A-Z, 0-9, _ and -", name.p,
                    API_MAX_TOOL_CHARS);
}

/* JSON Schema of an object; what else it says is for the model to read. */
static bool read_parameters(struct api_reader *r, const json_t *function)
{
    const json_t *v = api_member(function, "parameters");
    size_t before = api_enter_key(r, "parameters");
    if (v != NULL && !api_want_object(r, v)) {
        return false;
    }
    const char *type = json_string_value(json_object_get(v, "type"));
    if (type != NULL && strcmp(type, "object") != 0) {
        api_enter_key(r, "type");
        return api_fail(r, API_ERROR_INVALID_VALUE,
                        "is '%.64s', expected 'object': arguments have names", type);
    }
    api_leave(r, before);
    return true;
}

static bool check_strict(struct api_reader *r, const json_t *function)
{
    const json_t *v = api_member(function, "strict");
    size_t before = api_enter_key(r, "strict");
    bool is_strict = false;
    if (v != NULL && !api_read_bool(r, v, &is_strict)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static bool check_function(struct api_reader *r, const json_t *v, bool is_tool)
{
    static const char *const keys[] = {"name", "description", "parameters", "strict", NULL};
    static const char *const old_keys[] = {"name", "description", "parameters", NULL};
    size_t before = r->path_n;
    if (!api_check_keys(r, v, is_tool ? keys : old_keys) || !read_name(r, v)) {
        return false;
    }
    api_leave(r, before);
    const json_t *description = api_member(v, "description");
    struct str text = {0};
    api_enter_key(r, "description");
    if (description != NULL && !api_view_text(r, description, SIZE_MAX, &text)) {
        return false;
    }
    api_leave(r, before);
    return read_parameters(r, v) && check_strict(r, v);
}

/* --- all of them */

static const json_t *function_of(const json_t *tool)
{
    return json_object_get(tool, "function");
}

static struct str name_of(const json_t *tools, size_t i)
{
    const json_t *name = json_object_get(function_of(json_array_get(tools, i)), "name");
    return (struct str){json_string_value(name), json_string_length(name)};
}

/* The first with this name; their number when there is none. */
static size_t find_tool(const json_t *tools, struct str name)
{
    size_t i = 0;
    while (i < json_array_size(tools) && !str_eq(name_of(tools, i), name)) {
        i++;
    }
    return i;
}

static bool check_tool(struct api_reader *r, const json_t *v)
{
    static const char *const types[] = {"function", NULL};
    static const char *const keys[] = {"type", "function", NULL};
    const json_t *function = NULL;
    size_t i = 0;
    if (!api_want_object(r, v) || !api_want_choice(r, v, "type", types, &i) ||
        !api_check_keys(r, v, keys) || !api_want_member(r, v, "function", &function)) {
        return false;
    }
    size_t before = api_enter_key(r, "function");
    if (!check_function(r, function, true)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static bool keep_tools(struct api_reader *r, const json_t *tools)
{
    size_t n = json_array_size(tools);
    for (size_t i = 0; i < n; i++) {
        size_t first = find_tool(tools, name_of(tools, i)), before = api_enter_index(r, i);
        if (first < i) {
            return api_fail(r, API_ERROR_INVALID_VALUE, "has the name of element %zu", first);
        }
        api_leave(r, before);
    }
    generation(r)->tools = n > 0 ? api_json_copy(r, tools) : NULL;
    generation(r)->callable = generation(r)->tools;
    return n == 0 || generation(r)->tools != NULL;
}

bool api_read_tools(struct api_reader *r, const json_t *v)
{
    if (!api_want_array(r, v, 0, API_MAX_TOOLS)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        size_t before = api_enter_index(r, i);
        if (!check_tool(r, json_array_get(v, i))) {
            return false;
        }
        api_leave(r, before);
    }
    return keep_tools(r, v);
}

/* {"type":"function","function":f}; NULL: no memory. */
static json_t *tool_of(const json_t *f)
{
    json_t *tool = json_object();
    if (json_object_set_new(tool, "type", json_string("function")) != 0 ||
        json_object_set(tool, "function", (json_t *)f) != 0) {
        json_decref(tool);
        return NULL;
    }
    return tool;
}

bool api_read_functions(struct api_reader *r, const json_t *v)
{
    const json_t *tools_too = api_member(r->root, "tools");
    if (!api_want_array(r, v, 0, API_MAX_TOOLS)) {
        return false;
    }
    if (json_array_size(v) > 0 && json_array_size(tools_too) > 0) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "is the old form of tools, which are given");
    }
    size_t n = json_array_size(v);
    for (size_t i = 0; i < n; i++) {
        size_t before = api_enter_index(r, i);
        if (!check_function(r, json_array_get(v, i), false)) {
            return false;
        }
        api_leave(r, before);
    }
    if (n == 0) {
        return true;
    }
    json_t *tools = json_array();
    bool ok = tools != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        ok = json_array_append_new(tools, tool_of(json_array_get(v, i))) == 0;
    }
    ok = ok ? keep_tools(r, tools) : api_fail_memory(r);
    json_decref(tools);
    generation(r)->is_function_form = true;
    generation(r)->one_call = true; /* there is room for one in the answer */
    return ok;
}

/* --- the choice */

static bool view_name(struct api_reader *r, const json_t *function, struct str *out)
{
    static const char *const keys[] = {"name", NULL};
    return api_want_object(r, function) && api_check_keys(r, function, keys) &&
           api_want_text(r, function, "name", API_MAX_TOOL_CHARS, out);
}

static bool choose_named(struct api_reader *r, const json_t *function)
{
    struct str name = {0};
    generation(r)->tool_choice = API_TOOLS_NAMED;
    return view_name(r, function, &name) && api_copy_text(r, name, &generation(r)->tool_name);
}

/* --- some of them: {"mode", "tools": [{"type", "function": {"name"}}]} */

static bool allow_one(struct api_reader *r, const json_t *v, bool may[API_MAX_TOOLS])
{
    static const char *const types[] = {"function", NULL};
    static const char *const keys[] = {"type", "function", NULL};
    const json_t *function = NULL, *tools = generation(r)->tools;
    struct str name = {0};
    size_t i = 0;
    if (!api_want_object(r, v) || !api_want_choice(r, v, "type", types, &i) ||
        !api_check_keys(r, v, keys) || !api_want_member(r, v, "function", &function)) {
        return false;
    }
    size_t before = api_enter_key(r, "function");
    if (!view_name(r, function, &name)) {
        return false;
    }
    i = find_tool(tools, name);
    if (i == json_array_size(tools)) {
        api_enter_key(r, "name");
        return api_fail(r, API_ERROR_INVALID_VALUE, "is '%.*s', which is none of the tools",
                        STR_ARG(str_shown(name)));
    }
    may[i] = true;
    api_leave(r, before);
    return true;
}

/* The prompt tells of all tools all the same: that is what a client allows some of them for, as the
 * prefix stays cached. */
static bool keep_callable(struct api_reader *r, const bool may[API_MAX_TOOLS])
{
    struct api_generation *g = generation(r);
    json_t *some = json_array();
    bool ok = some != NULL;
    for (size_t i = 0; ok && i < json_array_size(g->tools); i++) {
        ok = !may[i] || json_array_append(some, json_array_get(g->tools, i)) == 0;
    }
    g->callable = ok ? api_json_copy(r, some) : NULL;
    json_decref(some);
    return g->callable != NULL || api_fail_memory(r);
}

static bool choose_allowed(struct api_reader *r, const json_t *v)
{
    static const char *const keys[] = {"mode", "tools", NULL};
    static const char *const modes[] = {"auto", "required", NULL};
    const json_t *tools = NULL;
    bool may[API_MAX_TOOLS] = {false};
    size_t mode = 0;
    if (generation(r)->tools == NULL) {
        return true; /* for api_tools_check to refuse */
    }
    if (!api_want_object(r, v) || !api_check_keys(r, v, keys) ||
        !api_want_choice(r, v, "mode", modes, &mode) || !api_want_member(r, v, "tools", &tools)) {
        return false;
    }
    size_t before = api_enter_key(r, "tools");
    if (!api_want_array(r, tools, 1, API_MAX_TOOLS)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(tools); i++) {
        size_t outer = api_enter_index(r, i);
        if (!allow_one(r, json_array_get(tools, i), may)) {
            return false;
        }
        api_leave(r, outer);
    }
    api_leave(r, before);
    generation(r)->tool_choice = mode == 1 ? API_TOOLS_REQUIRED : API_TOOLS_AUTO;
    return keep_callable(r, may);
}

/* --- any way to choose */

/* An object: how, and the member of that name says what. */
static bool read_choice_of(struct api_reader *r, const json_t *v)
{
    static const char *const types[] = {"function", "allowed_tools", NULL};
    static const char *const keys[][3] = {{"type", "function", NULL},
                                          {"type", "allowed_tools", NULL}};
    const json_t *what = NULL;
    size_t i = 0;
    if (!api_want_choice(r, v, "type", types, &i) || !api_check_keys(r, v, keys[i]) ||
        !api_want_member(r, v, types[i], &what)) {
        return false;
    }
    size_t before = api_enter_key(r, types[i]);
    if (!(i == 0 ? choose_named : choose_allowed)(r, what)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

bool api_read_tool_choice(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"none", "auto", "required", NULL};
    size_t i = 0;
    if (json_is_object(v)) {
        return read_choice_of(r, v);
    }
    if (!json_is_string(v)) {
        return api_fail(r, API_ERROR_INVALID_TYPE, "is neither a string nor an object");
    }
    if (!api_read_choice(r, v, names, &i)) {
        return false;
    }
    generation(r)->tool_choice = i == 2 ? API_TOOLS_REQUIRED : API_TOOLS_AUTO;
    return true;
}

bool api_read_function_call(struct api_reader *r, const json_t *v)
{
    static const char *const names[] = {"none", "auto", NULL};
    size_t i = 0;
    return json_is_object(v) ? choose_named(r, v) : api_read_choice(r, v, names, &i);
}

bool api_read_parallel(struct api_reader *r, const json_t *v)
{
    bool may_be_several = true;
    if (!api_read_bool(r, v, &may_be_several)) {
        return false;
    }
    generation(r)->one_call = !may_be_several;
    return true;
}

static bool is_none(const json_t *v)
{
    return json_is_string(v) && strcmp(json_string_value(v), "none") == 0;
}

/* Without what it chooses among, a choice is a mistake of the client's: OpenAI refuses it, too. */
bool api_tools_check(struct api_reader *r)
{
    static const struct {
        const char *name, *of;
    } choices[] = {
        {"tool_choice", "tools"}, {"parallel_tool_calls", "tools"}, {"function_call", "functions"}};
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (api_member(r->root, choices[i].name) != NULL &&
            json_array_size(api_member(r->root, choices[i].of)) == 0) {
            api_enter_key(r, choices[i].name);
            return api_fail(r, API_ERROR_INVALID_VALUE, "is only allowed when %s are given",
                            choices[i].of);
        }
    }
    struct api_generation *g = generation(r);
    if (g->tool_choice == API_TOOLS_NAMED &&
        find_tool(g->tools, g->tool_name) == json_array_size(g->tools)) {
        bool is_old = api_member(r->root, "tool_choice") == NULL;
        api_enter_key(r, is_old ? "function_call" : "tool_choice");
        return api_fail(r, API_ERROR_INVALID_VALUE, "names '%.*s', which is none of the %s",
                        STR_ARG(g->tool_name), is_old ? "functions" : "tools");
    }
    if (is_none(api_member(r->root, "tool_choice")) ||
        is_none(api_member(r->root, "function_call"))) {
        g->tools = NULL;
        g->callable = NULL;
    }
    return true;
}
