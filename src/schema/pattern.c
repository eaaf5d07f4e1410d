/* pattern.c - regular expressions: the part of Python's `re` and ECMA-262 that means the same in
 * both, as expressions of a grammar. What is no regular language, or means different things, is
 * refused by name. Anchors stand where a text begins or ends; a search puts any text where there
 * are none. */
#include "schema/grammar_internal.h"

#include "base/mem.h"

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

static uint32_t any_text(const struct pattern *p)
{
    return grammar_repeat(p->b, make_class(p, NULL, 0, true), 0, GRAMMAR_UNLIMITED);
}

/* --- characters */

/* Classes of escapes: letters and digits are ASCII's, spaces ECMA-262's. */
static const struct grammar_range digits[] = {{'0', '9'}};
static const struct grammar_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct grammar_range spaces[] = {
    {0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const struct grammar_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static const struct grammar_range *class_of_letter(char letter, size_t *n, bool *negated)
{
    *negated = letter == 'D' || letter == 'W' || letter == 'S';
    switch (letter) {
    case 'd':
    case 'D':
        *n = sizeof digits / sizeof digits[0];
        return digits;
    case 'w':
    case 'W':
        *n = sizeof words / sizeof words[0];
        return words;
    case 's':
    case 'S':
        *n = sizeof spaces / sizeof spaces[0];
        return spaces;
    default:
        return NULL;
    }
}

static bool read_hex(struct pattern *p, uint32_t n_digits, uint32_t *out)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < n_digits; i++) {
        char c = peek(p, i);
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16 || value > 0xFFFFFFF) {
            return false;
        }
        value = 16 * value + digit;
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
    uint32_t low;
    if (!read_hex(p, 4, out)) {
        return false;
    }
    if (*out >= 0xD800 && *out <= 0xDBFF && skip(p, STR("\\u")) && read_hex(p, 4, &low) &&
        low >= 0xDC00 && low <= 0xDFFF) {
        *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
    }
    return true;
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
    if (*out > 0x10FFFF || (*out >= 0xD800 && *out <= 0xDFFF)) {
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
static bool push_letter_class(struct pattern *p, char letter)
{
    size_t n = 0;
    bool negated = false;
    const struct grammar_range *ranges = class_of_letter(letter, &n, &negated);
    struct grammar_range others[32];
    struct grammar_class c = {.ranges = ranges, .n_ranges = n, .negated = negated};
    n = alphabet_ranges(&c, others);
    for (size_t i = 0; i < n; i++) {
        if (!push_range(p, others[i].first, others[i].last)) {
            return false;
        }
    }
    return true;
}

/* One character of a class; *is_class when it is a letter's class, which is pushed. */
static bool read_member(struct pattern *p, uint32_t *out, bool *is_class)
{
    size_t n;
    bool negated;
    *is_class = peek(p, 0) == '\\' && class_of_letter(peek(p, 1), &n, &negated) != NULL;
    if (*is_class) {
        p->at += 2;
        return push_letter_class(p, p->text.p[p->at - 1]);
    }
    return skip(p, STR("\\")) ? read_escape(p, true, out) : read_character(p, out);
}

/* Behind the [. */
static uint32_t parse_class(struct pattern *p)
{
    size_t start = p->at - 1;
    bool negated = skip(p, STR("^")), is_class, is_last_class;
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
        if (!read_member(p, &first, &is_class)) {
            return GRAMMAR_NONE;
        }
        if (peek(p, 0) == '-' && peek(p, 1) != ']' && p->at + 1 < p->text.n) {
            p->at++;
            if (is_class || !read_member(p, &last, &is_last_class) || is_last_class) {
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
    size_t start = p->at, n;
    bool negated;
    uint32_t c;
    if (skip(p, STR("["))) {
        return parse_class(p);
    }
    if (skip(p, STR("."))) {
        bool all = (p->flags & GRAMMAR_PATTERN_DOT_ALL) != 0;
        return make_class(p, line_ends, all ? 0 : sizeof line_ends / sizeof line_ends[0], true);
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
    const struct grammar_range *ranges = class_of_letter(peek(p, 0), &n, &negated);
    if (ranges != NULL) {
        p->at++;
        return make_class(p, ranges, n, negated);
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
    bool is_first = true;
    while (!is_alternative_end(p) && !failed(p)) {
        if (place.is_end && skip_end(p)) {
            while (skip_end(p)) {
            }
            if (!is_alternative_end(p)) {
                unsupported(p, p->at, "something behind an anchor ($)");
                return GRAMMAR_NONE;
            }
            rest.is_end = false;
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
