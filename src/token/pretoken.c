/* pretoken.c - hand-written matchers for the pre-tokenisers' regular expressions. */
#include "token/pretoken.h"

#include "token/unicode.h"

/* The names that share an expression, as llama.cpp groups them. Names whose models also need
 * another treatment (a separator token, another normaliser) are left out. */
static const struct pretoken_rule rules[] = {
    {"llama3", PRETOKEN_LLAMA3, true, true},
    {"llama-v3", PRETOKEN_LLAMA3, true, true},
    {"llama-bpe", PRETOKEN_LLAMA3, true, true},
    {"falcon3", PRETOKEN_LLAMA3, true, true},
    {"falcon-h1", PRETOKEN_LLAMA3, true, true},
    {"pixtral", PRETOKEN_LLAMA3, true, true},
    {"midm-2.0", PRETOKEN_LLAMA3, true, true},
    {"lfm2", PRETOKEN_LLAMA3, true, true},
    {"jina-v5-nano", PRETOKEN_LLAMA3, true, true},
    {"smaug-bpe", PRETOKEN_LLAMA3, false, false},
    {"dbrx", PRETOKEN_LLAMA3, false, false},
    {"smollm", PRETOKEN_SMOLLM, false, false},
    {"starcoder", PRETOKEN_SMOLLM, false, false},
    {"refact", PRETOKEN_SMOLLM, false, false},
    {"command-r", PRETOKEN_SMOLLM, false, false},
    {"codeshell", PRETOKEN_SMOLLM, false, false},
    {"exaone", PRETOKEN_SMOLLM, false, false},
    {"minerva-7b", PRETOKEN_SMOLLM, false, false},
    {"mellum2", PRETOKEN_SMOLLM, false, false},
    {"gpt-2", PRETOKEN_GPT2, false, false},
    {"gpt2", PRETOKEN_GPT2, false, false},
    {"phi-2", PRETOKEN_GPT2, false, false},
    {"gigachat", PRETOKEN_GPT2, false, false},
    {"a.x-4.0", PRETOKEN_GPT2, false, false},
    {"mellum", PRETOKEN_GPT2, false, false},
    {"modern-bert", PRETOKEN_GPT2, false, false},
    {"mpt", PRETOKEN_GPT2, false, false},
    {"olmo", PRETOKEN_GPT2, false, false},
    {"jais", PRETOKEN_GPT2, false, false},
    {"trillion", PRETOKEN_GPT2, false, false},
    {"granite-docling", PRETOKEN_GPT2, false, false},
    {"default", PRETOKEN_DEFAULT, false, false},
};

const struct pretoken_rule *pretoken_find(struct str name)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (str_eq(name, str_from(rules[i].name))) {
            return &rules[i];
        }
    }
    return NULL;
}

const char *pretoken_name(enum pretoken kind)
{
    static const char *const names[] = {"llama3", "smollm", "gpt2", "default"};
    return names[kind];
}

/* One character of the text: its unicode flags and its length in bytes, 0 at the end. */
struct character {
    unsigned flags;
    size_t n;
};

enum { NOT_SYMBOL = UNICODE_LETTER | UNICODE_NUMBER | UNICODE_SPACE };

static struct character character_at(struct str text, size_t i)
{
    if (i >= text.n) {
        return (struct character){0, 0};
    }
    unsigned char first = (unsigned char)text.p[i];
    if (first < 0x80) {
        return (struct character){unicode_blocks[0][first], 1};
    }
    uint32_t c = 0;
    size_t n = str_decode_utf8(str_skip(text, i), &c);
    return n > 0 ? (struct character){unicode_flags(c), n} : (struct character){0, 1};
}

static bool is_newline(struct str text, size_t i)
{
    return i < text.n && (text.p[i] == '\n' || text.p[i] == '\r');
}

/* End of the longest run from i of characters that have all of `wanted` and none of `unwanted`. */
static size_t skip_run(struct str text, size_t i, unsigned wanted, unsigned unwanted)
{
    struct character c = character_at(text, i);
    while (c.n > 0 && (c.flags & wanted) == wanted && (c.flags & unwanted) == 0) {
        i += c.n;
        c = character_at(text, i);
    }
    return i;
}

static size_t skip_letters(struct str text, size_t i)
{
    return skip_run(text, i, UNICODE_LETTER, 0);
}

/* 's 't 're 've 'm 'll 'd after an apostrophe at i; 0 when none of them follows. With fold_case
 * U+017F LATIN SMALL LETTER LONG S is an s, as Unicode's case folding says. */
static size_t contraction_end(struct str text, size_t i, bool fold_case)
{
    char a = i + 1 < text.n ? text.p[i + 1] : '\0';
    char b = i + 2 < text.n ? text.p[i + 2] : '\0';
    if (fold_case) {
        if (a == '\xC5' && b == '\xBF') {
            return i + 3;
        }
        a = (char)(a >= 'A' && a <= 'Z' ? a | 0x20 : a);
        b = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return i + 2;
    }
    bool pair = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return pair ? i + 3 : 0;
}

/* \s+(?!\S)|\s+ for a run of white space [start, end): all of it at the end of the piece, else all
 * but its last character, unless that is the only one. */
static size_t space_split(struct str text, size_t start, size_t end, bool piece_ends)
{
    size_t last = start;
    for (size_t i = start; i < end; i += character_at(text, i).n) {
        last = i;
    }
    return piece_ends || last == start ? end : last;
}

static size_t llama3_space(struct str text, size_t start)
{
    size_t end = start;
    size_t after_newline = start;
    for (struct character c = character_at(text, end); (c.flags & UNICODE_SPACE) != 0;
         c = character_at(text, end)) {
        bool newline = is_newline(text, end);
        end += c.n;
        after_newline = newline ? end : after_newline;
    }
    if (after_newline > start) {
        return after_newline;
    }
    return space_split(text, start, end, end == text.n);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t next_llama3(struct str text, size_t start)
{
    struct character first = character_at(text, start);
    if (first.flags & UNICODE_LETTER) {
        return skip_letters(text, start + first.n);
    }
    if (text.p[start] == '\'') {
        size_t end = contraction_end(text, start, true);
        if (end > 0) {
            return end;
        }
    }
    if (first.flags & UNICODE_NUMBER) {
        size_t end = start + first.n;
        for (int i = 1; i < 3; i++) {
            struct character c = character_at(text, end);
            end += c.flags & UNICODE_NUMBER ? c.n : 0;
        }
        return end;
    }
    size_t second_at = start + first.n;
    struct character second = character_at(text, second_at);
    if ((second.flags & UNICODE_LETTER) && !is_newline(text, start)) {
        return skip_letters(text, second_at + second.n);
    }
    bool space_before_symbol =
        text.p[start] == ' ' && second.n > 0 && (second.flags & NOT_SYMBOL) == 0;
    if ((first.flags & UNICODE_SPACE) && !space_before_symbol) {
        return llama3_space(text, start);
    }
    size_t end = skip_run(text, second_at, 0, NOT_SYMBOL);
    while (is_newline(text, end)) {
        end++;
    }
    return end;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * Characters with a flag of `apart` end the piece: an earlier step has cut before them. */
static size_t next_gpt2(struct str text, size_t start, unsigned apart)
{
    if (text.p[start] == '\'') {
        size_t end = contraction_end(text, start, false);
        if (end > 0) {
            return end;
        }
    }
    size_t i = start;
    struct character c = character_at(text, i);
    if (text.p[i] == ' ') {
        struct character second = character_at(text, i + 1);
        if (second.n > 0 && (second.flags & (UNICODE_SPACE | apart)) == 0) {
            i++;
            c = second;
        }
    }
    if (c.flags & UNICODE_LETTER) {
        return skip_letters(text, i + c.n);
    }
    if (c.flags & UNICODE_NUMBER) {
        return skip_run(text, i + c.n, UNICODE_NUMBER, apart);
    }
    if (c.flags & UNICODE_SPACE) {
        size_t end = skip_run(text, i, UNICODE_SPACE, 0);
        bool piece_ends = end == text.n || (character_at(text, end).flags & apart) != 0;
        return space_split(text, i, end, piece_ends);
    }
    return skip_run(text, i + c.n, 0, NOT_SYMBOL | apart);
}

/* Digits one by one, then GPT-2's expression on what lies between. */
static size_t next_smollm(struct str text, size_t start)
{
    struct character first = character_at(text, start);
    return first.flags & UNICODE_DIGIT ? start + first.n : next_gpt2(text, start, UNICODE_DIGIT);
}

static bool three_digits(struct str text, size_t i)
{
    for (size_t k = i; k < i + 3; k++) {
        if (k >= text.n || text.p[k] < '0' || text.p[k] > '9') {
            return false;
        }
    }
    return true;
}

/* Number runs: [0-9][0-9][0-9] and what lies between those. */
static size_t default_number(struct str text, size_t start)
{
    if (three_digits(text, start)) {
        return start + 3;
    }
    size_t i = start;
    struct character c = character_at(text, i);
    while ((c.flags & UNICODE_NUMBER) && !three_digits(text, i)) {
        i += c.n;
        c = character_at(text, i);
    }
    return i;
}

/* [\p{P}$+<=>^~|]+ , then GPT-2's expression, then \p{N}+ , then [0-9][0-9][0-9], each on the
 * pieces of the one before. An apostrophe is a mark, so there are no contractions. */
static size_t next_default(struct str text, size_t start)
{
    struct character first = character_at(text, start);
    if (first.flags & UNICODE_MARK) {
        return skip_run(text, start + first.n, UNICODE_MARK, 0);
    }
    if (first.flags & UNICODE_NUMBER) {
        return default_number(text, start);
    }
    if (text.p[start] == ' ' && (character_at(text, start + 1).flags & UNICODE_NUMBER)) {
        return start + 1;
    }
    return next_gpt2(text, start, UNICODE_MARK);
}

size_t pretoken_next(enum pretoken kind, struct str text, size_t start)
{
    switch (kind) {
    case PRETOKEN_LLAMA3:
        return next_llama3(text, start);
    case PRETOKEN_SMOLLM:
        return next_smollm(text, start);
    case PRETOKEN_GPT2:
        return next_gpt2(text, start, 0);
    case PRETOKEN_DEFAULT:
        break;
    }
    return next_default(text, start);
}
