/* api_messages.c - the messages of a chat: roles, contents, and what only other models can read;
 * calls of tools are read by api_calls.c. */
#include "serve/api_parameter.h"

/* --- contents */

/* Kinds of parts that are known, and why they are refused; text and refusal are read. */
static bool refuse_part(struct api_reader *r, const char *type)
{
    static const char *const known[] = {"image_url", "input_audio", "file", NULL};
    api_enter_key(r, "type");
    for (size_t i = 0; known[i] != NULL; i++) {
        if (strcmp(type, known[i]) == 0) {
            return api_fail(r, API_ERROR_UNSUPPORTED_VALUE, "is '%s': the model reads text alone",
                            known[i]);
        }
    }
    return api_fail(r, API_ERROR_INVALID_VALUE, "is '%.64s', expected 'text'", type);
}

/* A hint for the cache of another server: ours finds every prefix by itself. */
static bool read_breakpoint(struct api_reader *r, const json_t *part)
{
    size_t before = api_enter_key(r, "prompt_cache_breakpoint");
    const json_t *v = api_member(part, "prompt_cache_breakpoint");
    if (v != NULL && (!api_want_object(r, v) ||
                      !api_warn(r, "has no effect: every prefix of the prompt is cached"))) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static bool view_part(struct api_reader *r, const json_t *part, struct str *out)
{
    static const char *const keys[] = {"type", "text", "refusal", "prompt_cache_breakpoint", NULL};
    if (!api_want_object(r, part)) {
        return false;
    }
    const json_t *type = api_member(part, "type");
    size_t before = api_enter_key(r, "type");
    struct str name = {0};
    if (type == NULL) {
        return api_fail(r, API_ERROR_MISSING_PARAMETER, "is missing");
    }
    if (!api_view_text(r, type, SIZE_MAX, &name)) {
        return false;
    }
    api_leave(r, before);
    bool is_text = str_eq(name, STR("text"));
    if (!is_text && !str_eq(name, STR("refusal"))) {
        return refuse_part(r, name.p);
    }
    if (!api_check_keys(r, part, keys) || !read_breakpoint(r, part)) {
        return false;
    }
    const json_t *text = api_member(part, is_text ? "text" : "refusal");
    api_enter_key(r, is_text ? "text" : "refusal");
    if (text == NULL) {
        return api_fail(r, API_ERROR_MISSING_PARAMETER, "is missing");
    }
    if (!api_view_text(r, text, SIZE_MAX, out)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static bool join_parts(struct api_reader *r, const json_t *list, struct str *out)
{
    size_t n_parts = json_array_size(list);
    struct str *parts = api_alloc(r, n_parts, sizeof *parts);
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_parts && parts != NULL; i++) {
        size_t before = api_enter_index(r, i);
        if (!view_part(r, json_array_get(list, i), &parts[i])) {
            return false;
        }
        api_leave(r, before);
        n_bytes += parts[i].n + (i > 0);
    }
    char *joined = parts != NULL ? api_alloc(r, n_bytes, 1) : NULL;
    if (joined == NULL) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        if (i > 0) {
            joined[n++] = '\n';
        }
        if (parts[i].n > 0) {
            memcpy(joined + n, parts[i].p, parts[i].n);
        }
        n += parts[i].n;
    }
    *out = (struct str){joined, n};
    return true;
}

bool api_read_content(struct api_reader *r, const json_t *v, struct str *out)
{
    if (json_is_string(v)) {
        return api_read_text(r, v, SIZE_MAX, out);
    }
    if (!json_is_array(v)) {
        return api_fail(r, API_ERROR_INVALID_TYPE, "is neither a string nor an array of parts");
    }
    return api_want_array(r, v, 1, API_MAX_PARTS) && join_parts(r, v, out);
}

/* --- messages */

enum role { ROLE_DEVELOPER, ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLE_FUNCTION };

static bool read_role(struct api_reader *r, const json_t *message, enum role *out)
{
    static const char *const names[] = {"developer", "system",   "user", "assistant",
                                        "tool",      "function", NULL};
    const json_t *v = api_member(message, "role");
    size_t before = api_enter_key(r, "role");
    size_t role = 0;
    if (v == NULL) {
        return api_fail(r, API_ERROR_MISSING_PARAMETER, "is missing");
    }
    if (!api_read_choice(r, v, names, &role)) {
        return false;
    }
    api_leave(r, before);
    *out = (enum role)role;
    return true;
}

/* The keys that a role may have; answers of the official clients come back as messages with those
 * of an assistant. */
static bool check_message_keys(struct api_reader *r, const json_t *message, enum role role)
{
    static const char *const plain[] = {"role", "content", "name", NULL};
    static const char *const assistant[] = {
        "role",          "content", "name",        "refusal", "tool_calls",
        "function_call", "audio",   "annotations", "parsed",  NULL};
    static const char *const tool[] = {"role", "content", "name", "tool_call_id", NULL};
    return api_check_keys(r, message,
                          role == ROLE_ASSISTANT ? assistant
                          : role == ROLE_TOOL    ? tool
                                                 : plain);
}

static bool read_participant(struct api_reader *r, const json_t *message)
{
    const json_t *v = api_member(message, "name");
    size_t before = api_enter_key(r, "name");
    struct str name = {0};
    if (v != NULL && (!api_view_text(r, v, API_MAX_NAME_CHARS, &name) ||
                      !api_warn(r, "has no effect: chat templates write no names"))) {
        return false;
    }
    api_leave(r, before);
    return true;
}

/* null and [] mean "none", which is what answers of this server have. */
static bool refuse_unless_empty(struct api_reader *r, const json_t *message, const char *key,
                                bool is_list)
{
    const json_t *v = api_member(message, key);
    size_t before = api_enter_key(r, key);
    if (v == NULL || (is_list && json_is_array(v) && json_array_size(v) == 0)) {
        api_leave(r, before);
        return true;
    }
    if (!(is_list ? api_want_array(r, v, 0, API_MAX_PARTS) : api_want_object(r, v))) {
        return false;
    }
    return api_fail(r, API_ERROR_UNSUPPORTED_PARAMETER, "is not supported yet");
}

static bool read_assistant(struct api_reader *r, const json_t *message, struct chat_message *out)
{
    const json_t *content = api_member(message, "content");
    const json_t *refusal = api_member(message, "refusal");
    if (!refuse_unless_empty(r, message, "audio", false) ||
        !refuse_unless_empty(r, message, "parsed", false) ||
        !refuse_unless_empty(r, message, "annotations", true) || !api_read_calls(r, message, out)) {
        return false;
    }
    /* what the model said is then its refusal */
    const char *key = content == NULL && refusal != NULL ? "refusal" : "content";
    size_t before = api_enter_key(r, "refusal");
    struct str unread = {0};
    if (refusal != NULL &&
        (!api_view_text(r, refusal, SIZE_MAX, &unread) ||
         (content != NULL && !api_warn(r, "has no effect: the message has content")))) {
        return false;
    }
    api_leave(r, before);
    if (content == NULL && refusal == NULL && out->n_calls > 0) {
        return true;
    }
    api_enter_key(r, key);
    if (content == NULL && refusal == NULL) {
        return api_fail(r, API_ERROR_MISSING_PARAMETER,
                        "is missing or null, and the message has neither refusal nor tool_calls");
    }
    if (!api_read_content(r, content != NULL ? content : refusal, &out->content)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

static bool read_plain(struct api_reader *r, const json_t *message, struct str *out)
{
    const json_t *content = json_object_get(message, "content");
    size_t before = api_enter_key(r, "content");
    if (content == NULL) {
        return api_fail(r, API_ERROR_MISSING_PARAMETER, "is missing");
    }
    if (!api_read_content(r, content, out)) {
        return false;
    }
    api_leave(r, before);
    return true;
}

/* What a tool answered, and which call. A function's answer is the same in a form of old: a name
 * is all it has, and it may be null, which says nothing. */
static bool read_tool_answer(struct api_reader *r, const json_t *message, enum role role,
                             struct chat_message *messages, size_t i)
{
    struct chat_message *out = &messages[i];
    const char *key = role == ROLE_TOOL ? "tool_call_id" : "name";
    size_t max_chars = role == ROLE_TOOL ? API_MAX_CALL_ID_CHARS : API_MAX_NAME_CHARS;
    struct str id = {0};
    if (!api_want_text(r, message, key, max_chars, &id)) {
        return false;
    }
    if (id.n == 0) {
        api_enter_key(r, key);
        return api_fail(r, API_ERROR_INVALID_VALUE, "is empty");
    }
    bool is_null = role == ROLE_FUNCTION && json_is_null(json_object_get(message, "content"));
    return (role == ROLE_FUNCTION
                ? api_check_function_answer(r, messages, i, id)
                : api_copy_text(r, id, &out->call_id) && read_participant(r, message)) &&
           (is_null ? api_copy_text(r, STR(""), &out->content)
                    : read_plain(r, message, &out->content));
}

/* Into messages[i]; those in front are read. */
static bool read_message(struct api_reader *r, const json_t *v, struct chat_message *messages,
                         size_t i)
{
    enum role role = ROLE_USER;
    struct chat_message *out = &messages[i];
    if (!api_want_object(r, v) || !read_role(r, v, &role) || !check_message_keys(r, v, role)) {
        return false;
    }
    static const enum chat_role roles[] = {CHAT_SYSTEM,    CHAT_SYSTEM, CHAT_USER,
                                           CHAT_ASSISTANT, CHAT_TOOL,   CHAT_TOOL};
    out->role = roles[role];
    if (role == ROLE_TOOL || role == ROLE_FUNCTION) {
        return read_tool_answer(r, v, role, messages, i);
    }
    return read_participant(r, v) &&
           (role == ROLE_ASSISTANT ? read_assistant(r, v, out) : read_plain(r, v, &out->content));
}

bool api_read_messages(struct api_reader *r, const json_t *v)
{
    if (!api_want_array(r, v, 1, r->options->limits.messages)) {
        return false;
    }
    size_t n = json_array_size(v);
    struct chat_message *messages = api_alloc(r, n, sizeof *messages);
    if (messages == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t before = api_enter_index(r, i);
        if (!read_message(r, json_array_get(v, i), messages, i)) {
            return false;
        }
        api_leave(r, before);
    }
    r->request->generation.messages = messages;
    r->request->generation.n_messages = n;
    return api_check_answers(r, messages, n);
}
