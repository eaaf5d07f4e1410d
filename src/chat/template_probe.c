/* template_probe.c - what a template does with a conversation is found out by trying: a word is put
 * where it may or may not be written, and looked for in the text. */
#include "chat/template_internal.h"

#define ASKED    "kqzasked"
#define RULED    "kqzruled"
#define SAID     "kqzsaid"
#define CALLED   "kqzcalled"
#define ALSO     "kqzalso"
#define GIVEN    "kqzgiven"
#define ANSWERED "kqzanswered"
#define OFFERED  "kqzoffered"
#define DATE     "kqzdate"

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof s - 1                                                                            \
    }

static const struct chat_call calls[] = {
    {TEXT("callid001"), TEXT(CALLED), TEXT("{\"a\": \"" GIVEN "\"}")},
    {TEXT("callid002"), TEXT(ALSO), TEXT("{}")},
};
static const struct chat_message ruled = {.role = CHAT_SYSTEM, .content = TEXT(RULED)};
static const struct chat_message asked = {.role = CHAT_USER, .content = TEXT(ASKED)};
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

/* Renders at most 4 messages; whether all the words are in the text (NULL ends both). False with
 * e->code set when the template could not, and for good when memory ran out. The user-defined
 * tokens that the template writes become marks. */
static bool writes(struct chat_template *t, const struct chat_message *const *messages,
                   const json_t *tools, const char *const *words, struct error *e)
{
    struct chat_message list[4];
    struct chat_input input = {.messages = list, .tools = tools, .add_generation_prompt = true};
    struct jinja_output out;
    if (e->code == ERROR_MEMORY) {
        return false;
    }
    while (messages[input.n] != NULL) {
        list[input.n] = *messages[input.n];
        input.n++;
    }
    *e = (struct error){0};
    if (!chat_template_write(t, &input, &out, e)) {
        return false;
    }
    size_t at = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < out.n_spans; i++) {
        struct str span = {out.text.data + at, out.spans[i].n_bytes};
        ok = out.spans[i].origin == JINJA_DATA ||
             tokenizer_find_user_defined(t->tokenizer, span, &t->marks, e);
        at += span.n;
    }
    for (; ok && *words != NULL; words++) {
        ok = memmem(out.text.data, out.text.n, *words, strlen(*words)) != NULL;
    }
    jinja_output_finish(&out);
    return ok;
}

#define MESSAGES(...) ((const struct chat_message *const[]){__VA_ARGS__, NULL})
#define WORDS(...)    ((const char *const[]){__VA_ARGS__, NULL})

bool chat_template_probe(struct chat_template *t, struct error *e)
{
    struct error why = {0};
    struct chat_support found = {0};
    json_t *tools = json_loads(offered, 0, NULL);
    if (tools == NULL) {
        return error_set(e, ERROR_MEMORY, "out of memory: tools to try a chat template with");
    }
    /* nothing is written another way while that is found out */
    t->support = (struct chat_support){true, true, true, true, true, true, true};
    bool ok = writes(t, MESSAGES(&asked), NULL, WORDS(ASKED), &why);
    if (!ok) {
        ok = why.code == ERROR_NONE &&
             error_set(&why, ERROR_UNSUPPORTED, "it leaves out what the user says");
    } else {
        found.system = writes(t, MESSAGES(&ruled, &asked), NULL, WORDS(RULED), &why);
        found.tools = writes(t, MESSAGES(&asked), tools, WORDS(OFFERED, ASKED), &why);
        found.calls = writes(t, MESSAGES(&asked, &called), tools, WORDS(CALLED, GIVEN), &why);
        found.several_calls =
            writes(t, MESSAGES(&asked, &called_twice), tools, WORDS(CALLED, GIVEN, ALSO), &why);
        found.text_and_calls =
            writes(t, MESSAGES(&asked, &said_and_called), tools, WORDS(SAID, CALLED, GIVEN), &why);
        found.tool_answers =
            writes(t, MESSAGES(&asked, &called, &answered), tools, WORDS(ANSWERED), &why);
        if (!found.calls) { /* nor what follows one, perhaps */
            t->support.calls = false;
            found.tool_answers =
                writes(t, MESSAGES(&asked, &called, &answered), tools, WORDS(ANSWERED), &why);
        }
        t->date = DATE;
        found.date = writes(t, MESSAGES(&asked), NULL, WORDS(DATE), &why);
        t->date = NULL;
        ok = why.code != ERROR_MEMORY;
    }
    json_decref(tools);
    t->support = found;
    if (!ok) {
        *e = why;
    }
    return ok;
}
