/* tool_spelling.c - which spellings an id can name, and which one a text has. */
#include "chat/tool_spelling.h"

#include "base/base64.h"

#include <assert.h>
#include <string.h>

/* Conversations that clients keep have their letters, from 'a' on and then from 'A': none ever
 * changes. */
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
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_LINES},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_LINES},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_NAME_LAST},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_NAME_LAST},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_INDENT_2},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_INDENT_4},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_INDENT_2},
    {TOOL_FORMAT_LLAMA3_JSON, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_INDENT_4},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_INDENT_2},
    {TOOL_FORMAT_HERMES, TOOL_TRAIT_ARGUMENTS | TOOL_TRAIT_INDENT_4},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_QUOTES},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_TAG | TOOL_TRAIT_QUOTES},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_CALL},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_CALL | TOOL_TRAIT_QUOTES},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_CALL | TOOL_TRAIT_TAG},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_CALL | TOOL_TRAIT_TAG | TOOL_TRAIT_QUOTES},
    {TOOL_FORMAT_PYTHONIC, TOOL_TRAIT_CODE | TOOL_TRAIT_TAG},
};
enum { N_SPELLINGS = sizeof spellings / sizeof spellings[0], N_LETTERS = 26 };
static_assert(N_SPELLINGS <= 2 * N_LETTERS, "a letter names each");

const struct tool_spelling *tool_spelling_usual(enum tool_format format)
{
    const struct tool_spelling *s = spellings;
    while (s < spellings + N_SPELLINGS && s->format != format) {
        s++;
    }
    return s < spellings + N_SPELLINGS ? s : spellings;
}

/* Whether calls of these spellings can be in one answer. */
static bool fits(const struct tool_spelling *first, const struct tool_spelling *s)
{
    const unsigned frame = TOOL_TRAIT_LIST | TOOL_TRAIT_CALL | TOOL_TRAIT_CODE;
    return s->format == first->format && (s->traits & frame) == (first->traits & frame);
}

static bool has_quotes(const struct tool_spelling *s, char quote)
{
    return quote == '\0' || (quote == '"') == !!(s->traits & TOOL_TRAIT_QUOTES);
}

/* The begin of the call is written into *text, which is for use. */
static bool begins_as(const struct tool_spelling *s, const struct tool_begin *begin, bool is_first,
                      struct buf *text, struct error *e)
{
    struct chat_call call = {.name = begin->name, .arguments = begin->arguments};
    bool is_python = s->format == TOOL_FORMAT_PYTHONIC && !begin->is_code;
    buf_clear(text);
    if (begin->is_code != !!(s->traits & TOOL_TRAIT_CODE) || !has_quotes(s, begin->quote) ||
        !tool_call_begin_write(s, &call, is_first, text, e) ||
        (is_python && !buf_append_byte(text, '(', e))) {
        return false;
    }
    return is_python ? str_starts_with(begin->before, buf_str(text)) /* arguments may have begun */
                     : str_eq(begin->before, buf_str(text));
}

const struct tool_spelling *tool_spelling_find(const struct tool_begin *begin,
                                               const struct tool_spelling *first, struct error *e)
{
    struct error why = {0};
    struct buf text;
    buf_init(&text, 6 * (begin->name.n + begin->arguments.n) + 256);
    /* a call that may have several spellings has that of the first one */
    bool is_it = first != NULL && begins_as(first, begin, false, &text, &why);
    const struct tool_spelling *found = is_it ? first : NULL;
    for (size_t i = 0; found == NULL && why.code == ERROR_NONE && i < N_SPELLINGS; i++) {
        const struct tool_spelling *s = &spellings[i];
        bool may_be = first == NULL || fits(first, s);
        found = may_be && begins_as(s, begin, first == NULL, &text, &why) ? s : NULL;
    }
    buf_finish(&text);
    if (why.code != ERROR_NONE) {
        error_set(e, why.code, "%s", why.text);
    }
    return found;
}

const struct tool_spelling *tool_spelling_look(struct str prompt, const struct chat_call *call,
                                               struct error *e)
{
    const struct tool_spelling *found = NULL;
    size_t longest = 0;
    struct buf whole;
    buf_init(&whole, 8 * (call->name.n + call->arguments.n) + 256);
    for (size_t i = 0; i < N_SPELLINGS; i++) {
        if (spellings[i].traits & TOOL_TRAIT_CODE) {
            continue; /* the call is none */
        }
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

bool tool_call_id_write(struct buf *out, const char *digits, const struct tool_spelling *s,
                        struct str frame, struct error *e)
{
    size_t i = s != NULL ? (size_t)(s - spellings) : 0;
    char letter[] = {'_', (char)(i < N_LETTERS ? 'a' + i : 'A' + i - N_LETTERS)};
    struct str named = {letter, s != NULL && frame.n == 0 ? sizeof letter : 0};
    return buf_append(out, STR("call_"), e) &&
           buf_append(out, (struct str){digits, TOOL_CALL_DIGITS}, e) &&
           buf_append(out, named, e) &&
           (frame.n == 0 ||
            (buf_append_byte(out, '_', e) && base64_append(frame.p, frame.n, BASE64_URL, out, e)));
}

const struct tool_spelling *tool_spelling_named(struct str id)
{
    const size_t n_bytes = sizeof "call_" - 1 + TOOL_CALL_DIGITS + sizeof "_a" - 1;
    if (id.n != n_bytes || !str_starts_with(id, STR("call_")) || id.p[id.n - 2] != '_') {
        return NULL;
    }
    unsigned letter = (unsigned char)id.p[id.n - 1];
    unsigned i = letter >= 'a' ? letter - 'a' : letter - 'A' + N_LETTERS;
    bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    return is_letter && i < N_SPELLINGS ? &spellings[i] : NULL;
}

static bool is_ours(struct str id)
{
    return str_starts_with(id, STR("call_")) && id.n >= sizeof "call_" - 1 + TOOL_CALL_DIGITS;
}

static bool is_plain(struct str id)
{
    return is_ours(id) && id.n == sizeof "call_" - 1 + TOOL_CALL_DIGITS;
}

const struct tool_spelling *tool_spellings_named(const struct tool_spelling *own,
                                                 enum tool_format format,
                                                 const struct chat_call *calls, size_t n)
{
    const struct tool_spelling *first = NULL;
    size_t n_named = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tool_spelling *named = tool_spelling_named(calls[i].id);
        if (calls[i].frame.n > 0 && is_ours(calls[i].id)) {
            n_named++;
            continue;
        }
        const struct tool_spelling *s = named == NULL && is_plain(calls[i].id) ? own : named;
        first = first == NULL ? s : first;
        if (s == NULL || !fits(first, s) || !tool_spelling_is_heard(s, format)) {
            return NULL;
        }
        /* nothing can follow code; a client may have sent other arguments back */
        if (s->traits & TOOL_TRAIT_CODE && (n > 1 || !tool_call_code(&calls[i], NULL, NULL))) {
            return NULL;
        }
        n_named += named != NULL;
    }
    const struct tool_spelling *some = first != NULL ? first : spellings;
    return n_named == 0 ? NULL : own != NULL ? own : some;
}
