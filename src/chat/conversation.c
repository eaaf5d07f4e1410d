/* conversation.c - a growable list of messages, to and from JSON. */
#include "chat/conversation.h"

#include "base/json_why.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>

static void free_text(struct str s)
{
    mem_free((void *)s.p);
}

static void free_message(struct chat_message *m)
{
    for (size_t i = 0; i < m->n_calls; i++) {
        free_text(m->calls[i].id);
        free_text(m->calls[i].name);
        free_text(m->calls[i].arguments);
    }
    mem_free((void *)m->calls);
    free_text(m->content);
    free_text(m->call_id);
}

void conversation_truncate(struct conversation *c, size_t n)
{
    while (c->n > n) {
        free_message(&c->messages[--c->n]);
    }
}

void conversation_finish(struct conversation *c)
{
    conversation_truncate(c, 0);
    mem_free(c->messages);
    json_decref(c->tools);
    *c = (struct conversation){0};
}

/* No text stays none. */
static bool copy_text(struct str text, struct str *out, struct error *e)
{
    if (text.p == NULL) {
        return true;
    }
    char *copy = mem_alloc(text.n, 1, "message", e);
    if (copy == NULL) {
        return false;
    }
    if (text.n > 0) {
        memcpy(copy, text.p, text.n);
    }
    *out = (struct str){copy, text.n};
    return true;
}

/* *out is zeroed, and to be freed on failure, too. */
static bool copy_message(const struct chat_message *m, struct chat_message *out, struct error *e)
{
    struct chat_call *calls = NULL;
    out->role = m->role;
    if (m->n_calls > 0 && (calls = mem_alloc(m->n_calls, sizeof *calls, "message", e)) == NULL) {
        return false;
    }
    out->calls = calls;
    out->n_calls = m->n_calls;
    for (size_t i = 0; i < m->n_calls; i++) {
        if (!copy_text(m->calls[i].id, &calls[i].id, e) ||
            !copy_text(m->calls[i].name, &calls[i].name, e) ||
            !copy_text(m->calls[i].arguments, &calls[i].arguments, e)) {
            return false;
        }
    }
    return copy_text(m->content, &out->content, e) && copy_text(m->call_id, &out->call_id, e);
}

static bool make_room(struct conversation *c, struct error *e)
{
    if (c->n < c->capacity) {
        return true;
    }
    size_t capacity = c->capacity > 0 ? c->capacity * 2 : 8;
    struct chat_message *moved =
        mem_resize(c->messages, capacity, sizeof *moved, "list of messages", e);
    if (moved == NULL) {
        return false;
    }
    c->messages = moved;
    c->capacity = capacity;
    return true;
}

bool conversation_add_message(struct conversation *c, const struct chat_message *message,
                              struct error *e)
{
    struct chat_message copy = {0};
    if (!make_room(c, e) || !copy_message(message, &copy, e)) {
        free_message(&copy);
        return false;
    }
    c->messages[c->n++] = copy;
    return true;
}

bool conversation_add(struct conversation *c, enum chat_role role, struct str content,
                      struct error *e)
{
    return conversation_add_message(c, &(struct chat_message){.role = role, .content = content}, e);
}

struct chat_input conversation_input(const struct conversation *c, bool add_generation_prompt)
{
    return (struct chat_input){.messages = c->messages,
                               .n = c->n,
                               .tools = c->tools,
                               .add_generation_prompt = add_generation_prompt};
}

bool conversation_set_system(struct conversation *c, struct str content, struct error *e)
{
    bool has_system = c->n > 0 && c->messages[0].role == CHAT_SYSTEM;
    struct chat_message m = {.role = CHAT_SYSTEM};
    if (content.n > 0 && (!make_room(c, e) || !copy_text(content, &m.content, e))) {
        return false;
    }
    if (has_system) {
        free_message(&c->messages[0]);
        memmove(c->messages, c->messages + 1, --c->n * sizeof *c->messages);
    }
    if (content.n > 0) {
        memmove(c->messages + 1, c->messages, c->n++ * sizeof *c->messages);
        c->messages[0] = m;
    }
    return true;
}

/* --- JSON */

static struct str view(const json_t *text)
{
    return (struct str){json_string_value(text), json_string_length(text)};
}

/* A member that is null is none: clients write all that a message may have (model_dump()). */
static json_t *member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* Members other than the known ones (NULL ends them), by what has them. */
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
        if (*k == NULL && !json_is_null(value)) {
            return error_set(e, ERROR_FORMAT, "%s has the unknown key '%s'", what, key);
        }
    }
    return true;
}

static bool parse_call(const json_t *item, struct chat_call *out, const char *what, struct error *e)
{
    static const char *const keys[] = {"id", "type", "function", NULL};
    static const char *const function_keys[] = {"name", "arguments", NULL};
    const json_t *function = member(item, "function");
    const json_t *id = member(item, "id");
    const json_t *name = member(function, "name");
    const json_t *arguments = member(function, "arguments");
    if (!check_keys(item, keys, what, e) || !check_keys(function, function_keys, what, e)) {
        return false;
    }
    if ((id != NULL && !json_is_string(id)) || !json_is_string(name) ||
        !json_is_string(arguments)) {
        return error_set(e, ERROR_FORMAT,
                         "%s has a call that is not {\"id\": TEXT, \"type\": \"function\", "
                         "\"function\": {\"name\": TEXT, \"arguments\": TEXT}}",
                         what);
    }
    *out = (struct chat_call){.id = view(id), .name = view(name), .arguments = view(arguments)};
    return true;
}

/* The calls are views of the JSON, in a block for the caller to free; NULL when there are none. */
static bool parse_calls(const json_t *list, struct chat_call **out, size_t *out_n, const char *what,
                        struct error *e)
{
    size_t n = json_array_size(list);
    if (list == NULL) {
        return true;
    }
    if (n == 0) {
        return error_set(e, ERROR_FORMAT, "tool_calls of %s is no array of calls", what);
    }
    struct chat_call *calls = mem_alloc(n, sizeof *calls, "calls of a message", e);
    for (size_t i = 0; calls != NULL && i < n; i++) {
        if (!parse_call(json_array_get(list, i), &calls[i], what, e)) {
            mem_free(calls);
            return false;
        }
    }
    *out = calls;
    *out_n = n;
    return calls != NULL;
}

static bool parse_message(struct conversation *c, const json_t *item, size_t number,
                          struct error *e)
{
    static const char *const keys[] = {"role", "content", "tool_calls", "tool_call_id", NULL};
    char what[40];
    snprintf(what, sizeof what, "message %zu", number);
    if (!json_is_object(item)) {
        return error_set(e, ERROR_FORMAT, "%s is no object", what);
    }
    if (!check_keys(item, keys, what, e)) {
        return false;
    }
    const json_t *role = member(item, "role");
    const json_t *content = member(item, "content");
    const json_t *call_id = member(item, "tool_call_id");
    const json_t *list = member(item, "tool_calls");
    struct chat_message m = {0};
    if (!json_is_string(role) || !chat_role_parse(view(role), &m.role)) {
        return error_set(e, ERROR_FORMAT, "role of %s is not system, user, assistant or tool",
                         what);
    }
    if ((list != NULL && m.role != CHAT_ASSISTANT) || (call_id != NULL && m.role != CHAT_TOOL)) {
        return error_set(e, ERROR_FORMAT, "%s is from %s, but has %s", what, chat_role_name(m.role),
                         list != NULL ? "tool_calls" : "a tool_call_id");
    }
    if (!json_is_string(content) && (list == NULL || content != NULL)) {
        return error_set(e, ERROR_FORMAT, "content of %s is no string", what);
    }
    if (call_id != NULL && !json_is_string(call_id)) {
        return error_set(e, ERROR_FORMAT, "tool_call_id of %s is no string", what);
    }
    struct chat_call *calls = NULL;
    if (!parse_calls(list, &calls, &m.n_calls, what, e)) {
        return false;
    }
    m.calls = calls;
    m.content = view(content);
    m.call_id = view(call_id);
    bool ok = conversation_add_message(c, &m, e);
    mem_free(calls);
    return ok;
}

static bool parse_messages(struct conversation *c, const json_t *root, struct error *e)
{
    static const char *const keys[] = {"messages", "tools", NULL};
    const json_t *list = member(root, "messages");
    json_t *tools = member(root, "tools");
    if (!json_is_array(list)) {
        return error_set(e, ERROR_FORMAT, "a conversation is an object with the array 'messages'");
    }
    if (!check_keys(root, keys, "the conversation", e)) {
        return false;
    }
    if (tools != NULL && !json_is_array(tools)) {
        return error_set(e, ERROR_FORMAT, "tools of the conversation is no array");
    }
    c->tools = json_array_size(tools) > 0 ? json_incref(tools) : NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!parse_message(c, json_array_get(list, i), i + 1, e)) {
            return false;
        }
    }
    return true;
}

bool conversation_parse(struct conversation *c, struct str json, struct error *e)
{
    json_error_t why;
    json_t *root =
        json_loadb(json.n > 0 ? json.p : "", json.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (root == NULL) {
        return error_set(e, ERROR_FORMAT, "not JSON: line %d, column %d: %s", why.line, why.column,
                         json_why(&why));
    }
    struct conversation parsed = {0};
    bool ok = parse_messages(&parsed, root, e);
    json_decref(root);
    if (!ok) {
        conversation_finish(&parsed);
        return false;
    }
    conversation_finish(c);
    *c = parsed;
    return true;
}

static int append_chunk(const char *text, size_t n, void *argument)
{
    return buf_append(argument, (struct str){text, n}, NULL) ? 0 : -1;
}

/* NULL for no text; *ok is false when it is not UTF-8. */
static json_t *text_json(struct str s, bool *ok)
{
    json_t *text = s.p != NULL ? json_stringn(s.p, s.n) : json_null();
    *ok = *ok && text != NULL;
    return text;
}

static json_t *calls_json(const struct chat_message *m, bool *ok)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_calls; i++) {
        const struct chat_call *call = &m->calls[i];
        json_t *item =
            json_pack("{s:s,s:{s:o,s:o}}", "type", "function", "function", "name",
                      text_json(call->name, ok), "arguments", text_json(call->arguments, ok));
        if (call->id.p != NULL) { /* in old forms none has one */
            *ok = json_object_set_new(item, "id", text_json(call->id, ok)) == 0 && *ok;
        }
        *ok = json_array_append_new(list, item) == 0 && *ok;
    }
    return list;
}

static bool print_messages(const struct conversation *c, json_t *list, struct error *e)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct chat_message *m = &c->messages[i];
        bool ok = true;
        json_t *item = json_pack("{s:s,s:o}", "role", chat_role_name(m->role), "content",
                                 text_json(m->content, &ok));
        if (ok && m->n_calls > 0) {
            json_object_set_new(item, "tool_calls", calls_json(m, &ok));
        }
        if (ok && m->call_id.n > 0) {
            json_object_set_new(item, "tool_call_id", text_json(m->call_id, &ok));
        }
        if (!ok) {
            json_decref(item);
            return error_set(e, ERROR_FORMAT, "message %zu is not UTF-8", i + 1);
        }
        if (json_array_append_new(list, item) != 0) {
            return error_set(e, ERROR_MEMORY, "out of memory: message %zu", i + 1);
        }
    }
    return true;
}

bool conversation_print(const struct conversation *c, struct buf *out, struct error *e)
{
    json_t *list = json_array();
    json_t *root = json_pack("{s:O,s:O*}", "messages", list, "tools", c->tools);
    size_t n_before = out->n;
    bool ok = root != NULL ? print_messages(c, list, e)
                           : error_set(e, ERROR_MEMORY, "out of memory: conversation as JSON");
    if (ok && (json_dump_callback(root, append_chunk, out, JSON_INDENT(2)) != 0 ||
               !buf_append_byte(out, '\n', NULL))) {
        ok = error_set(e, ERROR_MEMORY, "out of memory: conversation as JSON");
    }
    json_decref(list);
    json_decref(root);
    if (!ok) {
        out->n = n_before;
    }
    return ok;
}
