/* ids.c - token ids as a person or a program types them. */
#include "cmd/ids.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool separates(char c)
{
    return is_blank(c) || c == ',';
}

/* Takes the next id off *rest; ids are separated by white space or commas and may stand between
 * brackets. At the end *rest is empty and true is returned with *id TOKEN_NONE. */
static bool next_id(struct str *rest, uint32_t n_tokens, uint32_t *id, struct error *e)
{
    size_t i = 0;
    while (i < rest->n && separates(rest->p[i])) {
        i++;
    }
    size_t start = i;
    uint64_t value = 0;
    while (i < rest->n && rest->p[i] >= '0' && rest->p[i] <= '9') {
        value = value < TOKEN_NONE ? value * 10 + (uint64_t)(rest->p[i] - '0') : value;
        i++;
    }
    struct str word = {rest->p + start, i - start};
    if (i < rest->n && !separates(rest->p[i])) {
        while (word.n < rest->n - start && word.n < 40 && !separates(word.p[word.n])) {
            word.n++;
        }
        return error_set(e, ERROR_USAGE, "'%.*s' is not a token id", STR_ARG(word));
    }
    if (word.n > 0 && value >= n_tokens) {
        return error_set(e, ERROR_USAGE, "token id %.*s: the vocabulary has %u tokens",
                         word.n < 40 ? (int)word.n : 40, word.p, n_tokens);
    }
    *id = word.n > 0 ? (uint32_t)value : TOKEN_NONE;
    *rest = str_skip(*rest, i);
    return true;
}

static struct str trim(struct str text)
{
    while (text.n > 0 && is_blank(text.p[0])) {
        text = str_skip(text, 1);
    }
    while (text.n > 0 && is_blank(text.p[text.n - 1])) {
        text.n--;
    }
    return text;
}

bool ids_parse(struct str input, uint32_t n_tokens, struct token_list *out, struct error *e)
{
    input = trim(input);
    if (input.n >= 2 && input.p[0] == '[' && input.p[input.n - 1] == ']') {
        input = (struct str){input.p + 1, input.n - 2};
    }
    for (;;) {
        uint32_t id = TOKEN_NONE;
        if (!next_id(&input, n_tokens, &id, e)) {
            return false;
        }
        if (id == TOKEN_NONE) {
            return true;
        }
        if (!token_list_push(out, id, e)) {
            return false;
        }
    }
}
