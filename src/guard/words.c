/* words.c - a trie of folded code points, walked from every place where a word may begin. The
 * edges of all nodes lie in one hash table. */
#include "guard/words.h"

#include "base/embed.h"
#include "base/mem.h"
#include "token/unicode.h"

EMBED_FILE(words_builtin, "src/guard/profanity.txt")

/* --- characters */

enum { SOFT_HYPHEN = 0xAD, NUKTA = 0x93C, NON_JOINER = 0x200C, JOINER = 0x200D, NO_BREAK = 0x2060 };

/* Characters that words are written with or without. */
static bool is_ignored(uint32_t c)
{
    return c == SOFT_HYPHEN || c == NUKTA || c == NON_JOINER || c == JOINER || c == NO_BREAK;
}

/* Hindi's letters with a nukta have two spellings of one or two code points, and many people leave
 * the dot out. */
static uint32_t fold(uint32_t c)
{
    static const uint16_t bare[] = {0x915, 0x916, 0x917, 0x91C, 0x921, 0x922, 0x92B, 0x92F};
    if (c >= 0x958 && c <= 0x95F) {
        return bare[c - 0x958];
    }
    return (unicode_flags(c) & UNICODE_SPACE) != 0 ? ' ' : unicode_fold(c);
}

static bool is_part_of_word(uint32_t c)
{
    return (unicode_flags(c) & (UNICODE_LETTER | UNICODE_NUMBER)) != 0;
}

/* Belongs to the character before it. */
static bool is_attached(uint32_t c)
{
    return (unicode_flags(c) & UNICODE_COMBINING) != 0 || is_ignored(c);
}

static bool is_thai_or_lao(uint32_t c)
{
    return c >= 0xE00 && c <= 0xEFF;
}

/* Of a script that puts no spaces between words. */
static bool is_unspaced(uint32_t c)
{
    return is_thai_or_lao(c) || (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x9FFF) ||
           (c >= 0x20000 && c <= 0x3FFFF);
}

/* A vowel is written before (U+0E40 .. 0E44) or behind its consonant; Lao has the same places. */
static bool is_one_cluster(uint32_t a, uint32_t b)
{
    uint32_t first = a & 0x7F, second = b & 0x7F;
    return is_thai_or_lao(a) && is_thai_or_lao(b) &&
           ((first >= 0x40 && first <= 0x44) || second == 0x30 || second == 0x32 ||
            second == 0x33 || second == 0x45);
}

/* Whether a word may end before c and another begin; before is the last character that is not
 * attached, 0 at the start. */
static bool is_boundary(uint32_t before, uint32_t c)
{
    if (is_attached(c)) {
        return false;
    }
    if (!is_part_of_word(before) || !is_part_of_word(c)) {
        return true;
    }
    return (is_unspaced(before) || is_unspaced(c)) && !is_one_cluster(before, c);
}

/* --- the list */

enum { ROOT = 0 };

struct edge {
    uint32_t node, code_point;
    uint32_t child; /* ROOT: the place is empty */
};

struct words {
    struct edge *edges; /* (mask + 1), at most half of them in use */
    size_t mask;
    bool *ends; /* (n_nodes) a word ends at this node */
    uint32_t n_nodes;
};

/* Where the edge is, or would be. */
static struct edge *find_edge(const struct words *w, uint32_t node, uint32_t code_point)
{
    uint64_t hash = ((uint64_t)node << 21 | code_point) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(hash >> 32) & w->mask;
    while (w->edges[at].child != ROOT &&
           (w->edges[at].node != node || w->edges[at].code_point != code_point)) {
        at = (at + 1) & w->mask;
    }
    return &w->edges[at];
}

static void add_word(struct words *w, const uint32_t *chars, size_t n)
{
    uint32_t node = ROOT;
    for (size_t i = 0; i < n; i++) {
        struct edge *edge = find_edge(w, node, chars[i]);
        if (edge->child == ROOT) {
            *edge = (struct edge){node, chars[i], w->n_nodes++};
        }
        node = edge->child;
    }
    w->ends[node] = true;
}

/* The folded characters of a line, without spaces around them; none for a comment. */
static bool read_line(struct str line, size_t number, uint32_t chars[WORDS_MAX_CHARS], size_t *n,
                      struct error *e)
{
    *n = 0;
    while (line.n > 0) {
        uint32_t c = 0;
        size_t length = str_decode_utf8(line, &c);
        if (length == 0) {
            return error_set(e, ERROR_USAGE, "line %zu: not UTF-8", number);
        }
        line = str_skip(line, length);
        bool is_space = (unicode_flags(c) & UNICODE_SPACE) != 0;
        if (*n == 0 && c == '#') {
            return true;
        }
        if ((c < 0x20 && !is_space) || c == 0x7F) {
            return error_set(e, ERROR_USAGE, "line %zu: control character U+%04X", number, c);
        }
        if ((*n == 0 && is_space) || is_ignored(c)) {
            continue;
        }
        if (*n == WORDS_MAX_CHARS) {
            return error_set(e, ERROR_USAGE, "line %zu: more than %d characters", number,
                             WORDS_MAX_CHARS);
        }
        chars[(*n)++] = fold(c);
    }
    while (*n > 0 && chars[*n - 1] == ' ') {
        --*n;
    }
    return true;
}

static bool read_lines(struct words *w, struct str list, struct error *e)
{
    uint32_t chars[WORDS_MAX_CHARS];
    size_t n = 0, number = 0;
    if (str_starts_with(list, STR("\xEF\xBB\xBF"))) {
        list = str_skip(list, 3);
    }
    while (list.n > 0) {
        const char *newline = memchr(list.p, '\n', list.n);
        struct str line = {list.p, newline != NULL ? (size_t)(newline - list.p) : list.n};
        list = str_skip(list, newline != NULL ? line.n + 1 : line.n);
        if (!read_line(line, ++number, chars, &n, e)) {
            return false;
        }
        if (n > 0) {
            add_word(w, chars, n);
        }
    }
    return w->n_nodes > 1 || error_set(e, ERROR_USAGE, "no words in %zu lines", number);
}

struct words *words_parse(struct str list, struct error *e)
{
    if (list.n > WORDS_MAX_FILE_BYTES) {
        error_set(e, ERROR_USAGE, "%zu bytes, at most %d", list.n, WORDS_MAX_FILE_BYTES);
        return NULL;
    }
    struct words *w = mem_alloc(1, sizeof *w, "word list", e);
    if (w == NULL) {
        return NULL;
    }
    size_t n_places = 2; /* an edge a byte at most */
    while (n_places < 2 * list.n) {
        n_places *= 2;
    }
    w->n_nodes = 1;
    w->mask = n_places - 1;
    w->edges = mem_alloc(n_places, sizeof *w->edges, "word list", e);
    w->ends = w->edges != NULL ? mem_alloc(list.n + 1, sizeof *w->ends, "word list", e) : NULL;
    if (w->ends == NULL || !read_lines(w, list, e)) {
        words_destroy(w);
        return NULL;
    }
    return w;
}

void words_destroy(struct words *w)
{
    if (w != NULL) {
        mem_free(w->edges);
        mem_free(w->ends);
        mem_free(w);
    }
}

/* --- the judge */

enum { MAX_WALK_BYTES = 8 * WORDS_MAX_CHARS };

struct walk {
    uint32_t node;
    size_t begin; /* byte of the text */
};

struct state {
    const struct words *words;
    size_t n_bytes;                     /* of the text so far */
    struct walk walks[WORDS_MAX_CHARS]; /* (n_walks) that may end in a word, the oldest first */
    size_t n_walks;
    uint32_t before; /* the last character that is not attached; 0 at the start */
};

static void begin(const struct guard_judge *judge, void *state)
{
    ((struct state *)state)->words = judge->context;
}

/* At a boundary: a word that is complete counts, and what it overlaps is not looked at. */
static void find_hit(struct state *s, struct guard_seen *out)
{
    for (size_t i = 0; i < s->n_walks; i++) {
        if (s->words->ends[s->walks[i].node]) {
            out->begin = out->found == 0 ? s->walks[i].begin : out->begin;
            out->found |= guard_bit(GUARD_PROFANITY);
            s->n_walks = 0;
        }
    }
}

/* A walk stays in its place when the character is one that words are written with or without, and
 * ends when it has become too long by these. */
static void advance(struct state *s, uint32_t c)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_walks; i++) {
        struct walk walk = s->walks[i];
        bool goes_on = s->n_bytes - walk.begin < MAX_WALK_BYTES;
        if (goes_on && !is_ignored(c)) {
            walk.node = find_edge(s->words, walk.node, fold(c))->child;
            goes_on = walk.node != ROOT;
        }
        if (goes_on) {
            s->walks[n++] = walk;
        }
    }
    s->n_walks = n;
}

static void take_character(struct state *s, uint32_t c, struct guard_seen *out)
{
    bool boundary = is_boundary(s->before, c);
    if (boundary) {
        find_hit(s, out);
    }
    advance(s, c);
    uint32_t child = boundary ? find_edge(s->words, ROOT, fold(c))->child : ROOT;
    if (child != ROOT) {
        s->walks[s->n_walks++] = (struct walk){child, s->n_bytes};
    }
    s->before = is_attached(c) ? s->before : c;
}

static bool see(void *state, struct str piece, bool is_end, struct guard_seen *out, struct error *e)
{
    (void)e;
    struct state *s = state;
    while (piece.n > 0) {
        uint32_t c = 0xFFFD; /* no letter: what malformed bytes count as */
        size_t length = str_decode_utf8(piece, &c);
        length = length > 0 ? length : 1;
        take_character(s, c, out);
        s->n_bytes += length;
        piece = str_skip(piece, length);
    }
    if (is_end) {
        find_hit(s, out);
        s->n_walks = 0;
    }
    out->vetted = s->n_walks > 0 ? s->walks[0].begin : s->n_bytes;
    return true;
}

struct guard_judge words_judge(const struct words *w)
{
    return (struct guard_judge){.name = "word list",
                                .categories = {[GUARD_ANSWER] = guard_bit(GUARD_PROFANITY)},
                                .context = w,
                                .state_bytes = sizeof(struct state),
                                .begin = begin,
                                .see = see};
}
