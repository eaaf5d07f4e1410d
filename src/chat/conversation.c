/* conversation.c - a growable list of messages, to and from JSON. */
#include "chat/conversation.h"

#include "base/mem.h"

#include <jansson.h>

void conversation_truncate(struct conversation *c, size_t n)
{
    while (c->n > n) {
        mem_free((void *)c->messages[--c->n].content.p);
    }
}

void conversation_finish(struct conversation *c)
{
    conversation_truncate(c, 0);
    mem_free(c->messages);
    *c = (struct conversation){0};
}

static bool copy_text(struct str content, struct str *out, struct error *e)
{
    char *copy = mem_alloc(content.n, 1, "message", e);
    if (copy == NULL) {
        return false;
    }
    if (content.n > 0) {
        memcpy(copy, content.p, content.n);
    }
    *out = (struct str){copy, content.n};
    return true;
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

bool conversation_add(struct conversation *c, enum chat_role role, struct str content,
                      struct error *e)
{
    struct chat_message m = {.role = role};
    if (!make_room(c, e) || !copy_text(content, &m.content, e)) {
        return false;
    }
    c->messages[c->n++] = m;
    return true;
}

bool conversation_set_system(struct conversation *c, struct str content, struct error *e)
{
    bool has_system = c->n > 0 && c->messages[0].role == CHAT_SYSTEM;
    struct chat_message m = {.role = CHAT_SYSTEM};
    if (content.n > 0 && (!make_room(c, e) || !copy_text(content, &m.content, e))) {
        return false;
    }
    if (has_system) {
        mem_free((void *)c->messages[0].content.p);
        memmove(c->messages, c->messages + 1, --c->n * sizeof *c->messages);
    }
    if (content.n > 0) {
        memmove(c->messages + 1, c->messages, c->n++ * sizeof *c->messages);
        c->messages[0] = m;
    }
    return true;
}

/* --- JSON */

static bool parse_message(struct conversation *c, const json_t *item, size_t number,
                          struct error *e)
{
    const char *key;
    json_t *value;
    if (!json_is_object(item)) {
        return error_set(e, ERROR_FORMAT, "message %zu is no object", number);
    }
    json_object_foreach((json_t *)item, key, value)
    {
        if (strcmp(key, "role") != 0 && strcmp(key, "content") != 0) {
            return error_set(e, ERROR_FORMAT, "message %zu has the unknown key '%s'", number, key);
        }
    }
    const json_t *role_text = json_object_get(item, "role");
    const json_t *content = json_object_get(item, "content");
    enum chat_role role = CHAT_USER;
    if (!json_is_string(role_text) ||
        !chat_role_parse((struct str){json_string_value(role_text), json_string_length(role_text)},
                         &role)) {
        return error_set(e, ERROR_FORMAT,
                         "role of message %zu is not system, user, assistant or tool", number);
    }
    if (!json_is_string(content)) {
        return error_set(e, ERROR_FORMAT, "content of message %zu is no string", number);
    }
    struct str text = {json_string_value(content), json_string_length(content)};
    return conversation_add(c, role, text, e);
}

static bool parse_messages(struct conversation *c, const json_t *root, struct error *e)
{
    const char *key;
    json_t *value;
    const json_t *list = json_object_get(root, "messages");
    if (!json_is_array(list)) {
        return error_set(e, ERROR_FORMAT, "a conversation is an object with the array 'messages'");
    }
    json_object_foreach((json_t *)root, key, value)
    {
        if (strcmp(key, "messages") != 0) {
            return error_set(e, ERROR_FORMAT, "the conversation has the unknown key '%s'", key);
        }
    }
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
                         why.text);
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

static bool print_messages(const struct conversation *c, json_t *list, struct error *e)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct chat_message *m = &c->messages[i];
        json_t *content = json_stringn(m->content.p, m->content.n);
        if (content == NULL) {
            return error_set(e, ERROR_FORMAT, "message %zu is not UTF-8", i + 1);
        }
        json_t *item = json_pack("{s:s,s:o}", "role", chat_role_name(m->role), "content", content);
        if (json_array_append_new(list, item) != 0) {
            return error_set(e, ERROR_MEMORY, "out of memory: message %zu", i + 1);
        }
    }
    return true;
}

bool conversation_print(const struct conversation *c, struct buf *out, struct error *e)
{
    json_t *list = json_array();
    json_t *root = json_pack("{s:O}", "messages", list);
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
