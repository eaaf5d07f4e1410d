/* fuzz_words.c - a word list, a NUL, a byte that says how the text is cut, the text. Whatever they
 * are, the text leaves as it came, or its beginning where the filter blocks, and the cuts change
 * nothing; in ASCII a plain search for each line finds the same. */
#include "guard/words.h"

#include "require.h"

#include <ctype.h>

enum { MOST_HELD = 8 * WORDS_MAX_CHARS + 8 };

struct result {
    struct buf text;
    unsigned found;
    bool blocked;
};

/* Pieces of n_chars characters; malformed bytes count as one each. */
static struct result pass(const struct words *w, bool blocks, struct str text, size_t n_chars)
{
    struct guard g = {.judges = {words_judge(w)}, .n_judges = 1, .blocks = blocks};
    struct result r = {0};
    struct guard_text t;
    buf_init(&r.text, 1 << 24);
    guard_text_init(&t, &g, GUARD_ANSWER);
    while (text.n > 0) {
        struct str piece = {text.p, 0};
        for (size_t i = 0; i < n_chars && text.n > 0; i++) {
            uint32_t c;
            size_t length = str_decode_utf8(text, &c);
            piece.n += length > 0 ? length : 1;
            text = str_skip(text, length > 0 ? length : 1);
        }
        require(guard_text_push(&t, piece, &r.text, NULL));
        require(t.held.n <= MOST_HELD);
    }
    require(guard_text_flush(&t, &r.text, NULL));
    require(t.held.n == 0);
    r.found = t.found;
    r.blocked = t.blocked;
    guard_text_finish(&t);
    return r;
}

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static int folded(char c)
{
    return isspace((unsigned char)c) ? ' ' : tolower((unsigned char)c);
}

static bool is_end(struct str text, size_t at)
{
    return at == 0 || at == text.n || !isalnum((unsigned char)text.p[at - 1]) ||
           !isalnum((unsigned char)text.p[at]);
}

static bool has_word(struct str text, struct str word)
{
    for (size_t at = 0; at + word.n <= text.n; at++) {
        size_t i = 0;
        while (i < word.n && folded(text.p[at + i]) == folded(word.p[i])) {
            i++;
        }
        if (i == word.n && is_end(text, at) && is_end(text, at + word.n)) {
            return true;
        }
    }
    return false;
}

static bool search_plainly(struct str list, struct str text)
{
    bool found = false;
    while (list.n > 0) {
        const char *newline = memchr(list.p, '\n', list.n);
        struct str line = {list.p, newline != NULL ? (size_t)(newline - list.p) : list.n};
        list = str_skip(list, newline != NULL ? line.n + 1 : line.n);
        while (line.n > 0 && folded(line.p[0]) == ' ') {
            line = str_skip(line, 1);
        }
        while (line.n > 0 && folded(line.p[line.n - 1]) == ' ') {
            line.n--;
        }
        found = found || (line.n > 0 && line.p[0] != '#' && has_word(text, line));
    }
    return found;
}

static void check_text(const struct words *w, struct str list, struct str text, size_t n_chars)
{
    struct result whole = pass(w, false, text, SIZE_MAX);
    struct result cut = pass(w, false, text, n_chars);
    struct result blocked = pass(w, true, text, n_chars);
    require(str_eq(buf_str(&whole.text), text) && str_eq(buf_str(&cut.text), text));
    require(whole.found == cut.found && whole.found == blocked.found);
    require(!whole.blocked && !cut.blocked && blocked.blocked == (whole.found != 0));
    require(str_starts_with(text, buf_str(&blocked.text)));
    require(blocked.blocked == (blocked.text.n < text.n));
    if (is_ascii(list) && is_ascii(text)) {
        require((whole.found != 0) == search_plainly(list, text));
    }
    buf_finish(&whole.text);
    buf_finish(&cut.text);
    buf_finish(&blocked.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct error e = {0};
    struct str input = {(const char *)data, n_bytes};
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    struct str list = {input.p, nul != NULL ? (size_t)(nul - data) : n_bytes};
    struct str rest = str_skip(input, list.n + (nul != NULL));
    size_t n_chars = rest.n > 0 ? 1 + (unsigned char)rest.p[0] % 32 : 1;
    struct words *w = words_parse(list, &e);
    if (w != NULL) {
        check_text(w, list, rest.n > 0 ? str_skip(rest, 1) : list, n_chars);
    } else {
        require(e.code == ERROR_USAGE && e.text[0] != '\0');
    }
    words_destroy(w);
    return 0;
}
