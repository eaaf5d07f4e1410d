/* run_tools.c - tools out of a file, checked, and calls of them out of an answer's text. */
#include "cmd/run_tools.h"

#include "cmd/cmd.h"

#include "base/json_why.h"
#include "base/mem.h"
#include "chat/tool_frame.h"
#include "cmd/print.h"
#include "store/secret.h"

#include <stdio.h>

enum { MAX_FILE_BYTES = 4 << 20, SHOWN = 200 };

struct run_call {
    size_t begin, n_id, n_name, n_arguments; /* bytes of `text`, one behind the other */
    enum tool_call_end end;
};

/* --- which tools there are */

static bool check_keys(const json_t *object, const char *const *known, const char *what,
                       struct error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const char *const *k = known;
        while (*k != NULL && strcmp(*k, key) != 0) {
            k++;
        }
        if (*k == NULL) {
            return error_set(e, ERROR_FORMAT, "%s has the unknown key '%.64s'", what, key);
        }
    }
    return true;
}

static bool check_name(const json_t *name, const char *what, struct error *e)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (!json_is_string(name)) {
        return error_set(e, ERROR_FORMAT, "%s has no name", what);
    }
    struct str s = {json_string_value(name), json_string_length(name)};
    if (s.n == 0 || s.n > RUN_MAX_TOOL_CHARS || strspn(s.p, letters) != s.n) {
        return error_set(e, ERROR_FORMAT,
                         "the name of %s is '%.*s', expected 1 to %d of the characters a-z, A-Z, "
                         "0-9, _ and -",
                         what, STR_ARG(str_shown(s)), RUN_MAX_TOOL_CHARS);
    }
    return true;
}

/* JSON Schema of an object; what else it says is for the model to read. */
static bool check_parameters(const json_t *parameters, const char *what, struct error *e)
{
    const char *type = json_string_value(json_object_get(parameters, "type"));
    if (parameters != NULL && !json_is_object(parameters)) {
        return error_set(e, ERROR_FORMAT, "parameters of %s are no object", what);
    }
    return type == NULL || strcmp(type, "object") == 0 ||
           error_set(e, ERROR_FORMAT,
                     "the type of the parameters of %s is '%.64s', expected 'object': arguments "
                     "have names",
                     what, type);
}

static bool check_tool(const json_t *tool, const char *what, struct error *e)
{
    static const char *const keys[] = {"type", "function", NULL};
    static const char *const function_keys[] = {"name", "description", "parameters", "strict",
                                                NULL};
    const json_t *function = json_object_get(tool, "function");
    const char *type = json_string_value(json_object_get(tool, "type"));
    if (!json_is_object(tool) || type == NULL || strcmp(type, "function") != 0 ||
        !json_is_object(function)) {
        return error_set(
            e, ERROR_FORMAT,
            "%s is not {\"type\": \"function\", \"function\": {\"name\": TEXT, \"description\": "
            "TEXT, \"parameters\": SCHEMA}}",
            what);
    }
    if (!check_keys(tool, keys, what, e) || !check_keys(function, function_keys, what, e) ||
        !check_name(json_object_get(function, "name"), what, e) ||
        !check_parameters(json_object_get(function, "parameters"), what, e)) {
        return false;
    }
    const json_t *description = json_object_get(function, "description");
    const json_t *strict = json_object_get(function, "strict");
    if (description != NULL && !json_is_string(description)) {
        return error_set(e, ERROR_FORMAT, "description of %s is no text", what);
    }
    return strict == NULL || json_is_false(strict) ||
           error_set(e, ERROR_FORMAT,
                     "strict of %s is not false: puna serve alone holds arguments to schemas",
                     what);
}

static const char *name_of(const json_t *tools, size_t i)
{
    const json_t *function = json_object_get(json_array_get(tools, i), "function");
    return json_string_value(json_object_get(function, "name"));
}

bool run_tools_check(const json_t *tools, struct error *e)
{
    size_t n = json_array_size(tools);
    if (n == 0 || n > RUN_MAX_TOOLS) {
        return error_set(e, ERROR_FORMAT, "%zu tools, expected an array of 1 to %d", n,
                         RUN_MAX_TOOLS);
    }
    for (size_t i = 0; i < n; i++) {
        char what[32];
        snprintf(what, sizeof what, "tool %zu", i + 1);
        if (!check_tool(json_array_get(tools, i), what, e)) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(name_of(tools, k), name_of(tools, i)) == 0) {
                return error_set(e, ERROR_FORMAT, "%s has the name of tool %zu, '%s'", what, k + 1,
                                 name_of(tools, i));
            }
        }
    }
    return true;
}

bool run_tools_parse(struct str json, json_t **out, struct error *e)
{
    static const char *const keys[] = {"tools", NULL};
    json_error_t why;
    json_t *root = json_loadb(json.n > 0 ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        return error_set(e, ERROR_FORMAT, "no JSON: line %d, column %d: %s", why.line, why.column,
                         json_why(&why));
    }
    json_t *tools = json_is_object(root) ? json_object_get(root, "tools") : root;
    bool ok = check_keys(root, keys, "the object", e) && run_tools_check(tools, e);
    *out = ok ? json_incref(tools) : *out;
    json_decref(root);
    return ok;
}

bool run_tools_read(const char *path, json_t **out, struct error *e)
{
    struct buf text;
    struct error why = {0};
    buf_init(&text, 2 * MAX_FILE_BYTES);
    bool ok = cmd_read_file(path, MAX_FILE_BYTES, &text, &why) &&
              run_tools_parse(buf_str(&text), out, &why);
    buf_finish(&text);
    return ok || error_set(e, why.code == ERROR_FORMAT ? ERROR_USAGE : why.code, "%s: %s", path,
                           why.text);
}

/* --- what an answer calls */

bool run_calls_init(struct run_calls *c, const struct chat_template *t, const json_t *tools,
                    struct error *e)
{
    *c = (struct run_calls){.spelling = chat_template_spelling(t)};
    buf_init(&c->text, TOOL_PARSER_MAX_OUTPUT);
    buf_init(&c->frame, TOOL_FRAME_BYTES);
    tool_output_init(&c->found);
    if (tools == NULL) {
        return true;
    }
    if (!tool_set_init(&c->set, tools, e)) {
        return false;
    }
    c->parser = tool_parser_create(t->tool_format, &c->set, e);
    if (c->parser != NULL && t->support.calls_as_text) {
        tool_parser_frame(c->parser, TOOL_FRAMES_ALL);
    }
    return c->parser != NULL;
}

void run_calls_finish(struct run_calls *c)
{
    tool_parser_destroy(c->parser);
    tool_set_finish(&c->set);
    tool_output_finish(&c->found);
    buf_finish(&c->text);
    buf_finish(&c->frame);
    mem_free(c->list);
    mem_free(c->calls);
    *c = (struct run_calls){0};
}

static bool begin_call(struct run_calls *c, const struct tool_spelling *spelling, struct error *e)
{
    char digits[TOOL_CALL_DIGITS + 1];
    if (c->n_list == c->capacity) {
        size_t capacity = c->capacity > 0 ? 2 * c->capacity : 4;
        struct run_call *grown =
            mem_resize(c->list, capacity, sizeof *grown, "calls of an answer", e);
        if (grown == NULL) {
            return false;
        }
        c->list = grown;
        c->capacity = capacity;
    }
    if (!secret_make_digits(digits, TOOL_CALL_DIGITS, e)) {
        return false;
    }
    size_t begin = c->text.n;
    spelling = spelling == c->spelling ? NULL : spelling;
    if (!tool_call_id_write(&c->text, digits, spelling, buf_str(&c->frame), e)) {
        return false;
    }
    buf_clear(&c->frame);
    c->list[c->n_list++] =
        (struct run_call){.begin = begin, .n_id = c->text.n - begin, .end = TOOL_CUT};
    return true;
}

static bool take_span(struct run_calls *c, const struct tool_span *span, struct str bytes,
                      struct error *e)
{
    if (span->kind == TOOL_CALL_FRAME) {
        return buf_append(&c->frame, bytes, e);
    }
    if (span->kind == TOOL_CALL_NAME && !begin_call(c, span->spelling, e)) {
        return false;
    }
    struct run_call *call = &c->list[c->n_list - 1];
    if (span->kind == TOOL_CALL_END) {
        call->end = span->end;
        return true;
    }
    *(span->kind == TOOL_CALL_NAME ? &call->n_name : &call->n_arguments) += bytes.n;
    return buf_append(&c->text, bytes, e);
}

/* Content to *out, calls to the list. */
static bool take_found(struct run_calls *c, struct buf *out, struct error *e)
{
    struct str rest = buf_str(&c->found.text);
    bool ok = true;
    for (size_t i = 0; ok && i < c->found.n_spans; i++) {
        const struct tool_span *span = &c->found.spans[i];
        struct str bytes = {rest.p, span->n_bytes};
        ok = span->kind == TOOL_CONTENT ? buf_append(out, bytes, e) : take_span(c, span, bytes, e);
        rest = str_skip(rest, span->n_bytes);
    }
    tool_output_clear(&c->found);
    return ok;
}

bool run_calls_push(struct run_calls *c, struct str piece, struct buf *out, struct error *e)
{
    if (c->parser == NULL) {
        return buf_append(out, piece, e);
    }
    return tool_parser_push(c->parser, piece, &c->found, e) && take_found(c, out, e);
}

bool run_calls_flush(struct run_calls *c, bool is_cut, struct buf *out, struct error *e)
{
    if (c->parser == NULL) {
        return true;
    }
    if (is_cut) {
        tool_parser_cut(c->parser);
    }
    return tool_parser_flush(c->parser, &c->found, e) && take_found(c, out, e);
}

bool run_calls_settle(struct run_calls *c, struct error *e)
{
    c->calls =
        c->n_list > 0 ? mem_alloc(c->n_list, sizeof *c->calls, "calls of an answer", e) : NULL;
    if (c->n_list > 0 && c->calls == NULL) {
        return false;
    }
    for (size_t i = 0; i < c->n_list; i++) {
        const struct run_call *call = &c->list[i];
        struct str id = {c->text.data + call->begin, call->n_id};
        struct str name = {id.p + id.n, call->n_name};
        struct str arguments = {name.p + name.n, call->n_arguments};
        if (call->end == TOOL_COMPLETE) {
            c->calls[c->n++] = (struct chat_call){.id = id, .name = name, .arguments = arguments};
            continue;
        }
        fprintf(stderr, "puna run: warning: a call of %.*s does not count, %s: ", STR_ARG(name),
                call->end == TOOL_CUT ? "the answer ended within it"
                                      : "what follows is not the form of one");
        print_escaped(stderr, arguments, SHOWN);
        putc('\n', stderr);
    }
    return true;
}
