/* api_calls.c - calls of tools in the messages of a chat, and their answers. */
#include "serve/api_json.h"
#include "serve/api_parameter.h"

#include "schema/schema_validate.h"

#include <stdio.h>

/* --- calls */

/* They are written into the prompt as an object. What a model wrote that is none, or has a number
 * beyond doubles, comes back with an answer that says so, and is a text there. Names that repeat
 * are the model's own business. */
static bool read_arguments(struct api_reader *r, const json_t *function, struct str *out)
{
    const json_t *v = NULL;
    struct api_error why = {0};
    struct json_tree json;
    if (!api_want_member(r, function, "arguments", &v)) {
        return false;
    }
    size_t before = api_enter_key(r, "arguments");
    if (!api_read_text(r, v, SIZE_MAX, out)) {
        return false;
    }
    *out = out->n > 0 ? *out : STR("{}"); /* some servers write none so */
    const struct api_limits *all = &r->options->limits;
    struct api_limits limits = api_limits_of_text(all, all->values);
    if (!api_json_check_bounds(*out, "the text", &limits, &why)) {
        return api_fail(r, API_ERROR_INVALID_VALUE, "cannot be read: %s", why.message);
    }
    if (api_json_parse(&json, *out, "the text", JSON_DECODE_INT_AS_REAL, &limits, &why)) {
        json_tree_finish(&json);
    } else if (why.kind == API_ERROR_OVERLOADED) {
        return api_fail_memory(r);
    } else if (!api_warn(r, "is no JSON object that can be read: the chat template is given it as "
                            "a text")) {
        return false;
    }
    api_leave(r, before);
    return true;
}

/* A string that is not empty. */
static bool read_label(struct api_reader *r, const json_t *object, const char *key,
                       size_t max_chars, struct str *out)
{
    struct str text = {0};
    if (!api_want_text(r, object, key, max_chars, &text)) {
        return false;
    }
    if (text.n == 0) {
        api_enter_key(r, key);
        return api_fail(r, API_ERROR_INVALID_VALUE, "is empty");
    }
    return api_copy_text(r, text, out);
}

/* Names are not checked further: a call may be of what was offered once. */
static bool read_function(struct api_reader *r, const json_t *v, struct chat_call *out)
{
    /* null, where the Python client keeps what it would have made of the arguments */
    static const char *const keys[] = {"name", "arguments", "parsed_arguments", NULL};
    if (!api_check_keys(r, v, keys) || !read_label(r, v, "name", API_MAX_NAME_CHARS, &out->name) ||
        !read_arguments(r, v, &out->arguments)) {
        return false;
    }
    api_enter_key(r, keys[2]);
    if (api_member(v, keys[2]) != NULL) {
        return api_fail(r, API_ERROR_UNSUPPORTED_PARAMETER, "is not null");
    }
    return true;
}

static bool read_call(struct api_reader *r, const json_t *v, struct chat_call *out)
{
    /* `index` comes from who keeps the calls of a stream as they came */
    static const char *const keys[] = {"id", "type", "function", "index", NULL};
    static const char *const types[] = {"function", NULL};
    const json_t *function = NULL;
    size_t i = 0;
    if (!api_want_object(r, v) || !read_label(r, v, "id", API_MAX_CALL_ID_CHARS, &out->id) ||
        !api_want_choice(r, v, "type", types, &i) || !api_check_keys(r, v, keys) ||
        !api_want_member(r, v, "function", &function)) {
        return false;
    }
    size_t before = api_enter_key(r, "function");
    if (!read_function(r, function, out)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static const struct chat_call *find_call(const struct chat_call *calls, size_t n, struct str id)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(calls[i].id, id)) {
            return &calls[i];
        }
    }
    return NULL;
}

static bool read_calls(struct api_reader *r, const json_t *v, struct chat_message *out)
{
    size_t n = json_array_size(v);
    struct chat_call *calls = api_alloc(r, n, sizeof *calls);
    for (size_t i = 0; i < n; i++) {
        size_t before = api_enter_index(r, i);
        if (calls == NULL || !read_call(r, json_array_get(v, i), &calls[i])) {
            return false;
        }
        if (find_call(calls, i, calls[i].id) != NULL) {
            api_enter_key(r, "id");
            return api_fail(r, API_ERROR_INVALID_VALUE, "is another call's of this message, too");
        }
        api_leave(r, before);
    }
    out->calls = calls;
    out->n_calls = n;
    return true;
}

bool api_read_calls(struct api_reader *r, const json_t *message, struct chat_message *out)
{
    const json_t *several = api_member(message, "tool_calls");
    const json_t *one = api_member(message, "function_call");
    size_t before = api_enter_key(r, "tool_calls");
    if (several != NULL &&
        (!api_want_array(r, several, 0, API_MAX_CALLS) || !read_calls(r, several, out))) {
        return false;
    }
    api_leave(r, before);
    api_enter_key(r, "function_call");
    if (one != NULL && out->n_calls > 0) {
        return api_fail(r, API_ERROR_INVALID_VALUE,
                        "is the old form of tool_calls, which are given");
    }
    struct chat_call *call = one != NULL ? api_alloc(r, 1, sizeof *call) : NULL;
    if (one != NULL && (call == NULL || !read_function(r, one, call))) {
        return false;
    }
    if (call != NULL) {
        out->calls = call;
        out->n_calls = 1;
    }
    api_leave(r, before);
    return true;
}

/* --- answers */

/* The calls of messages[at] have their answers right behind it, in any order, and nothing else has.
 * They get the order of the calls: most templates write no id, so that their places alone tell
 * which is whose. Sets *out_n to how many messages there are. */
static bool check_turn(struct api_reader *r, struct chat_message *messages, size_t n, size_t at,
                       size_t *out_n)
{
    const struct chat_message *m = &messages[at];
    const struct chat_call *waiting = NULL;
    struct chat_message answers[API_MAX_CALLS] = {0}; /* (n_calls) each with a call_id, if given */
    size_t i = at + 1, n_sorted = 0;
    for (; i < n && messages[i].role == CHAT_TOOL && messages[i].call_id.n > 0; i++) {
        const struct chat_call *call = find_call(m->calls, m->n_calls, messages[i].call_id);
        if (call == NULL || answers[call - m->calls].call_id.n > 0) {
            api_enter_index(r, i);
            api_enter_key(r, "tool_call_id");
            return api_fail(r, API_ERROR_INVALID_VALUE, "is '%.*s', %s messages[%zu]",
                            STR_ARG(str_shown(messages[i].call_id)),
                            call == NULL ? "which is no call of" : "which has an answer already of",
                            at);
        }
        answers[call - m->calls] = messages[i];
    }
    for (size_t k = 0; k < m->n_calls; k++) {
        if (answers[k].call_id.n > 0) {
            messages[at + 1 + n_sorted++] = answers[k];
        } else if (waiting == NULL) {
            waiting = &m->calls[k];
        }
    }
    *out_n = i - at;
    if (waiting == NULL || (i == n && r->request->endpoint == API_APPLY_TEMPLATE)) {
        return true;
    }
    api_enter_index(r, i < n ? i : at);
    api_enter_key(r, i < n ? "role" : "tool_calls");
    return api_fail(r, API_ERROR_INVALID_VALUE,
                    "%s call '%.*s' of messages[%zu] has no answer: messages of role 'tool' with "
                    "the tool_call_id of each call follow it",
                    i < n ? "comes too soon:" : "cannot be last:", STR_ARG(str_shown(waiting->id)),
                    at);
}

bool api_check_answers(struct api_reader *r, struct chat_message *messages, size_t n)
{
    size_t n_of_turn = 1;
    for (size_t i = 0; i < n; i += n_of_turn) {
        const struct chat_message *m = &messages[i];
        n_of_turn = 1;
        if (m->role == CHAT_TOOL && m->call_id.n > 0) {
            api_enter_index(r, i);
            api_enter_key(r, "tool_call_id");
            return api_fail(r, API_ERROR_INVALID_VALUE,
                            "is '%.*s', but no message with tool_calls is in front",
                            STR_ARG(str_shown(m->call_id)));
        }
        /* a function_call has no id that an answer could name */
        if (m->n_calls > 0 && m->calls[0].id.n > 0 && !check_turn(r, messages, n, i, &n_of_turn)) {
            return false;
        }
    }
    return true;
}

bool api_check_function_answer(struct api_reader *r, const struct chat_message *messages, size_t i,
                               struct str name)
{
    const struct chat_message *before = i > 0 ? &messages[i - 1] : NULL;
    bool is_call = before != NULL && before->n_calls > 0 && before->calls[0].id.n == 0;
    if (is_call && str_eq(before->calls[0].name, name)) {
        return true;
    }
    api_enter_key(r, "name");
    return is_call ? api_fail(r, API_ERROR_INVALID_VALUE,
                              "is '%.*s', but the function_call of messages[%zu] is of '%.*s'",
                              STR_ARG(str_shown(name)), i - 1,
                              STR_ARG(str_shown(before->calls[0].name)))
                   : api_fail(r, API_ERROR_INVALID_VALUE,
                              "is '%.*s', but no message with a function_call is in front",
                              STR_ARG(str_shown(name)));
}

/* --- arguments that a model has written */

bool api_arguments_fit(const json_t *function, struct str arguments, char why[API_VERDICT_BYTES])
{
    static const struct schema_limits limits = {.steps = 100000}; /* the I/O thread does it */
    const json_t *schema = api_member(function, "parameters");
    struct schema_verdict verdict = {.outcome = SCHEMA_VALID};
    struct api_limits sizes;
    struct json_tree json;
    struct api_error unread = {0};
    api_limits_default(&sizes);
    sizes = api_limits_of_text(&sizes, sizes.values);
    if (schema == NULL) {
        return true;
    }
    /* where an integer has more than 64 bits, all are read as real numbers */
    if (!api_json_parse(&json, arguments, "the text", 0, &sizes, NULL) &&
        !api_json_parse(&json, arguments, "the text", JSON_DECODE_INT_AS_REAL, &sizes, &unread)) {
        snprintf(why, API_VERDICT_BYTES, "cannot be judged: %.*s", SCHEMA_REASON_BYTES,
                 unread.message);
        return false;
    }
    schema_validate(schema, json.root, &limits, &verdict);
    json_tree_finish(&json);
    snprintf(why, API_VERDICT_BYTES, "are not what the tool's parameters say: %s", verdict.text);
    return verdict.outcome != SCHEMA_INVALID;
}
