/* template_probe.c - what a template does with a conversation is found out by trying: a word is put
 * where it may or may not be written, and looked for in the text. */
#include "chat/template_internal.h"

#include <strings.h>

enum { MOST_MESSAGES = 6 };

#define ASKED    "kqzasked"
#define AGAIN    "kqzagain"
#define RULED    "kqzruled"
#define SAID     "kqzsaid"
#define CALLED   "kqzcalled"
#define ALSO     "kqzalso"
#define GIVEN    "kqzgiven"
#define ANSWERED "kqzanswered"
#define OFFERED  "kqzoffered"
#define DATE     "kqzdate"

#define ARGUMENTS "{\"a\": \"" GIVEN "\"}"

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof s - 1                                                                            \
    }

static const struct chat_call calls[] = {
    {.id = TEXT("callid001"), .name = TEXT(CALLED), .arguments = TEXT(ARGUMENTS)},
    {.id = TEXT("callid002"), .name = TEXT(ALSO), .arguments = TEXT("{}")},
};
static const struct chat_message ruled = {.role = CHAT_SYSTEM, .content = TEXT(RULED)};
static const struct chat_message ruled_again = {.role = CHAT_SYSTEM, .content = TEXT(ALSO)};
static const struct chat_message asked = {.role = CHAT_USER, .content = TEXT(ASKED)};
static const struct chat_message asked_again = {.role = CHAT_USER, .content = TEXT(AGAIN)};
static const struct chat_message said = {.role = CHAT_ASSISTANT, .content = TEXT(SAID)};
static const struct chat_message said_again = {.role = CHAT_ASSISTANT, .content = TEXT(ALSO)};
static const struct chat_message called = {.role = CHAT_ASSISTANT, .calls = calls, .n_calls = 1};
static const struct chat_message called_twice = {
    .role = CHAT_ASSISTANT, .calls = calls, .n_calls = 2};
static const struct chat_message said_and_called = {
    .role = CHAT_ASSISTANT, .content = TEXT(SAID), .calls = calls, .n_calls = 1};
static const struct chat_message answered = {
    .role = CHAT_TOOL, .content = TEXT(ANSWERED), .call_id = TEXT("callid001")};
static const char offered[] = "[{\"type\":\"function\",\"function\":{\"name\":\"" OFFERED "\","
                              "\"description\":\"d\",\"parameters\":{\"type\":\"object\","
                              "\"properties\":{\"a\":{\"type\":\"string\",\"description\":\"d\"}},"
                              "\"required\":[\"a\"]}}}]";

/* A hundred times what published templates need: some thirty trials end soon, whatever is tried. */
static const struct jinja_limits trial_limits = {.max_steps = 1000000};

/* Renders at most MOST_MESSAGES messages (NULL ends them) into *out, released by the caller. False
 * with e->code set when the template could not, and for good when memory ran out. The user-defined
 * tokens that the template writes become marks. */
static bool render(struct chat_template *t, const struct chat_message *const *messages,
                   const json_t *tools, struct jinja_output *out, struct error *e)
{
    struct chat_message list[MOST_MESSAGES];
    struct chat_input input = {.messages = list, .tools = tools, .add_generation_prompt = true};
    if (e->code == ERROR_MEMORY) {
        return false;
    }
    while (messages[input.n] != NULL) {
        list[input.n] = *messages[input.n];
        input.n++;
    }
    *e = (struct error){0};
    if (!chat_template_write_at(t, &input, &chat_fixed_day, &trial_limits, out, e)) {
        return false;
    }
    size_t at = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < out->n_spans; i++) {
        struct str span = {out->text.data + at, out->spans[i].n_bytes};
        ok = out->spans[i].origin == JINJA_DATA ||
             tokenizer_find_user_defined(t->tokenizer, span, &t->marks, e);
        at += span.n;
    }
    if (!ok) {
        jinja_output_finish(out);
    }
    return ok;
}

/* Where the word is in the text; NULL when it is not. */
static const char *find_word(struct str text, const char *word)
{
    return text.n > 0 ? memmem(text.p, text.n, word, strlen(word)) : NULL;
}

/* Whether all the words (NULL ends them) are in what is rendered. Errors as render(). */
static bool writes(struct chat_template *t, const struct chat_message *const *messages,
                   const json_t *tools, const char *const *words, struct error *e)
{
    struct jinja_output out;
    if (!render(t, messages, tools, &out, e)) {
        return false;
    }
    while (*words != NULL && find_word(buf_str(&out.text), *words) != NULL) {
        words++;
    }
    jinja_output_finish(&out);
    return *words == NULL;
}

#define MESSAGES(...) ((const struct chat_message *const[]){__VA_ARGS__, NULL})
#define WORDS(...)    ((const char *const[]){__VA_ARGS__, NULL})

/* A limit that was passed is passed again, whatever the template is called with. */
static bool may_try_again(const struct error *e)
{
    return e->code != ERROR_MEMORY && e->code != ERROR_UNSUPPORTED;
}

/* How the plainest conversation is written: as transformers calls a template, or else with an empty
 * list of tools, contents in parts, or both. *e: of the first try. */
static bool find_plain_shape(struct chat_template *t, struct error *e)
{
    bool ok = writes(t, MESSAGES(&asked), NULL, WORDS(ASKED), e);
    for (unsigned i = 1; !ok && i < 4 && may_try_again(e); i++) {
        struct error why = {0};
        t->shape = (struct chat_shape){.tools_list = i & 1, .content_parts = i & 2};
        ok = writes(t, MESSAGES(&asked), NULL, WORDS(ASKED), &why);
        if (why.code == ERROR_MEMORY) {
            *e = why;
        }
    }
    if (!ok && e->code == ERROR_NONE) {
        error_set(e, ERROR_UNSUPPORTED, "it leaves out what the user says");
    }
    return ok;
}

/* Whether there is a way that shows all the words. */
static bool find_shape_of(struct chat_template *t, const struct chat_message *const *messages,
                          const json_t *tools, const char *const *words, struct error *e)
{
    struct chat_shape plain = t->shape;
    for (unsigned i = 0; i < 4 && (i == 0 || may_try_again(e)); i++) {
        t->shape.content_empty = i & 1;
        t->shape.arguments_text = i & 2;
        if (writes(t, messages, tools, words, e)) {
            return true;
        }
    }
    t->shape = plain;
    return false;
}

/* How a call is written. A mapping that is printed becomes Python, and JSON that is written as JSON
 * gets quotes, so the first of all ways that shows the arguments as they are spelled is taken, else
 * the first that shows them at all. Before the call alone it is tried with its answer: QwQ's reads
 * the content of all messages but the last. */
static bool find_call_shape(struct chat_template *t, const json_t *tools, struct error *e)
{
    return find_shape_of(t, MESSAGES(&asked, &called, &answered), tools,
                         WORDS(CALLED, ARGUMENTS, ANSWERED), e) ||
           find_shape_of(t, MESSAGES(&asked, &called), tools, WORDS(CALLED, ARGUMENTS), e) ||
           find_shape_of(t, MESSAGES(&asked, &called, &answered), tools,
                         WORDS(CALLED, GIVEN, ANSWERED), e) ||
           find_shape_of(t, MESSAGES(&asked, &called), tools, WORDS(CALLED, GIVEN), e);
}

/* Whether all of the words are written, or the template refuses the conversation itself. */
static bool writes_or_refuses(struct chat_template *t, const struct chat_message *const *messages,
                              const char *const *words, struct error *e)
{
    return writes(t, messages, NULL, words, e) || e->code != ERROR_NONE;
}

static bool asks_clock(const struct chat_template *t, struct error *e)
{
    struct chat_input input = {.messages = &asked, .n = 1, .add_generation_prompt = true};
    struct tm other = {.tm_mday = 3, .tm_mon = 1, .tm_year = 99, .tm_wday = 3, .tm_yday = 33};
    struct jinja_output a, b;
    if (e->code == ERROR_MEMORY ||
        !chat_template_write_at(t, &input, &chat_fixed_day, &trial_limits, &a, e)) {
        return false;
    }
    bool ok = chat_template_write_at(t, &input, &other, &trial_limits, &b, e);
    bool differs = ok && !str_eq(buf_str(&a.text), buf_str(&b.text));
    jinja_output_finish(&a);
    if (ok) {
        jinja_output_finish(&b);
    }
    return differs;
}

static void probe_messages(struct chat_template *t, struct chat_support *found, struct error *e)
{
    found->system = writes(t, MESSAGES(&ruled, &asked), NULL, WORDS(RULED), e);
    found->later_system =
        writes_or_refuses(t, MESSAGES(&asked, &said, &ruled, &asked_again),
                          WORDS(ASKED, SAID, RULED, AGAIN), e) &&
        writes_or_refuses(t, MESSAGES(&ruled, &ruled_again, &asked), WORDS(RULED, ALSO), e) &&
        writes_or_refuses(t, MESSAGES(&asked, &ruled), WORDS(ASKED, RULED), e);
    found->clock = asks_clock(t, e);
    t->date = DATE;
    found->date = writes(t, MESSAGES(&asked), NULL, WORDS(DATE), e);
    t->date = NULL;
}

/* How the template spells a call. */
static const struct tool_spelling *spelling_of_call(struct chat_template *t, const json_t *tools,
                                                    struct error *e)
{
    struct jinja_output out;
    if (!render(t, MESSAGES(&asked, &called), tools, &out, e)) {
        return NULL;
    }
    const struct tool_spelling *s = tool_spelling_look(buf_str(&out.text), &calls[0], e);
    jinja_output_finish(&out);
    return s;
}

/* Whether calls that are said as a text, in the template's own spelling, change nothing, neither in
 * them nor behind: turns are counted, functions looked up by ids. */
static bool writes_texts_alike(struct chat_template *t, const json_t *tools, struct error *e)
{
    struct buf id;
    buf_init(&id, 64);
    if (!tool_call_id_write(&id, "000000000000000000000001", t->spelling, STR(""), e)) {
        buf_finish(&id);
        return false;
    }
    struct chat_call named = {
        .id = buf_str(&id), .name = calls[0].name, .arguments = calls[0].arguments};
    struct chat_message calling = {.role = CHAT_ASSISTANT, .calls = &named, .n_calls = 1};
    struct chat_message answering = {
        .role = CHAT_TOOL, .content = answered.content, .call_id = named.id};
    const struct chat_message *const messages[] = {&asked,     &calling, &answering, &calling,
                                                   &answering, &said,    NULL};
    struct jinja_output as_calls, as_texts;
    t->support.calls_as_text = false;
    bool ok = render(t, messages, tools, &as_calls, e);
    t->support.calls_as_text = true;
    bool both = ok && render(t, messages, tools, &as_texts, e);
    bool are_alike = both && str_eq(buf_str(&as_calls.text), buf_str(&as_texts.text));
    if (ok) {
        jinja_output_finish(&as_calls);
    }
    if (both) {
        jinja_output_finish(&as_texts);
    }
    buf_finish(&id);
    return are_alike;
}

static void probe_tools(struct chat_template *t, const json_t *tools, struct chat_support *found,
                        struct error *e)
{
    found->tools =
        writes(t, MESSAGES(&asked), tools, WORDS(OFFERED, ASKED), e) &&
        (!found->system || writes(t, MESSAGES(&ruled, &asked), tools, WORDS(RULED, OFFERED), e));
    tools = found->tools ? tools : NULL; /* else it will never see any */
    found->calls = find_call_shape(t, tools, e);
    t->support.calls = found->calls; /* else what follows one is not seen, perhaps */
    found->several_calls = found->calls && writes(t, MESSAGES(&asked, &called_twice), tools,
                                                  WORDS(CALLED, GIVEN, ALSO), e);
    found->text_and_calls = found->calls && writes(t, MESSAGES(&asked, &said_and_called), tools,
                                                   WORDS(SAID, CALLED, GIVEN), e);
    found->tool_answers =
        writes(t, MESSAGES(&asked, &called, &answered), tools, WORDS(ANSWERED), e);
    t->spelling = found->calls ? spelling_of_call(t, tools, e) : NULL;
    bool is_heard = t->spelling != NULL && tool_spelling_is_heard(t->spelling, t->tool_format);
    found->calls_as_text = !found->calls || (is_heard && writes_texts_alike(t, tools, e));
}

/* --- roles */

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Whether a word with these bytes round it, NUL where the text ends, stands by itself: between
 * marks ("<|user|>", "<s>user\n") or before a colon, not in a sentence or in the end of a tag. */
static bool is_apart(char before, char after)
{
    static const char bar[] = "\xEF\xBD\x9C"; /* the wide one of DeepSeek's marks */
    bool begins = strchr("\n><|[", before) != NULL || before == bar[2];
    bool ends = strchr("\n><|]:", after) != NULL || after == bar[0];
    return ends && (begins || (before == ' ' && after == ':'));
}

/* The last word apart that is the name of a role; NULL when there is none. */
static const char *last_name(struct str text)
{
    static const char *const names[] = {"system",    "developer", "user", "human",
                                        "assistant", "model",     "bot",  "ipython",
                                        "tool",      "function",  "gpt",  "observation"};
    const char *found = NULL;
    for (size_t i = 0, begin = 0; i < text.n; i++, begin = i) {
        while (i < text.n && is_word_byte(text.p[i])) {
            i++;
        }
        if (!is_apart(begin > 0 ? text.p[begin - 1] : '\0', i < text.n ? text.p[i] : '\0')) {
            continue;
        }
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            bool is_it = i - begin == strlen(names[k]) &&
                         strncasecmp(text.p + begin, names[k], i - begin) == 0;
            found = is_it ? names[k] : found;
        }
    }
    return found;
}

/* What a message is headed with: between the word of the one before, NULL for the text's begin, and
 * its own. */
static const char *name_between(struct chat_template *t, const struct chat_message *const *messages,
                                const json_t *tools, const char *before, const char *word,
                                struct error *e)
{
    struct jinja_output out;
    if (!render(t, messages, tools, &out, e)) {
        return NULL;
    }
    struct str text = buf_str(&out.text);
    const char *begin = before != NULL ? find_word(text, before) : text.p;
    const char *end = find_word(text, word);
    const char *name = begin != NULL && end != NULL && begin < end
                           ? last_name((struct str){begin, (size_t)(end - begin)})
                           : NULL;
    jinja_output_finish(&out);
    return name;
}

static void probe_roles(struct chat_template *t, const json_t *tools,
                        const struct chat_support *found, struct error *e)
{
    struct chat_roles *r = &t->roles;
    r->writes[CHAT_SYSTEM] = found->system;
    r->writes[CHAT_USER] = true; /* as find_plain_shape saw */
    r->writes[CHAT_ASSISTANT] =
        writes(t, MESSAGES(&asked, &said, &asked_again), NULL, WORDS(ASKED, SAID, AGAIN), e);
    r->writes[CHAT_TOOL] = found->tool_answers;
    r->take_turns =
        !writes(t, MESSAGES(&asked, &asked_again), NULL, WORDS(ASKED, AGAIN), e) ||
        (r->writes[CHAT_ASSISTANT] && !writes(t, MESSAGES(&asked, &said, &said_again, &asked_again),
                                              NULL, WORDS(ASKED, SAID, ALSO, AGAIN), e));
    r->names[CHAT_SYSTEM] = name_between(t, MESSAGES(&ruled, &asked), NULL, NULL, RULED, e);
    r->names[CHAT_USER] = name_between(t, MESSAGES(&asked, &said, &asked_again), NULL,
                                       r->writes[CHAT_ASSISTANT] ? SAID : ASKED, AGAIN, e);
    r->names[CHAT_ASSISTANT] =
        name_between(t, MESSAGES(&asked, &said, &asked_again), NULL, ASKED, SAID, e);
    r->names[CHAT_TOOL] = name_between(t, MESSAGES(&asked, &called, &answered),
                                       found->tools ? tools : NULL, GIVEN, ANSWERED, e);
}

bool chat_template_probe(struct chat_template *t, struct error *e)
{
    struct error why = {0};
    struct chat_support found = {0};
    json_t *tools = json_loads(offered, 0, NULL);
    if (tools == NULL) {
        return error_set(e, ERROR_MEMORY, "out of memory: tools to try a chat template with");
    }
    /* nothing is written another way while that is found out */
    memset(&t->support, 1, sizeof t->support);
    t->is_on_trial = true;
    bool ok = find_plain_shape(t, &why);
    if (ok) {
        probe_messages(t, &found, &why);
        probe_tools(t, tools, &found, &why);
        probe_roles(t, tools, &found, &why);
        ok = why.code != ERROR_MEMORY;
    }
    json_decref(tools);
    t->is_on_trial = false;
    t->support = found;
    if (!ok) {
        *e = why;
    }
    return ok;
}
