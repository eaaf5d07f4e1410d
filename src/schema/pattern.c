/* pattern.c - regular expressions of Python's `re` and ECMA-262, as expressions of a grammar. Where
 * both match different texts an expression has those of both, or, WIDE, those of either. What is no
 * regular language is refused by name, as is syntax with two meanings. Anchors stand where a text
 * begins or ends; a search puts any text where there are none. */
#include "schema/grammar_internal.h"

#include "base/mem.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

enum { MAX_GROUPS = 100 /* within each other */ };

struct pattern {
    struct grammar_builder *b;
    struct str text;
    size_t at;
    unsigned flags;
    uint32_t depth;
    uint32_t *close_of; /* (text.n) of a ( the place of its ) */
    struct pool items;  /* uint32_t: expressions of the sequences and choices that are open */
    struct pool ranges; /* struct grammar_range of the class that is open */
};

/* Which ends of the text those of an expression are. */
struct place {
    bool is_start, is_end;
};

static uint32_t parse_choice(struct pattern *p, struct place place);

static bool failed(const struct pattern *p)
{
    return p->b->error.code != ERROR_NONE;
}

static bool refuse(struct pattern *p, size_t at, enum error_code code, const char *what)
{
    if (!failed(p)) {
        error_set(&p->b->error, code, "pattern, byte %zu: %s%s", at,
                  code == ERROR_UNSUPPORTED ? "not supported: " : "", what);
    }
    return false;
}

static bool wrong(struct pattern *p, size_t at, const char *what)
{
    return refuse(p, at, ERROR_FORMAT, what);
}

static bool unsupported(struct pattern *p, size_t at, const char *what)
{
    return refuse(p, at, ERROR_UNSUPPORTED, what);
}

static bool is_over(const struct pattern *p)
{
    return p->at >= p->text.n;
}

/* The byte n further on, 0 behind the end. */
static char peek(const struct pattern *p, size_t n)
{
    return p->at + n < p->text.n ? p->text.p[p->at + n] : '\0';
}

static bool skip(struct pattern *p, struct str what)
{
    bool is_there = str_starts_with(str_skip(p->text, p->at), what);
    p->at += is_there ? what.n : 0;
    return is_there;
}

static bool push_item(struct pattern *p, uint32_t node)
{
    if (node == GRAMMAR_NONE) {
        return false;
    }
    uint32_t *place =
        pool_add(&p->items, 1, sizeof *place, GRAMMAR_MAX_NODES, "expressions", &p->b->error);
    if (place != NULL) {
        *place = node;
    }
    return place != NULL;
}

static bool push_range(struct pattern *p, uint32_t first, uint32_t last)
{
    struct grammar_range *place = pool_add(&p->ranges, 1, sizeof *place, GRAMMAR_MAX_NODES,
                                           "ranges of characters", &p->b->error);
    if (place != NULL) {
        *place = (struct grammar_range){first, last};
    }
    return place != NULL;
}

static uint32_t make_class(const struct pattern *p, const struct grammar_range *ranges, size_t n,
                           bool negated)
{
    struct grammar_class c = {
        .ranges = ranges,
        .n_ranges = n,
        .negated = negated,
        .alphabet = (p->flags & GRAMMAR_PATTERN_JSON) != 0 ? GRAMMAR_JSON_PLAIN : GRAMMAR_UTF8};
    return grammar_class(p->b, &c);
}

static bool is_wide_pattern(const struct pattern *p)
{
    return (p->flags & GRAMMAR_PATTERN_WIDE) != 0;
}

static uint32_t any_text(const struct pattern *p)
{
    return grammar_repeat(p->b, make_class(p, NULL, 0, true), 0, GRAMMAR_UNLIMITED);
}

/* --- characters */

/* Classes of escapes: what every reader of patterns counts to them (ECMA-262, Python's `re` for
 * str, Rust's regex), and what some reader does, by any version of Unicode. */
static const struct grammar_range digits[] = {{'0', '9'}};
static const struct grammar_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct grammar_range spaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},
                                              {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                                              {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
static const struct grammar_range line_ends[] = {{'\n', '\n'}};

/* General category Nd; all of plane 1 below its symbols, where new digits come. */
static const struct grammar_range some_digits[] = {
    {'0', '9'},       {0x660, 0x669},   {0x6F0, 0x6F9},     {0x7C0, 0x7C9},    {0x966, 0x96F},
    {0x9E6, 0x9EF},   {0xA66, 0xA6F},   {0xAE6, 0xAEF},     {0xB66, 0xB6F},    {0xBE6, 0xBEF},
    {0xC66, 0xC6F},   {0xCE6, 0xCEF},   {0xD66, 0xD6F},     {0xDE6, 0xDEF},    {0xE50, 0xE59},
    {0xED0, 0xED9},   {0xF20, 0xF29},   {0x1040, 0x1049},   {0x1090, 0x1099},  {0x17E0, 0x17E9},
    {0x1810, 0x1819}, {0x1946, 0x194F}, {0x19D0, 0x19D9},   {0x1A80, 0x1A89},  {0x1A90, 0x1A99},
    {0x1B50, 0x1B59}, {0x1BB0, 0x1BB9}, {0x1C40, 0x1C49},   {0x1C50, 0x1C59},  {0xA620, 0xA629},
    {0xA8D0, 0xA8D9}, {0xA900, 0xA909}, {0xA9D0, 0xA9D9},   {0xA9F0, 0xA9F9},  {0xAA50, 0xAA59},
    {0xABF0, 0xABF9}, {0xFF10, 0xFF19}, {0x10000, 0x1EFFF}, {0x1FBF0, 0x1FBF9}};
/* All but the blocks of punctuation and symbols: the automata of exact tables of letters, numbers
 * and marks would be much larger. */
static const struct grammar_range some_words[] = {
    {'0', '9'},        {'A', 'Z'},         {'_', '_'},         {'a', 'z'},       {0xAA, 0xAA},
    {0xB2, 0xB3},      {0xB5, 0xB5},       {0xB9, 0xBA},       {0xBC, 0xBE},     {0xC0, 0xD6},
    {0xD8, 0xF6},      {0xF8, 0x60B},      {0x60E, 0x61A},     {0x620, 0x669},   {0x66E, 0x6D3},
    {0x6D5, 0x963},    {0x966, 0x1FFF},    {0x200C, 0x200D},   {0x203F, 0x2040}, {0x2054, 0x2054},
    {0x2070, 0x209F},  {0x20D0, 0x2115},   {0x2118, 0x2121},   {0x2123, 0x218F}, {0x2460, 0x24FF},
    {0x2776, 0x2793},  {0x2C00, 0x2DFF},   {0x2E2F, 0x2E2F},   {0x3005, 0x3007}, {0x3021, 0x302F},
    {0x3031, 0x303C},  {0x3040, 0x30FA},   {0x30FC, 0xDFFF},   {0xF900, 0xFEFE}, {0xFF10, 0xFF19},
    {0xFF21, 0xFF3A},  {0xFF3F, 0xFF3F},   {0xFF41, 0xFF5A},   {0xFF66, 0xFFDF}, {0xFFE7, 0xFFFB},
    {0xFFFE, 0x1EFFF}, {0x1F100, 0x1F1E5}, {0x1FB00, 0x10FFFF}};
static const struct grammar_range some_spaces[] = {
    {0x09, 0x0D},     {0x1C, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
    {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
    {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const struct grammar_range some_line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

/* In the order of class_of_letter()'s letters. */
static const struct letter_class {
    const struct grammar_range *all, *some; /* of every reader, of some reader */
    size_t n_all, n_some;
} letter_classes[] = {
    {digits, some_digits, COUNT(digits), COUNT(some_digits)},
    {words, some_words, COUNT(words), COUNT(some_words)},
    {spaces, some_spaces, COUNT(spaces), COUNT(some_spaces)},
    {line_ends, some_line_ends, COUNT(line_ends), COUNT(some_line_ends)},
};

static bool is_class_letter(char letter)
{
    return letter != '\0' && strchr("dwsDWS", letter) != NULL;
}

/* What is not in a wide class is in a narrow one of the others, and the other way round. */
static struct grammar_class class_of_letter(char letter, bool is_wide)
{
    static const char letters[] = "dws\nDWS.";
    size_t i = (size_t)(strchr(letters, letter) - letters);
    bool negated = i >= COUNT(letter_classes);
    const struct letter_class *c = &letter_classes[i % COUNT(letter_classes)];
    bool some = is_wide != negated;
    return (struct grammar_class){.ranges = some ? c->some : c->all,
                                  .n_ranges = some ? c->n_some : c->n_all,
                                  .negated = negated};
}

static bool read_hex(struct pattern *p, uint32_t n_digits, uint32_t *out)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < n_digits; i++) {
        int digit = str_hex_digit(peek(p, i));
        if (digit < 0 || value > 0xFFFFFFF) {
            return false;
        }
        value = 16 * value + (uint32_t)digit;
    }
    p->at += n_digits;
    *out = value;
    return true;
}

static bool read_unicode(struct pattern *p, uint32_t *out)
{
    if (peek(p, 0) == '{') {
        uint32_t n = 0;
        while (n < 9 && peek(p, 1 + n) != '}' && peek(p, 1 + n) != '\0') {
            n++;
        }
        p->at++;
        return n > 0 && read_hex(p, n, out) && skip(p, STR("}"));
    }
    return read_hex(p, 4, out);
}

/* The character of an escape, behind the backslash. */
static bool read_escape(struct pattern *p, bool in_class, uint32_t *out)
{
    static const char letters[] = "tnrfv0", meanings[] = "\t\n\r\f\v\0";
    size_t start = p->at - 1;
    if (is_over(p)) {
        return wrong(p, start, "a backslash at the end");
    }
    char c = p->text.p[p->at];
    const char *letter = strchr(letters, c);
    bool is_alphanumeric =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool ok = true;
    if (!is_alphanumeric) {
        size_t n = str_decode_utf8(str_skip(p->text, p->at), out);
        p->at += n;
        return n > 0 || wrong(p, start, "not UTF-8");
    }
    p->at++;
    if (letter != NULL && !(c == '0' && peek(p, 0) >= '0' && peek(p, 0) <= '9')) {
        *out = (uint8_t)meanings[letter - letters];
    } else if (c == 'b' && in_class) {
        *out = '\b';
    } else if (c == 'x') {
        ok = read_hex(p, 2, out);
    } else if (c == 'u') {
        ok = read_unicode(p, out);
    } else if (c == 'U') {
        ok = read_hex(p, 8, out);
    } else if (c >= '0' && c <= '9') {
        return unsupported(p, start, "a backreference or octal escape");
    } else if (c == 'k') {
        return unsupported(p, start, "a backreference");
    } else if (c == 'b' || c == 'B') {
        return unsupported(p, start, "a word boundary (\\b or \\B)");
    } else if (c == 'p' || c == 'P') {
        return unsupported(p, start, "a Unicode property (\\p)");
    } else {
        return unsupported(p, start, "an escape of this letter");
    }
    if (!ok) {
        return wrong(p, start, "an escape without its hexadecimal digits");
    }
    if (*out >= 0xD800 &&
        *out <= 0xDFFF) { /* ECMA-262 has pairs of them, with a flag; Python none */
        return unsupported(p, start, "half a surrogate pair: write the character itself");
    }
    if (*out > 0x10FFFF) {
        return wrong(p, start, "an escape that is no character");
    }
    return true;
}

static bool read_character(struct pattern *p, uint32_t *out)
{
    size_t n = str_decode_utf8(str_skip(p->text, p->at), out);
    p->at += n;
    return n > 0 || wrong(p, p->at, "not UTF-8");
}

/* A letter's class among others, the other characters for a negated one. */
static bool push_letter_class(struct pattern *p, char letter, bool is_wide)
{
    struct grammar_class c = class_of_letter(letter, is_wide);
    struct grammar_range ranges[2 * COUNT(some_words) + 3]; /* none has more */
    size_t n = alphabet_ranges(&c, ranges);
    for (size_t i = 0; i < n; i++) {
        if (!push_range(p, ranges[i].first, ranges[i].last)) {
            return false;
        }
    }
    return true;
}

/* One character of a class; *is_class when it is a letter's class, which is pushed. */
static bool read_member(struct pattern *p, bool is_wide, uint32_t *out, bool *is_class)
{
    *is_class = peek(p, 0) == '\\' && is_class_letter(peek(p, 1));
    if (*is_class) {
        p->at += 2;
        return push_letter_class(p, p->text.p[p->at - 1], is_wide);
    }
    return skip(p, STR("\\")) ? read_escape(p, true, out) : read_character(p, out);
}

/* Behind the [. */
static uint32_t parse_class(struct pattern *p)
{
    size_t start = p->at - 1;
    bool negated = skip(p, STR("^")), is_class, is_last_class;
    bool is_wide = negated != is_wide_pattern(p); /* of what is left out */
    p->ranges.n = 0;
    if (peek(p, 0) == ']') {
        unsupported(p, start, "a class that begins with ], which has two meanings: write \\]");
        return GRAMMAR_NONE;
    }
    while (!skip(p, STR("]"))) {
        uint32_t first, last;
        if (is_over(p)) {
            wrong(p, start, "a class without its ]");
            return GRAMMAR_NONE;
        }
        size_t at = p->at;
        if (!read_member(p, is_wide, &first, &is_class)) {
            return GRAMMAR_NONE;
        }
        if (peek(p, 0) == '-' && peek(p, 1) != ']' && p->at + 1 < p->text.n) {
            p->at++;
            if (is_class || !read_member(p, is_wide, &last, &is_last_class) || is_last_class) {
                wrong(p, at, "a range without a character at both ends");
                return GRAMMAR_NONE;
            }
            if (first > last) {
                wrong(p, at, "a range whose ends are in the wrong order");
                return GRAMMAR_NONE;
            }
            is_class = !push_range(p, first, last);
        } else if (!is_class && !push_range(p, first, first)) {
            return GRAMMAR_NONE;
        }
    }
    return failed(p) ? GRAMMAR_NONE : make_class(p, p->ranges.items, p->ranges.n, negated);
}

static uint32_t letter_class(struct pattern *p, char letter)
{
    struct grammar_class c = class_of_letter(letter, is_wide_pattern(p));
    return make_class(p, c.ranges, c.n_ranges, c.negated);
}

static uint32_t character(struct pattern *p, uint32_t c)
{
    struct grammar_range one = {c, c};
    char utf8[4];
    return (p->flags & GRAMMAR_PATTERN_JSON) != 0
               ? make_class(p, &one, 1, false)
               : grammar_bytes(p->b, (struct str){utf8, str_encode_utf8(c, utf8)});
}

/* --- groups and anchors */

/* Where each ( has its ); a pattern without one for each is refused. */
static bool find_groups(struct pattern *p)
{
    uint32_t open[MAX_GROUPS];
    uint32_t n = 0;
    bool in_class = false;
    for (size_t i = 0; i < p->text.n; i++) {
        char c = p->text.p[i];
        if (c == '\\') {
            i++;
        } else if (in_class) {
            in_class = c != ']';
        } else if (c == '[') {
            in_class = true;
        } else if (c == '(') {
            if (n == MAX_GROUPS) {
                return unsupported(p, i, "more than 100 groups within each other");
            }
            open[n++] = (uint32_t)i;
        } else if (c == ')') {
            if (n == 0) {
                return wrong(p, i, "a ) without its (");
            }
            p->close_of[open[--n]] = (uint32_t)i;
        }
    }
    return n == 0 || wrong(p, open[n - 1], "a ( without its )");
}

/* Behind the (: what the group is. */
static bool read_group_kind(struct pattern *p)
{
    size_t start = p->at - 1;
    if (peek(p, 0) != '?' || skip(p, STR("?:"))) {
        return true;
    }
    if (peek(p, 1) == '=' || peek(p, 1) == '!' ||
        (peek(p, 1) == '<' && (peek(p, 2) == '=' || peek(p, 2) == '!'))) {
        return unsupported(p, start, "lookaround");
    }
    if (!skip(p, STR("?P<")) && !skip(p, STR("?<"))) {
        return unsupported(p, start, "a group with flags, a comment or a condition");
    }
    while (!is_over(p) && peek(p, 0) != '>') {
        char c = peek(p, 0) | 0x20;
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && peek(p, 0) != '_') {
            break;
        }
        p->at++;
    }
    return skip(p, STR(">")) || wrong(p, start, "a group's name without its >");
}

static bool is_quantifier(const struct pattern *p, size_t at)
{
    char c = at < p->text.n ? p->text.p[at] : '\0';
    return c == '*' || c == '+' || c == '?' || c == '{';
}

static bool is_alternative_end(const struct pattern *p)
{
    return is_over(p) || peek(p, 0) == '|' || peek(p, 0) == ')';
}

/* Behind the (; inner is which ends of the text the group has, as it was found to be. */
static uint32_t parse_group(struct pattern *p, struct place inner)
{
    if (!read_group_kind(p)) {
        return GRAMMAR_NONE;
    }
    uint32_t node = parse_choice(p, inner);
    p->at++; /* the ), which find_groups saw */
    return node;
}

static bool skip_start(struct pattern *p)
{
    return skip(p, STR("^")) || skip(p, STR("\\A"));
}

static bool skip_end(struct pattern *p)
{
    return skip(p, STR("$")) || skip(p, STR("\\Z"));
}

/* --- quantifiers */

static bool read_number(struct pattern *p, uint32_t *out)
{
    uint64_t value = 0;
    size_t start = p->at;
    while (peek(p, 0) >= '0' && peek(p, 0) <= '9') {
        value = value > GRAMMAR_MAX_REPEAT ? value : 10 * value + (uint64_t)(peek(p, 0) - '0');
        p->at++;
    }
    *out = (uint32_t)value;
    return p->at > start;
}

/* {m}, {m,} or {m,n}; false, with nothing read, when it is none and so a character. */
static bool read_braces(struct pattern *p, uint32_t *min, uint32_t *max)
{
    size_t start = p->at;
    p->at++;
    if (peek(p, 0) == ',' && peek(p, 1) >= '0' && peek(p, 1) <= '9') {
        unsupported(p, start, "{,n}, which has two meanings: write {0,n}");
        return false;
    }
    if (read_number(p, min)) {
        *max = *min;
        if (skip(p, STR(",")) && !read_number(p, max)) {
            *max = GRAMMAR_UNLIMITED;
        }
        if (skip(p, STR("}"))) {
            return true;
        }
    }
    p->at = start;
    return false;
}

static uint32_t parse_quantifier(struct pattern *p, uint32_t node)
{
    uint32_t min = 0, max = GRAMMAR_UNLIMITED;
    size_t start = p->at;
    if (skip(p, STR("+"))) {
        min = 1;
    } else if (skip(p, STR("?"))) {
        max = 1;
    } else if (!skip(p, STR("*")) && (peek(p, 0) != '{' || !read_braces(p, &min, &max))) {
        return failed(p) ? GRAMMAR_NONE : node;
    }
    if (min > max) {
        wrong(p, start, "a repetition whose ends are in the wrong order");
        return GRAMMAR_NONE;
    }
    if (peek(p, 0) == '+') {
        unsupported(p, p->at, "a possessive quantifier, or one of a quantifier");
        return GRAMMAR_NONE;
    }
    skip(p, STR("?")); /* lazy: the same texts */
    size_t at = p->at;
    uint32_t unused;
    if (peek(p, 0) == '*' || peek(p, 0) == '?' ||
        (peek(p, 0) == '{' && read_braces(p, &unused, &unused))) {
        wrong(p, at, "a quantifier of a quantifier");
        return GRAMMAR_NONE;
    }
    return failed(p) ? GRAMMAR_NONE : grammar_repeat(p->b, node, min, max);
}

/* --- sequences and choices */

static uint32_t parse_atom(struct pattern *p)
{
    size_t start = p->at;
    uint32_t c;
    if (skip(p, STR("["))) {
        return parse_class(p);
    }
    if (skip(p, STR("."))) {
        return (p->flags & GRAMMAR_PATTERN_DOT_ALL) != 0 ? make_class(p, NULL, 0, true)
                                                         : letter_class(p, '.');
    }
    if (peek(p, 0) == '^' || peek(p, 0) == '$') {
        unsupported(p, start, "an anchor (^ or $) that is not at an end of the pattern");
        return GRAMMAR_NONE;
    }
    if (peek(p, 0) == '*' || peek(p, 0) == '+' || peek(p, 0) == '?') {
        wrong(p, start, "a quantifier of nothing");
        return GRAMMAR_NONE;
    }
    if (!skip(p, STR("\\"))) {
        return read_character(p, &c) ? character(p, c) : GRAMMAR_NONE;
    }
    if (is_class_letter(peek(p, 0))) {
        p->at++;
        return letter_class(p, p->text.p[p->at - 1]);
    }
    return read_escape(p, false, &c) ? character(p, c) : GRAMMAR_NONE;
}

/* Takes the expressions from `first` on off the list. */
static uint32_t take_items(struct pattern *p, uint32_t first,
                           uint32_t (*make)(struct grammar_builder *, const uint32_t *, size_t))
{
    if (failed(p)) {
        return GRAMMAR_NONE;
    }
    uint32_t n = p->items.n - first;
    const uint32_t *items = n > 0 ? (const uint32_t *)p->items.items + first : NULL;
    uint32_t node = make(p->b, items, n);
    p->items.n = first;
    return node;
}

/* A piece of a sequence. Of a group at an end of the text the alternatives have the anchors, or the
 * text before and behind, so *rest loses that end. */
static uint32_t parse_piece(struct pattern *p, bool is_first, struct place *rest)
{
    if (!skip(p, STR("("))) {
        return parse_quantifier(p, parse_atom(p));
    }
    size_t behind = p->close_of[p->at - 1] + 1;
    bool is_last = behind == p->text.n || p->text.p[behind] == '|' || p->text.p[behind] == ')';
    struct place inner = {rest->is_start && is_first && !is_quantifier(p, behind),
                          rest->is_end && is_last};
    uint32_t node = parse_group(p, inner);
    rest->is_start = rest->is_start && !inner.is_start;
    rest->is_end = rest->is_end && !inner.is_end;
    return parse_quantifier(p, node);
}

static uint32_t parse_sequence(struct pattern *p, struct place place)
{
    uint32_t first = p->items.n;
    struct place rest = place; /* ends that have no anchor yet */
    while (place.is_start && skip_start(p)) {
        rest.is_start = false;
    }
    bool searches = (p->flags & GRAMMAR_PATTERN_SEARCH) != 0;
    bool starts = rest.is_start && searches;
    /* its place is kept, and taken back when a group has it */
    if (starts && !push_item(p, any_text(p))) {
        return GRAMMAR_NONE;
    }
    bool is_first = true, ends = false;
    while (!is_alternative_end(p) && !failed(p)) {
        if (place.is_end && skip_end(p)) {
            while (skip_end(p)) {
            }
            if (!is_alternative_end(p)) {
                unsupported(p, p->at, "something behind an anchor ($)");
                return GRAMMAR_NONE;
            }
            rest.is_end = false;
            ends = true;
            break;
        }
        bool had_start = rest.is_start;
        uint32_t piece = parse_piece(p, is_first, &rest);
        if (starts && had_start && !rest.is_start) {
            p->items.n--;
        }
        if (!push_item(p, piece)) {
            return GRAMMAR_NONE;
        }
        is_first = false;
    }
    if (rest.is_end && searches && !push_item(p, any_text(p))) {
        return GRAMMAR_NONE;
    }
    /* Python's $ stands before a last line end, too */
    if (ends && searches && is_wide_pattern(p) &&
        !push_item(p, grammar_repeat(p->b, character(p, '\n'), 0, 1))) {
        return GRAMMAR_NONE;
    }
    return take_items(p, first, grammar_sequence);
}

static uint32_t parse_choice(struct pattern *p, struct place place)
{
    uint32_t first = p->items.n;
    do {
        if (!push_item(p, parse_sequence(p, place))) {
            return GRAMMAR_NONE;
        }
    } while (skip(p, STR("|")));
    return take_items(p, first, grammar_choice);
}

uint32_t grammar_pattern(struct grammar_builder *b, struct str pattern, unsigned flags)
{
    struct pattern p = {.b = b, .text = pattern, .flags = flags};
    uint32_t node = GRAMMAR_NONE;
    if (failed(&p)) {
        return GRAMMAR_NONE;
    }
    if (pattern.n > GRAMMAR_MAX_BYTES) {
        error_set(&b->error, ERROR_UNSUPPORTED, "a pattern of %zu bytes: at most %d", pattern.n,
                  GRAMMAR_MAX_BYTES);
        return GRAMMAR_NONE;
    }
    p.close_of = mem_alloc(pattern.n, sizeof *p.close_of, "pattern", &b->error);
    if (p.close_of != NULL && find_groups(&p)) {
        node = parse_choice(&p, (struct place){true, true});
    }
    mem_free(p.close_of);
    mem_free(p.items.items);
    mem_free(p.ranges.items);
    if (node != GRAMMAR_NONE) {
        ((struct expression *)b->nodes.items)[node].is_atomic = true;
    }
    return node;
}

struct grammar *grammar_from_pattern(struct str pattern, struct error *e)
{
    struct grammar_builder *b = grammar_builder_create(e);
    struct grammar *g = NULL;
    if (b != NULL) {
        g = grammar_compile(b, grammar_pattern(b, pattern, 0), e);
    }
    grammar_builder_destroy(b);
    return g;
}
