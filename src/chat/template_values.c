/* template_values.c - what a template sees of a conversation, and the text that it makes of it. */
#include "base/clock.h"
#include "base/json_tree.h"
#include "base/mem.h"
#include "chat/template_internal.h"
#include "chat/tool_frame.h"

#include <time.h>

/* The one that Llama 3.1's published template falls back to. The same conversation gives the same
 * tokens every day. */
const struct tm chat_fixed_day = {
    .tm_mday = 26, .tm_mon = 6, .tm_year = 124, .tm_wday = 5, .tm_yday = 207};

/* The values of one rendering. The first failure makes the rest do nothing. */
struct maker {
    const struct chat_template *t;
    bool told_tools;      /* a system message of ours tells of the tools */
    bool keeps_spellings; /* that ids of calls name */
    struct jinja_arena arena;
    struct error *e;
    bool ok;
};

static struct jinja_value text_of(struct maker *m, struct str text, enum jinja_origin origin)
{
    struct jinja_value v = jinja_none();
    m->ok = m->ok && jinja_string_of(&m->arena, text, origin, &v, m->e);
    return v;
}

static struct jinja_value new_dict(struct maker *m)
{
    struct jinja_value v = jinja_none();
    m->ok = m->ok && jinja_dict_create(&m->arena, &v, m->e);
    return v;
}

static struct jinja_value new_list(struct maker *m)
{
    struct jinja_value v = jinja_none();
    m->ok = m->ok && jinja_list_create(&m->arena, &v, m->e);
    return v;
}

static void put(struct maker *m, struct jinja_value dict, const char *key, struct jinja_value value)
{
    m->ok = m->ok && jinja_dict_put(&m->arena, dict, str_from(key), JINJA_TEMPLATE, value, m->e);
}

static void push(struct maker *m, struct jinja_value list, struct jinja_value item)
{
    m->ok = m->ok && jinja_list_push(&m->arena, list, item, m->e);
}

static struct jinja_value from_json(struct maker *m, const json_t *json)
{
    struct jinja_value v = jinja_none();
    m->ok = m->ok && jinja_from_json(&m->arena, json, JINJA_DATA, &v, m->e);
    return v;
}

/* --- messages */

/* What a message says. */
static struct jinja_value content_of(struct maker *m, struct jinja_value said)
{
    if (!m->t->shape.content_parts) {
        return said;
    }
    struct jinja_value list = new_list(m), part = new_dict(m);
    put(m, part, "type", text_of(m, STR("text"), JINJA_DATA));
    put(m, part, "text", said);
    push(m, list, part);
    return list;
}

/* As JSON; its root is NULL when it is none, or has a number beyond doubles. Integers of more than
 * 64 bits are only spelled as they came: what else a template does with one sees a real number, and
 * then with all of that object. */
static bool read_arguments(struct json_tree *out, struct str text, struct error *e)
{
    json_error_t why;
    struct json_counts counts = json_tree_count(text);
    bool ok = json_tree_parse(out, text, &counts, 0, &why);
    if (ok && out->root == NULL && json_error_code(&why) == json_error_numeric_overflow) {
        json_tree_finish(out);
        ok = json_tree_parse(out, text, &counts, JSON_DECODE_INT_AS_REAL, &why);
    }
    return ok || error_set(e, ERROR_MEMORY, "out of memory: arguments of a call");
}

/* The arguments of a call: an object that tojson writes as it came; a text where they are none. */
static struct jinja_value arguments_of(struct maker *m, const struct chat_call *call)
{
    struct jinja_value v = jinja_none();
    struct json_tree tree;
    if (m->t->shape.arguments_text) {
        return text_of(m, call->arguments, JINJA_DATA);
    }
    m->ok = m->ok && read_arguments(&tree, call->arguments, m->e);
    if (!m->ok) {
        return v;
    }
    if (!json_is_object(tree.root)) {
        v = text_of(m, call->arguments, JINJA_DATA);
    } else {
        v = from_json(m, tree.root);
        m->ok = m->ok && jinja_dict_spell(&m->arena, v, call->arguments, m->e);
    }
    json_tree_finish(&tree);
    return v;
}

static struct jinja_value calls_of(struct maker *m, const struct chat_message *message)
{
    struct jinja_value list = new_list(m);
    for (size_t i = 0; i < message->n_calls; i++) {
        const struct chat_call *call = &message->calls[i];
        struct jinja_value function = new_dict(m), item = new_dict(m);
        put(m, function, "name", text_of(m, call->name, JINJA_DATA));
        put(m, function, "arguments", arguments_of(m, call));
        if (call->id.n > 0) {
            put(m, item, "id", text_of(m, call->id, JINJA_DATA));
        }
        put(m, item, "type", text_of(m, STR("function"), JINJA_DATA));
        put(m, item, "function", function);
        push(m, list, item);
    }
    return list;
}

/* The text of data but for the tags, which a model wrote as tokens. spans: room for twice as many
 * and one. */
static struct jinja_value tagged_text(struct maker *m, struct str text,
                                      const struct tool_tags *tags, struct jinja_span *spans)
{
    struct jinja_value v = jinja_none();
    size_t n = 0, at = 0;
    for (size_t i = 0; i < tags->n; i++) {
        struct tool_tag tag = tags->list[i];
        if (tag.begin > at) {
            spans[n++] = (struct jinja_span){tag.begin - at, JINJA_DATA};
        }
        spans[n++] = (struct jinja_span){tag.n_bytes, JINJA_TEMPLATE};
        at = tag.begin + tag.n_bytes;
    }
    if (at < text.n) {
        spans[n++] = (struct jinja_span){text.n - at, JINJA_DATA};
    }
    m->ok = jinja_string_of_spans(&m->arena, text, spans, n, &v, m->e);
    return v;
}

static struct tool_said said_of(const struct chat_message *message)
{
    return (struct tool_said){message->content, message->calls, message->n_calls};
}

/* What an assistant said and called as one text, for templates that have no place for calls, and
 * for calls that were spelled otherwise than the template would. */
static struct jinja_value said_and_called(struct maker *m, const struct chat_message *message,
                                          const struct tool_spelling *spelling, bool is_kept)
{
    struct buf text;
    struct jinja_value v = jinja_none();
    size_t most = 2 * message->n_calls;
    struct tool_tags tags = {.list = mem_alloc(most, sizeof *tags.list, "tags of calls", m->e)};
    struct jinja_span *spans = mem_alloc(2 * most + 1, sizeof *spans, "spans of calls", m->e);
    struct tool_tags *noted = m->t->is_on_trial ? NULL : &tags;
    struct tool_said said = said_of(message);
    buf_init(&text, JINJA_DEFAULT_OUTPUT_BYTES);
    m->ok = m->ok && tags.list != NULL && spans != NULL &&
            (is_kept ? tool_said_write(spelling, &said, &text, noted, m->e)
                     : buf_append(&text, message->content, m->e) &&
                           tool_calls_write(spelling, said.calls, said.n, &text, noted, m->e));
    if (m->ok) {
        v = content_of(m, tagged_text(m, buf_str(&text), &tags, spans));
    }
    buf_finish(&text);
    mem_free(spans);
    mem_free(tags.list);
    return v;
}

const struct tool_spelling *chat_template_spelling(const struct chat_template *t)
{
    return t->support.calls && t->support.tools ? t->spelling : tool_spelling_usual(t->tool_format);
}

/* How the calls of a message are spelled whose ids name no spelling, where the template is to leave
 * all as they were; else NULL. */
static const struct tool_spelling *kept_spelling(struct maker *m,
                                                 const struct chat_message *message)
{
    const struct chat_template *t = m->t;
    const struct chat_call *calls = message->calls;
    bool may_keep = m->ok && m->keeps_spellings && t->support.calls_as_text, fits = false;
    const struct tool_spelling *s =
        may_keep ? tool_spellings_named(chat_template_spelling(t), t->tool_format, calls,
                                        message->n_calls)
                 : NULL;
    struct tool_said said = said_of(message);
    m->ok = m->ok && (s == NULL || tool_frames_fit(s, t->tool_format, &said, &fits, m->e));
    return fits ? s : NULL;
}

/* Where a system message of ours tells of the tools, calls have the form that it asks for. */
static bool template_writes_calls(const struct maker *m, const struct chat_message *message)
{
    const struct chat_support *s = &m->t->support;
    return s->calls && !m->told_tools && (message->n_calls == 1 || s->several_calls) &&
           (message->content.n == 0 || s->text_and_calls);
}

static struct jinja_value message_of(struct maker *m, const struct chat_message *message)
{
    struct jinja_value v = new_dict(m);
    /* one of ours, which may be part of a control token: '<|' + role + '|>' */
    put(m, v, "role", text_of(m, str_from(chat_role_name(message->role)), JINJA_TEMPLATE));
    const struct tool_spelling *kept = kept_spelling(m, message), *spelling = kept;
    if (message->n_calls > 0 && spelling == NULL && !template_writes_calls(m, message)) {
        const struct tool_spelling *own = chat_template_spelling(m->t);
        spelling = own != NULL && !m->told_tools ? own : tool_spelling_usual(m->t->tool_format);
    }
    if (spelling != NULL) {
        put(m, v, "content", said_and_called(m, message, spelling, kept != NULL));
        return v;
    }
    if (message->content.p != NULL) {
        put(m, v, "content", content_of(m, text_of(m, message->content, JINJA_DATA)));
    } else {
        put(m, v, "content",
            m->t->shape.content_empty ? content_of(m, text_of(m, STR(""), JINJA_DATA))
                                      : jinja_none());
    }
    if (message->n_calls > 0) {
        put(m, v, "tool_calls", calls_of(m, message));
    }
    if (message->call_id.n > 0) {
        put(m, v, "tool_call_id", text_of(m, message->call_id, JINJA_DATA));
    }
    return v;
}

/* A system message that tells of the tools, for templates that have no place for them. system: the
 * conversation's own, or NULL. */
static struct jinja_value system_with_tools(struct maker *m, const struct chat_input *input,
                                            const struct chat_message *system)
{
    struct buf text;
    buf_init(&text, JINJA_DEFAULT_OUTPUT_BYTES);
    m->ok = m->ok &&
            (system == NULL || system->content.n == 0 ||
             (buf_append(&text, system->content, m->e) && buf_append(&text, STR("\n\n"), m->e))) &&
            tool_prompt_write(m->t->tool_format, input->tools, &text, m->e);
    struct jinja_value v =
        message_of(m, &(struct chat_message){.role = CHAT_SYSTEM,
                                             .content = m->ok ? buf_str(&text) : STR("")});
    buf_finish(&text);
    return v;
}

static struct jinja_value messages_of(struct maker *m, const struct chat_input *input)
{
    struct jinja_value list = new_list(m);
    size_t first = 0;
    if (m->told_tools) {
        first = input->messages[0].role == CHAT_SYSTEM;
        push(m, list, system_with_tools(m, input, first > 0 ? &input->messages[0] : NULL));
    }
    for (size_t i = first; i < input->n && m->ok; i++) {
        push(m, list, message_of(m, &input->messages[i]));
        if (!m->ok && m->e->code == ERROR_FORMAT) {
            m->e->code = ERROR_USAGE; /* no file is to blame */
            error_prefix(m->e, "message %zu", i + 1);
        }
    }
    return list;
}

/* --- all of it */

static void put_token(struct maker *m, struct jinja_value dict, const char *name, uint32_t id)
{
    if (id != TOKEN_NONE) {
        put(m, dict, name, text_of(m, tokenizer_text(m->t->tokenizer, id), JINJA_TEMPLATE));
    }
}

static void put_variables(struct maker *m, struct jinja_value all, const json_t *variables)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)variables, key, value)
    {
        put(m, all, key, from_json(m, value));
    }
}

/* As transformers calls a template: tools and documents are none where there are none. */
static struct jinja_value variables_of(struct maker *m, const struct chat_input *input,
                                       const struct tm *now)
{
    struct jinja_value all = new_dict(m);
    const struct token_info *info = tokenizer_info(m->t->tokenizer);
    const char *date = m->t->date;
    char today[32];
    if (date != NULL && strcmp(date, "today") == 0) {
        strftime(today, sizeof today, "%d %b %Y", now);
        date = today;
    }
    if (date != NULL) {
        put(m, all, "date_string", text_of(m, str_from(date), JINJA_DATA));
    }
    put(m, all, "documents", jinja_none());
    put_variables(m, all, input->variables);
    put(m, all, "messages", messages_of(m, input));
    bool offered = input->tools != NULL && !m->told_tools;
    put(m, all, "tools",
        offered                  ? from_json(m, input->tools)
        : m->t->shape.tools_list ? new_list(m)
                                 : jinja_none());
    put(m, all, "add_generation_prompt", jinja_bool(input->add_generation_prompt, JINJA_TEMPLATE));
    put_token(m, all, "bos_token", info->bos);
    put_token(m, all, "eos_token", info->eos);
    put_token(m, all, "unk_token", info->unknown);
    put_token(m, all, "pad_token", info->pad);
    return all;
}

/* Tools that are told of by a message of ours must be told of. */
static bool check_told(const struct chat_template *t, struct error *e)
{
    if (t->tool_format == TOOL_FORMAT_NONE) {
        return error_set(e, ERROR_USAGE,
                         "the model's chat template has no place for tools, and with the tool "
                         "format 'none' nothing else tells of them");
    }
    return t->support.system || error_set(e, ERROR_USAGE,
                                          "the model's chat template has a place neither for tools "
                                          "nor for a system message that tells of them");
}

/* A template that leaves a message out does not refuse it: that is done here. */
static bool check_written(const struct chat_template *t, const struct chat_input *input,
                          struct error *e)
{
    for (size_t i = 0; i < input->n; i++) {
        enum chat_role role = input->messages[i].role;
        if (role == CHAT_SYSTEM && i > 0 && t->support.system && !t->support.later_system) {
            return error_set(
                e, ERROR_USAGE,
                "message %zu is from system, of which the model's chat template leaves "
                "out all but one",
                i + 1);
        }
        if ((role == CHAT_SYSTEM && !t->support.system) ||
            (role == CHAT_TOOL && !t->support.tool_answers)) {
            return error_set(e, ERROR_USAGE,
                             "message %zu is from %s, which the model's chat template leaves out",
                             i + 1, chat_role_name(role));
        }
    }
    return true;
}

static struct tm clock_of(const struct chat_template *t)
{
    if (t->date == NULL || strcmp(t->date, "today") != 0) {
        return chat_fixed_day;
    }
    struct tm now = chat_fixed_day;
    time_t seconds = time(NULL);
    localtime_r(&seconds, &now);
    return now;
}

/* How often calls may stand before those of the message before, in a template that moves messages:
 * each time the whole text is searched again. */
enum { MOST_MOVES = 16 };

/* Whether the part is in the text, from *at on or, while there are moves left, before it. Sets *at
 * behind it. */
static bool find_part(struct str text, struct str part, size_t *at, unsigned *n_moves)
{
    struct str rest = str_skip(text, *at);
    const char *found = memmem(rest.p, rest.n, part.p, part.n);
    if (found == NULL && *at > 0 && *n_moves > 0) {
        --*n_moves;
        found = memmem(text.p, text.n, part.p, part.n);
    }
    *at = found != NULL ? (size_t)(found - text.p) + part.n : *at;
    return found != NULL;
}

/* Whether the text has all calls that keep their spelling: a template may cut what is said. Calls
 * mostly stand in the order of their messages, so that the text is read once. */
static bool shows_calls(struct maker *m, const struct chat_input *input, struct str text)
{
    bool is_there = true;
    size_t at = 0;
    unsigned n_moves = MOST_MOVES;
    struct buf calls;
    buf_init(&calls, JINJA_DEFAULT_OUTPUT_BYTES);
    for (size_t i = 0; m->ok && is_there && i < input->n; i++) {
        const struct chat_message *message = &input->messages[i];
        const struct tool_spelling *s = kept_spelling(m, message);
        if (s == NULL) {
            continue;
        }
        buf_clear(&calls);
        struct tool_said said = said_of(message);
        size_t n_before = tool_said_place(&said, 0);
        size_t n_behind = said.content.n - tool_said_place(&said, said.n - 1);
        m->ok = tool_said_write(s, &said, &calls, NULL, m->e);
        struct str part = {calls.data + n_before, m->ok ? calls.n - n_before - n_behind : 0};
        is_there = m->ok && find_part(text, part, &at, &n_moves);
    }
    buf_finish(&calls);
    return m->ok && is_there;
}

/* False with m->ok: only without the spellings. */
static bool write_text(struct maker *m, const struct chat_input *input, const struct tm *now,
                       const struct jinja_limits *limits, struct jinja_output *out)
{
    jinja_arena_init(&m->arena, JINJA_DEFAULT_MEMORY_BYTES);
    struct jinja_value all = variables_of(m, input, now);
    m->ok = m->ok && jinja_render(m->t->jinja, all, now, limits, out, m->e);
    jinja_arena_finish(&m->arena);
    if (!m->ok) {
        return false;
    }
    bool is_whole = check_written(m->t, input, m->e);
    m->ok = is_whole;
    is_whole = is_whole && (!m->keeps_spellings || shows_calls(m, input, buf_str(&out->text)));
    if (!is_whole) {
        jinja_output_finish(out);
    }
    return is_whole;
}

static bool names_spellings(struct maker *m, const struct chat_input *input)
{
    for (size_t i = 0; i < input->n; i++) {
        if (kept_spelling(m, &input->messages[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* With the spellings, or where these do not come out without. */
static bool write_either(struct maker *m, const struct chat_input *input, const struct tm *now,
                         const struct jinja_limits *limits, struct jinja_output *out)
{
    m->keeps_spellings = true;
    m->keeps_spellings = names_spellings(m, input);
    bool ok = write_text(m, input, now, limits, out);
    if (!ok && m->keeps_spellings && !m->t->is_on_trial && m->e->code != ERROR_MEMORY) {
        *m->e = (struct error){0};
        m->keeps_spellings = false;
        m->ok = true;
        ok = write_text(m, input, now, limits, out);
    }
    return ok;
}

/* The conversation with the frames of its calls read: freed with mem_free, and the calls of its
 * first message, which are all of them, before. ERROR_MEMORY. */
static bool read_frames(const struct chat_input *input, struct chat_message **out, struct error *e)
{
    size_t n = 0;
    for (size_t i = 0; i < input->n; i++) {
        n += input->messages[i].n_calls;
    }
    struct chat_message *messages = mem_alloc(input->n, sizeof *messages, "a conversation", e);
    struct chat_call *calls = n > 0 ? mem_alloc(n, sizeof *calls, "calls of messages", e) : NULL;
    if (messages == NULL || (n > 0 && calls == NULL)) {
        mem_free(messages);
        mem_free(calls);
        return false;
    }
    for (size_t i = 0; i < input->n; i++) {
        struct tool_places read = {0};
        messages[i] = input->messages[i];
        messages[i].calls = calls;
        for (size_t k = 0; k < messages[i].n_calls; k++) {
            *calls++ = tool_frame_read(input->messages[i].calls[k], messages[i].content, &read);
        }
    }
    *out = messages;
    return true;
}

bool chat_template_write_at(const struct chat_template *t, const struct chat_input *input,
                            const struct tm *now, const struct jinja_limits *limits,
                            struct jinja_output *out, struct error *e)
{
    struct error ignored = {0};
    struct maker m = {.t = t,
                      .told_tools = input->tools != NULL && !t->support.tools,
                      .e = e != NULL ? e : &ignored,
                      .ok = true};
    struct jinja_output made;
    struct chat_input read = *input;
    struct chat_message *messages;
    if (input->n == 0) {
        return error_set(e, ERROR_USAGE, "the conversation has 0 messages, at least 1 is needed");
    }
    if ((m.told_tools && !check_told(t, e)) || !read_frames(input, &messages, m.e)) {
        return false;
    }
    read.messages = messages;
    bool ok = write_either(&m, &read, now, limits, &made);
    if (ok) {
        *out = made;
    }
    mem_free((void *)messages[0].calls);
    mem_free(messages);
    return ok;
}

bool chat_template_write(const struct chat_template *t, const struct chat_input *input,
                         struct jinja_output *out, struct error *e)
{
    struct tm now = clock_of(t);
    return chat_template_write_at(t, input, &now, NULL, out, e);
}
