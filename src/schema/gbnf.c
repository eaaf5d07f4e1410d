/* gbnf.c - grammars as llama.cpp writes them: rules of alternatives of sequences, with literals,
 * classes of characters, groups and repetitions. Lists of choices, too. */
#include "schema/grammar_internal.h"

#include "base/mem.h"

enum { MAX_GROUPS = 100 /* within each other */ };

struct gbnf {
    struct grammar_builder *b;
    struct str text;
    size_t at;
    uint32_t depth;    /* groups that are open */
    struct pool names; /* struct str: of a rule of the builder */
    uint32_t *slots;   /* (n_slots) rule + 1 by the hash of its name */
    size_t n_slots;
    struct pool items;   /* uint32_t: expressions of the sequences and choices that are open */
    struct pool ranges;  /* struct grammar_range of the class that is open */
    struct pool literal; /* char of the literal that is open */
};

static uint32_t parse_choice(struct gbnf *g);

static bool failed(const struct gbnf *g)
{
    return g->b->error.code != ERROR_NONE;
}

/* The error's place by line and column. Always false. */
static bool refuse(struct gbnf *g, size_t at, enum error_code code, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < g->text.n; i++) {
        column = g->text.p[i] == '\n' ? 1 : column + 1;
        line += g->text.p[i] == '\n';
    }
    if (!failed(g)) {
        error_set(&g->b->error, code, "grammar, line %zu, column %zu: %s", line, column, what);
    }
    return false;
}

static bool wrong(struct gbnf *g, size_t at, const char *what)
{
    return refuse(g, at, ERROR_FORMAT, what);
}

static bool is_over(const struct gbnf *g)
{
    return g->at >= g->text.n;
}

static char peek(const struct gbnf *g, size_t n)
{
    return g->at + n < g->text.n ? g->text.p[g->at + n] : '\0';
}

static bool skip(struct gbnf *g, struct str what)
{
    bool is_there = str_starts_with(str_skip(g->text, g->at), what);
    g->at += is_there ? what.n : 0;
    return is_there;
}

/* Blanks and comments, and ends of lines where these mean nothing. */
static void skip_space(struct gbnf *g, bool newlines)
{
    while (!is_over(g)) {
        char c = peek(g, 0);
        if (c == '#') {
            while (!is_over(g) && peek(g, 0) != '\n' && peek(g, 0) != '\r') {
                g->at++;
            }
        } else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r'))) {
            g->at++;
        } else {
            break;
        }
    }
}

/* Within a rule: a line that begins with | goes on with the rule, too. */
static void skip_inside(struct gbnf *g)
{
    skip_space(g, g->depth > 0);
    size_t before = g->at;
    skip_space(g, true);
    if (peek(g, 0) != '|') {
        g->at = before;
    }
}

static bool push_item(struct gbnf *g, uint32_t node)
{
    if (node == GRAMMAR_NONE) {
        return false;
    }
    uint32_t *place =
        pool_add(&g->items, 1, sizeof *place, GRAMMAR_MAX_NODES, "expressions", &g->b->error);
    if (place != NULL) {
        *place = node;
    }
    return place != NULL;
}

static uint32_t take_items(struct gbnf *g, uint32_t first,
                           uint32_t (*make)(struct grammar_builder *, const uint32_t *, size_t))
{
    if (failed(g)) {
        return GRAMMAR_NONE;
    }
    uint32_t n = g->items.n - first;
    const uint32_t *items = n > 0 ? (const uint32_t *)g->items.items + first : NULL;
    uint32_t node = make(g->b, items, n);
    g->items.n = first;
    return node;
}

/* --- names */

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct str read_name(struct gbnf *g)
{
    struct str name = {g->text.p + g->at, 0};
    while (is_name(peek(g, 0))) {
        g->at++;
        name.n++;
    }
    return name;
}

static size_t hash_name(struct str name)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < name.n; i++) {
        h = (h ^ (uint8_t)name.p[i]) * 0x100000001B3u;
    }
    return (size_t)(h ^ h >> 32);
}

static const struct str *name_of(const struct gbnf *g, uint32_t rule)
{
    return (const struct str *)g->names.items + rule;
}

static bool grow_slots(struct gbnf *g)
{
    size_t n_slots = g->n_slots > 0 ? 2 * g->n_slots : 64;
    uint32_t *slots = mem_alloc(n_slots, sizeof *slots, "grammar", &g->b->error);
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < g->names.n; i++) {
        size_t at = hash_name(*name_of(g, i));
        while (slots[at & (n_slots - 1)] != 0) {
            at++;
        }
        slots[at & (n_slots - 1)] = i + 1;
    }
    mem_free(g->slots);
    g->slots = slots;
    g->n_slots = n_slots;
    return true;
}

/* The rule of a name, declared if it is new. */
static uint32_t find_rule(struct gbnf *g, struct str name)
{
    if (failed(g) || (2 * ((size_t)g->names.n + 1) > g->n_slots && !grow_slots(g))) {
        return GRAMMAR_NONE;
    }
    size_t at = hash_name(name);
    for (; g->slots[at & (g->n_slots - 1)] != 0; at++) {
        uint32_t rule = g->slots[at & (g->n_slots - 1)] - 1;
        if (str_eq(*name_of(g, rule), name)) {
            return rule;
        }
    }
    uint32_t rule = grammar_declare(g->b, name);
    struct str *place = rule != GRAMMAR_NONE ? pool_add(&g->names, 1, sizeof *place,
                                                        GRAMMAR_MAX_RULES, "rules", &g->b->error)
                                             : NULL;
    if (place == NULL) {
        return GRAMMAR_NONE;
    }
    *place = name;
    g->slots[at & (g->n_slots - 1)] = g->names.n;
    return rule;
}

/* --- characters */

static bool read_hex(struct gbnf *g, uint32_t n_digits, uint32_t *out)
{
    *out = 0;
    for (uint32_t i = 0; i < n_digits; i++, g->at++) {
        int digit = str_hex_digit(peek(g, 0));
        if (digit < 0) {
            return false;
        }
        *out = 16 * *out + (uint32_t)digit;
    }
    return true;
}

static bool read_character(struct gbnf *g, uint32_t *out)
{
    static const char letters[] = "nrt\\\"[]-^", meanings[] = "\n\r\t\\\"[]-^";
    size_t start = g->at;
    if (!skip(g, STR("\\"))) {
        size_t n = str_decode_utf8(str_skip(g->text, g->at), out);
        g->at += n;
        return n > 0 || wrong(g, start, "not UTF-8");
    }
    char c = peek(g, 0);
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    uint32_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    g->at += !is_over(g);
    if (letter != NULL) {
        *out = (uint8_t)meanings[letter - letters];
        return true;
    }
    if (n_digits == 0) {
        return wrong(g, start, "an unknown escape");
    }
    if (!read_hex(g, n_digits, out)) {
        return wrong(g, start, "an escape without its hexadecimal digits");
    }
    if (*out > 0x10FFFF || (*out >= 0xD800 && *out <= 0xDFFF)) {
        return wrong(g, start, "an escape that is no character");
    }
    return true;
}

/* Behind the ". */
static uint32_t parse_literal(struct gbnf *g)
{
    size_t start = g->at - 1;
    g->literal.n = 0;
    while (!skip(g, STR("\""))) {
        uint32_t c;
        char utf8[4];
        if (is_over(g)) {
            wrong(g, start, "a literal without its \"");
            return GRAMMAR_NONE;
        }
        if (!read_character(g, &c)) {
            return GRAMMAR_NONE;
        }
        size_t n = str_encode_utf8(c, utf8);
        char *place =
            pool_add(&g->literal, n, 1, GRAMMAR_MAX_BYTES, "bytes of a literal", &g->b->error);
        if (place == NULL) {
            return GRAMMAR_NONE;
        }
        memcpy(place, utf8, n);
    }
    return grammar_bytes(g->b, (struct str){g->literal.items, g->literal.n});
}

/* Behind the [. */
static uint32_t parse_class(struct gbnf *g)
{
    size_t start = g->at - 1;
    struct grammar_class c = {.negated = skip(g, STR("^"))};
    g->ranges.n = 0;
    while (!skip(g, STR("]"))) {
        struct grammar_range r;
        size_t at = g->at;
        if (is_over(g)) {
            wrong(g, start, "a class without its ]");
            return GRAMMAR_NONE;
        }
        if (!read_character(g, &r.first)) {
            return GRAMMAR_NONE;
        }
        r.last = r.first;
        if (peek(g, 0) == '-' && peek(g, 1) != ']') {
            g->at++;
            if (!read_character(g, &r.last)) {
                return GRAMMAR_NONE;
            }
        }
        if (r.first > r.last) {
            wrong(g, at, "a range whose ends are in the wrong order");
            return GRAMMAR_NONE;
        }
        struct grammar_range *place = pool_add(&g->ranges, 1, sizeof r, GRAMMAR_MAX_NODES,
                                               "ranges of characters", &g->b->error);
        if (place == NULL) {
            return GRAMMAR_NONE;
        }
        *place = r;
    }
    if (g->ranges.n == 0) {
        wrong(g, start, "a class of no characters");
        return GRAMMAR_NONE;
    }
    c.ranges = g->ranges.items;
    c.n_ranges = g->ranges.n;
    return grammar_class(g->b, &c);
}

/* --- repetitions */

static bool read_number(struct gbnf *g, uint32_t *out)
{
    uint64_t value = 0;
    size_t start = g->at;
    while (peek(g, 0) >= '0' && peek(g, 0) <= '9') {
        value = value > GRAMMAR_MAX_REPEAT ? value : 10 * value + (uint64_t)(peek(g, 0) - '0');
        g->at++;
    }
    *out = (uint32_t)value;
    return g->at > start;
}

/* Behind the {. */
static bool read_braces(struct gbnf *g, uint32_t *min, uint32_t *max)
{
    size_t start = g->at - 1;
    skip_space(g, g->depth > 0);
    bool has_min = read_number(g, min);
    *min = has_min ? *min : 0;
    *max = *min;
    skip_space(g, g->depth > 0);
    if (skip(g, STR(","))) {
        skip_space(g, g->depth > 0);
        *max = read_number(g, max) ? *max : GRAMMAR_UNLIMITED;
        skip_space(g, g->depth > 0);
        has_min = has_min || *max != GRAMMAR_UNLIMITED;
    }
    if (!has_min || !skip(g, STR("}"))) {
        return wrong(g, start, "a repetition that is not {m}, {m,} or {m,n}");
    }
    return *min <= *max || wrong(g, start, "a repetition whose ends are in the wrong order");
}

/* Any number of repetitions, each of all before it. */
static uint32_t parse_repetitions(struct gbnf *g, uint32_t node)
{
    while (node != GRAMMAR_NONE) {
        uint32_t min = 0, max = GRAMMAR_UNLIMITED;
        size_t before = g->at;
        skip_space(g, g->depth > 0);
        if (skip(g, STR("+"))) {
            min = 1;
        } else if (skip(g, STR("?"))) {
            max = 1;
        } else if (skip(g, STR("{"))) {
            if (!read_braces(g, &min, &max)) {
                return GRAMMAR_NONE;
            }
        } else if (!skip(g, STR("*"))) {
            g->at = before;
            break;
        }
        node = grammar_repeat(g->b, node, min, max);
    }
    return node;
}

/* --- rules */

static uint32_t parse_group(struct gbnf *g)
{
    size_t start = g->at - 1;
    if (g->depth == MAX_GROUPS) {
        refuse(g, start, ERROR_UNSUPPORTED, "more than 100 groups within each other");
        return GRAMMAR_NONE;
    }
    g->depth++;
    skip_space(g, true);
    uint32_t node = parse_choice(g);
    g->depth--;
    if (node != GRAMMAR_NONE && !skip(g, STR(")"))) {
        wrong(g, start, "a ( without its )");
        return GRAMMAR_NONE;
    }
    return node;
}

/* An element of a sequence; *is_none when there is no other. */
static uint32_t parse_element(struct gbnf *g, bool *is_none)
{
    *is_none = false;
    if (skip(g, STR("\""))) {
        return parse_literal(g);
    }
    if (skip(g, STR("["))) {
        return parse_class(g);
    }
    if (skip(g, STR("("))) {
        return parse_group(g);
    }
    if (skip(g, STR("."))) {
        return grammar_class(g->b, &(struct grammar_class){.negated = true});
    }
    if (peek(g, 0) == '<' || (peek(g, 0) == '!' && peek(g, 1) == '<')) {
        refuse(g, g->at, ERROR_UNSUPPORTED, "a token by name or number: a grammar is about text");
        return GRAMMAR_NONE;
    }
    if (is_name(peek(g, 0))) {
        return grammar_call(g->b, find_rule(g, read_name(g)));
    }
    *is_none = true;
    return GRAMMAR_NONE;
}

static uint32_t parse_sequence(struct gbnf *g)
{
    uint32_t first = g->items.n;
    for (;;) {
        bool is_none;
        uint32_t node = parse_element(g, &is_none);
        if (is_none) {
            return take_items(g, first, grammar_sequence);
        }
        if (!push_item(g, parse_repetitions(g, node))) {
            return GRAMMAR_NONE;
        }
        skip_inside(g);
    }
}

static uint32_t parse_choice(struct gbnf *g)
{
    uint32_t first = g->items.n;
    do {
        skip_space(g, true);
        if (!push_item(g, parse_sequence(g))) {
            return GRAMMAR_NONE;
        }
        skip_inside(g);
    } while (skip(g, STR("|")));
    return take_items(g, first, grammar_choice);
}

static void parse_rule(struct gbnf *g)
{
    size_t start = g->at;
    struct str name = read_name(g);
    uint32_t rule = find_rule(g, name);
    skip_space(g, false);
    if (name.n == 0 || !skip(g, STR("::="))) {
        wrong(g, start, "not a rule (name ::= ...)");
        return;
    }
    uint32_t body = parse_choice(g);
    if (body != GRAMMAR_NONE && !is_over(g) && peek(g, 0) != '\n' && peek(g, 0) != '\r') {
        wrong(g, g->at, "not an element of a rule");
    }
    grammar_define(g->b, rule, body);
    skip_space(g, true);
}

static uint32_t parse(struct gbnf *g)
{
    if (g->text.n > GRAMMAR_MAX_BYTES) {
        error_set(&g->b->error, ERROR_UNSUPPORTED, "a grammar of %zu bytes: at most %d", g->text.n,
                  GRAMMAR_MAX_BYTES);
        return GRAMMAR_NONE;
    }
    skip_space(g, true);
    while (!is_over(g) && !failed(g)) {
        parse_rule(g);
    }
    uint32_t n_rules = g->b->rules.n, root = find_rule(g, STR("root"));
    if (!failed(g) && g->b->rules.n > n_rules) {
        error_set(&g->b->error, ERROR_FORMAT, "grammar: no rule is called 'root'");
    }
    return grammar_call(g->b, root);
}

struct grammar *grammar_from_gbnf(struct str text, struct error *e)
{
    struct gbnf g = {.b = grammar_builder_create(e), .text = text};
    struct grammar *result = NULL;
    if (g.b != NULL) {
        result = grammar_compile(g.b, parse(&g), e);
    }
    grammar_builder_destroy(g.b);
    mem_free(g.names.items);
    mem_free(g.slots);
    mem_free(g.items.items);
    mem_free(g.ranges.items);
    mem_free(g.literal.items);
    return result;
}

struct grammar *grammar_from_choices(const struct str *choices, size_t n, struct error *e)
{
    struct grammar_builder *b = grammar_builder_create(e);
    struct grammar *g = NULL;
    uint32_t *nodes =
        b != NULL && n <= GRAMMAR_MAX_NODES ? mem_alloc(n, sizeof *nodes, "grammar", e) : NULL;
    if (b != NULL && n > GRAMMAR_MAX_NODES) {
        error_set(e, ERROR_UNSUPPORTED, "%zu choices: at most %d", n, GRAMMAR_MAX_NODES);
    }
    if (nodes != NULL) {
        for (size_t i = 0; i < n; i++) {
            nodes[i] = grammar_bytes(b, choices[i]);
        }
        g = grammar_compile(b, grammar_choice(b, nodes, n), e);
    }
    mem_free(nodes);
    grammar_builder_destroy(b);
    return g;
}
