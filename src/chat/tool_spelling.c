/* tool_spelling.c - which spellings an id can name, and which one a text has. */
#include "chat/tool_spelling.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Conversations that clients keep have their letters, from 'a' on: none ever changes. */
static const struct tool_spelling spellings[] = {
    {TOOL_FORMAT_LLAMA3_JSON, 0},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_TYPE},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_ARGUMENTS},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_TYPE | TOOL_TRAIT_ARGUMENTS},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_DENSE},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_DENSE | TOOL_TRAIT_TYPE},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_DENSE | TOOL_TRAIT_ARGUMENTS},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_TAG},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_TAG | TOOL_TRAIT_TYPE},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_TAG | TOOL_TRAIT_ARGUMENTS},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_TAG | TOOL_TRAIT_DENSE},
    {TOOL_FORMAT_PYTHONIC, 0},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_TAG},
    {TOOL_FORMAT_FUNCTION_TAG, 0},
    {TOOL_FORMAT_FUNCTION_TAG, TOOL_TRAIT_TAG},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS},
    {TOOL_FORMAT_HERMES, 0},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_ONE_LINE},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ONE_LINE},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_DENSE},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_DENSE | TOOL_TRAIT_ONE_LINE},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_TYPE},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_LIST},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_ONE_LINE | TOOL_TRAIT_LIST},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_LIST},
};
enum { N_SPELLINGS = sizeof spellings / sizeof spellings[0] };
static_assert(N_SPELLINGS <= 26, "a letter names each");

const struct tool_spelling *tool_spelling_usual(enum tool_format format)
{
    const struct tool_spelling *s = spellings;
    while (s < spellings + N_SPELLINGS && s->format != format) {
        s++;
    }
    return s < spellings + N_SPELLINGS ? s : spellings;
}

/* The begin of a call is written into *text, which is for use. */
static bool begins_as(const struct tool_spelling *s, struct str before, struct str name,
                      bool is_first, struct buf *text, struct error *e)
{
    buf_clear(text);
    bool is_python = s->format == TOOL_FORMAT_PYTHONIC;
    if (!tool_call_begin_write(s, name, is_first, text, e) ||
        (is_python && !buf_append_byte(text, '(', e))) {
        return false;
    }
    return is_python ? str_starts_with(before, buf_str(text)) /* its arguments may have begun */
                     : str_eq(before, buf_str(text));
}

static size_t most_bytes(struct str name)
{
    return 6 * name.n + 256;
}

const struct tool_spelling *tool_spelling_find(struct str before, struct str name, struct error *e)
{
    const struct tool_spelling *found = NULL;
    struct error why = {0};
    struct buf text;
    buf_init(&text, most_bytes(name));
    for (size_t i = 0; found == NULL && why.code == ERROR_NONE && i < N_SPELLINGS; i++) {
        found = begins_as(&spellings[i], before, name, true, &text, &why) ? &spellings[i] : NULL;
    }
    buf_finish(&text);
    if (why.code != ERROR_NONE) {
        error_set(e, why.code, "%s", why.text);
    }
    return found;
}

const struct tool_spelling *tool_spelling_check(const struct tool_spelling *s, struct str before,
                                                struct str name, struct error *e)
{
    struct buf text;
    buf_init(&text, most_bytes(name));
    bool is_it = s != NULL && begins_as(s, before, name, false, &text, e);
    buf_finish(&text);
    return is_it ? s : NULL;
}

const struct tool_spelling *tool_spelling_look(struct str prompt, const struct chat_call *call,
                                               struct error *e)
{
    const struct tool_spelling *found = NULL;
    size_t longest = 0;
    struct buf whole;
    buf_init(&whole, 8 * (call->name.n + call->arguments.n) + 256);
    for (size_t i = 0; i < N_SPELLINGS; i++) {
        buf_clear(&whole);
        if (!tool_calls_write(&spellings[i], call, 1, &whole, NULL, e)) {
            found = NULL;
            break;
        }
        if (whole.n > longest && memmem(prompt.p, prompt.n, whole.data, whole.n) != NULL) {
            found = &spellings[i];
            longest = whole.n;
        }
    }
    buf_finish(&whole);
    return found;
}

bool tool_spelling_is_heard(const struct tool_spelling *s, enum tool_format format)
{
    if (format == TOOL_FORMAT_HERMES) {
        return s->format == TOOL_FORMAT_HERMES ||
               (s->format == TOOL_FORMAT_LLAMA3_JSON && !(s->traits & TOOL_TRAIT_TAG));
    }
    return format != TOOL_FORMAT_NONE && s->format != TOOL_FORMAT_HERMES;
}

void tool_call_id_write(char out[TOOL_CALL_ID_BYTES], const char *digits,
                        const struct tool_spelling *s)
{
    char letter[] = {'_', s != NULL ? (char)('a' + (s - spellings)) : '\0', '\0'};
    snprintf(out, TOOL_CALL_ID_BYTES, "call_%.*s%s", TOOL_CALL_DIGITS, digits,
             s != NULL ? letter : "");
}

static const struct tool_spelling *named_by(struct str id)
{
    if (id.n != TOOL_CALL_ID_BYTES - 1 || !str_starts_with(id, STR("call_")) ||
        id.p[id.n - 2] != '_') {
        return NULL;
    }
    unsigned i = (unsigned)(unsigned char)id.p[id.n - 1] - 'a';
    return i < N_SPELLINGS ? &spellings[i] : NULL;
}

const struct tool_spelling *tool_spelling_named(const struct chat_call *calls, size_t n)
{
    const struct tool_spelling *s = n > 0 ? named_by(calls[0].id) : NULL;
    for (size_t i = 1; i < n; i++) {
        s = named_by(calls[i].id) == s ? s : NULL;
    }
    return s;
}
