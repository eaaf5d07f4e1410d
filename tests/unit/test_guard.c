/* test_guard.c - the content filter: words found whole, in any case, however the text is cut; what
 * is held back; lists that are broken; judges side by side. */
#include "base/mem.h"
#include "guard/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_TEXT_BYTES = 4 << 20, MAX_HELD_BYTES = 8 * WORDS_MAX_CHARS + 8 };

static struct words *parse(const char *list)
{
    struct error e = {0};
    struct words *w = words_parse(str_from(list), &e);
    if (w == NULL) {
        fail_msg("%s", e.text);
    }
    return w;
}

static struct guard guard_of(const struct words *w, bool blocks)
{
    return (struct guard){.judges = {words_judge(w)}, .n_judges = 1, .blocks = blocks};
}

struct result {
    struct buf text;
    unsigned found;
    bool blocked;
    size_t most_held;
};

static size_t next_length(struct str rest)
{
    uint32_t c;
    size_t n = str_decode_utf8(rest, &c);
    return n > 0 ? n : 1;
}

static bool well_formed(struct str text)
{
    uint32_t c;
    size_t length = 1;
    while (text.n > 0 && (length = str_decode_utf8(text, &c)) > 0) {
        text = str_skip(text, length);
    }
    return length > 0;
}

/* Passes the text in pieces of n_chars characters, of which the first has n_first. */
static struct result pass(const struct guard *g, struct str text, size_t n_first, size_t n_chars)
{
    struct guard_text t;
    struct result r = {0};
    struct error e = {0};
    bool is_utf8 = well_formed(text);
    buf_init(&r.text, MAX_TEXT_BYTES);
    guard_text_init(&t, g, GUARD_ANSWER);
    for (size_t n_now = n_first; text.n > 0; n_now = n_chars) {
        struct str piece = {text.p, 0};
        for (size_t i = 0; i < n_now && text.n > 0; i++) {
            size_t length = next_length(text);
            piece.n += length;
            text = str_skip(text, length);
        }
        assert_true(guard_text_push(&t, piece, &r.text, &e));
        assert_true(!is_utf8 || str_complete_utf8(buf_str(&r.text)) == r.text.n);
        r.most_held = t.held.n > r.most_held ? t.held.n : r.most_held;
    }
    assert_true(guard_text_flush(&t, &r.text, &e));
    r.found = t.found;
    r.blocked = t.blocked;
    guard_text_finish(&t);
    return r;
}

static bool hits(const struct words *w, const char *text)
{
    struct guard g = guard_of(w, false);
    struct result r = pass(&g, str_from(text), SIZE_MAX, SIZE_MAX);
    assert_true(str_eq(buf_str(&r.text), str_from(text)));
    assert_false(r.blocked);
    buf_finish(&r.text);
    return r.found == guard_bit(GUARD_PROFANITY);
}

static void expect(const struct words *w, const char *text, bool wanted)
{
    if (hits(w, text) != wanted) {
        fail_msg("'%s' %s", text, wanted ? "is not found" : "is found");
    }
}

/* --- whole words */

static void a_word_is_found_whole_and_in_any_case(void **state)
{
    (void)state;
    static const char *const found[] = {
        "cunt",
        "CUNT",
        "a Cunt.",
        "(cunt)",
        "cunt-like",
        "*cunt*",
        "_cunt_",
        "the cunt\nsaid",
        "l'cunt",
        "\"cunt\"",
        "c++ cunt!",
        "cunt's",
        "son of it",
        "SON\tOF\nIT",
        "x son of it",
        "\xF0\x9F\xA6\x99twat",
        "\xE2\x9D\xA4\xEF\xB8\x8Ftwat", /* a heart with a variation selector */
        "cu\xC2\xADnt",
        "cu\xE2\x80\x8Dnt",
        "cu\xE2\x80\x8Cnt",
        "cu\xE2\x81\xA0nt",
        "\xC3\xA9\xC3\xA8 \xC3\x89T\xC3\x89",
        "\xEF\xBB\xBFtwat",
    };
    static const char *const absent[] = {
        "Scunthorpe",
        "cunts",
        "acunt",
        "cunt2",
        "2cunt",
        "c unt",
        "cunt\xCC\x81",
        "",
        "cun",
        "son  of it",
        "son of its",
        "person of it",
        "son of",
        "sonof it",
        "t\xC3\xA9",
        "\xC3\xA9t",
        "\xC3\xA9t\xC3\xA9s",
        "\xC3\xA9\xC3\xA9t\xC3\xA9",
        "cunt\xC3\xA9",
        "\xE0\xA4\x95twat",
    };
    struct words *w = parse("# said\n cunt \r\ntwat\nson of it\n\xC3\xA9t\xC3\xA9\n");
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        expect(w, found[i], true);
    }
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        expect(w, absent[i], false);
    }
    words_destroy(w);
}

static void letters_of_all_scripts_fold(void **state)
{
    (void)state;
    struct words *w = parse("\xC3\xA4rger\n\xCF\x83\xCE\xB1\n\xD1\x84\xD0\xB8\nstra\xC3\x9F"
                            "e\n");
    expect(w, "\xC3\x84RGER", true);
    expect(w, "\xCE\xA3\xCE\x91", true);
    expect(w, "\xD0\xA4\xD0\x98", true);
    expect(w,
           "STRA\xE1\xBA\x9E"
           "E",
           true); /* U+1E9E is the capital of U+00DF */
    expect(w, "STRASSE", false);
    words_destroy(w);
}

static void hindi_words_are_found_with_and_without_the_dot(void **state)
{
    (void)state;
    /* ha ra A ma ja A da A: the fifth letter with a nukta of its own, composed, and without */
    static const char *const spellings[] = {
        "\xE0\xA4\xB9\xE0\xA4\xB0\xE0\xA4\xBE\xE0\xA4\xAE\xE0\xA4\x9C\xE0\xA4\xBC\xE0\xA4\xBE",
        "\xE0\xA4\xB9\xE0\xA4\xB0\xE0\xA4\xBE\xE0\xA4\xAE\xE0\xA5\x9B\xE0\xA4\xBE",
        "\xE0\xA4\xB9\xE0\xA4\xB0\xE0\xA4\xBE\xE0\xA4\xAE\xE0\xA4\x9C\xE0\xA4\xBE"};
    for (size_t i = 0; i < 3; i++) {
        struct words *w = parse(spellings[i]);
        for (size_t k = 0; k < 3; k++) {
            char text[64];
            expect(w, spellings[k], true);
            snprintf(text, sizeof text, "%s\xE0\xA5\xA4", spellings[k]); /* a danda ends it */
            expect(w, text, true);
            snprintf(text, sizeof text, "%s\xE0\xA4\x82", spellings[k]); /* an anusvara does not */
            expect(w, text, false);
        }
        words_destroy(w);
    }
}

static void thai_words_are_found_where_there_are_no_spaces_but_not_inside_a_vowel(void **state)
{
    (void)state;
    struct words *w = parse("\xE0\xB8\x81\xE0\xB8\xB2\n\xE0\xB8\xA1\xE0\xB8\xB5\n"); /* kaa, mii */
    expect(w, "\xE0\xB8\x95\xE0\xB8\x81\xE0\xB8\xB2\xE0\xB8\x99", true);             /* t kaa n */
    expect(w, "x\xE0\xB8\x81\xE0\xB8\xB2x", true);
    expect(w, "\xE0\xB8\xA1\xE0\xB8\xB5\xE0\xB9\x88", false);            /* mii with a tone */
    expect(w, "\xE0\xB9\x80\xE0\xB8\x81\xE0\xB8\xB2", false);            /* e+kaa is "kao" */
    expect(w, "\xE0\xB8\xA1\xE0\xB8\xB5\xE0\xB8\xB0", false);            /* mii+a is "mia" */
    expect(w, "\xE0\xB8\xA1\xE0\xB8\xB5\xE0\xB9\x80\xE0\xB8\x81", true); /* a vowel begins "ke" */
    words_destroy(w);
    w = parse("\xE9\xA6\xAC\xE9\xB9\xBF\n"); /* Han */
    expect(w, "\xE3\x81\x82\xE9\xA6\xAC\xE9\xB9\xBF\xE9\xA6\xAC", true);
    expect(w, "\xE9\xA6\xAC \xE9\xB9\xBF", false);
    words_destroy(w);
}

/* --- the lists that are built in */

static const char *const languages[] = {"English",    "German", "French",  "Italian",
                                        "Portuguese", "Hindi",  "Spanish", "Thai"};
enum { N_LANGUAGES = sizeof languages / sizeof languages[0] };

/* Every word of the file is found in a sentence and, but for Thai, not inside of a longer word. */
static void every_word_that_is_built_in_is_found_whole(void **state)
{
    (void)state;
    struct error e = {0};
    struct words *w = words_parse(words_builtin(), &e);
    assert_non_null(w);
    size_t n_words[N_LANGUAGES] = {0};
    size_t language = SIZE_MAX;
    char line[256];
    char text[600];
    FILE *f = fopen("src/guard/profanity.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; line[0] == '#' && i < N_LANGUAGES; i++) {
            size_t n = strlen(languages[i]);
            language = strncmp(line + 2, languages[i], n) == 0 ? i : language;
        }
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        n_words[language]++;
        expect(w, line, true);
        snprintf(text, sizeof text, "Well, %s!", line);
        expect(w, text, true);
        if (language != N_LANGUAGES - 1 && strchr(line, ' ') == NULL) {
            snprintf(text, sizeof text, "z%sz", line);
            expect(w, text, false);
        }
    }
    fclose(f);
    for (size_t i = 0; i < N_LANGUAGES; i++) {
        assert_in_range(n_words[i], 20, 50);
    }
    words_destroy(w);
}

static void harmless_sentences_of_eight_languages_are_left_alone(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "The class from Scunthorpe, Essex, assessed the cockatoo; Dickens passed the grass.",
        "Cocktails at the Arsenal: analyse the document, and count the shiitake.",
        "Der Marsch durch den Barsch, dick und fett; die Klasse fickerte nicht. Ficus, Hurekan.",
        "La classe habite en ville avec Satan; il dispute la chatte et la bite d'amarrage.",
        "Con le scarpe di Troia e la gazza, una cazzuola e la calcolatrice culinaria.",
        "A disputa do computador: ele fica na reputa\xC3\xA7\xC3\xA3o, e os pombos deputados.",
        "La reputaci\xC3\xB3n del diputado, computar con la zorra y la verga del barco.",
        /* the peach, the brother-in-law, the river, the moon */
        "\xE0\xA4\x86\xE0\xA4\xA1\xE0\xA4\xBC\xE0\xA5\x82 \xE0\xA4\xB8\xE0\xA4\xBE\xE0\xA4\xB2"
        "\xE0\xA4\xBE \xE0\xA4\xA8\xE0\xA4\xA6\xE0\xA5\x80 \xE0\xA4\x9A\xE0\xA4\xBE"
        "\xE0\xA4\x81\xE0\xA4\xA6",
        /* "chest", "curry puff", "registrar", "paper tiger", "cruel" */
        "\xE0\xB8\xAB\xE0\xB8\xB5\xE0\xB8\x9A \xE0\xB8\x81\xE0\xB8\xB0\xE0\xB8\xAB\xE0\xB8\xA3"
        "\xE0\xB8\xB5\xE0\xB9\x88\xE0\xB8\x9B\xE0\xB8\xB1\xE0\xB9\x8A\xE0\xB8\x9A "
        "\xE0\xB8\xAA\xE0\xB8\xB1\xE0\xB8\xAA\xE0\xB8\x94\xE0\xB8\xB5 "
        "\xE0\xB9\x80\xE0\xB8\xAA\xE0\xB8\xB7\xE0\xB8\xAD\xE0\xB8\x81\xE0\xB8\xA3\xE0\xB8\xB0"
        "\xE0\xB8\x94\xE0\xB8\xB2\xE0\xB8\xA9 "
        "\xE0\xB9\x80\xE0\xB8\xAB\xE0\xB8\xB5\xE0\xB9\x89\xE0\xB8\xA2\xE0\xB8\xA1"};
    struct error e = {0};
    struct words *w = words_parse(words_builtin(), &e);
    assert_non_null(w);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect(w, texts[i], false);
    }
    words_destroy(w);
}

/* As people write it in capitals, one of each language that has them. */
static void capitals_of_the_languages_are_found(void **state)
{
    (void)state;
    static const char *const texts[] = {"WELL, SHIT!",
                                        "DU ARSCHL\xC3\x96"
                                        "CHER!",
                                        "QUEL ENFOIR\xC3\x89!",
                                        "CHE STRONZATA",
                                        "OS CUZ\xC3\x95"
                                        "ES",
                                        "\xC2\xA1"
                                        "CABR\xC3\x93N!",
                                        "BHENCHOD"};
    struct error e = {0};
    struct words *w = words_parse(words_builtin(), &e);
    assert_non_null(w);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        expect(w, texts[i], true);
    }
    words_destroy(w);
}

/* --- pieces */

static const char mixed[] =
    "Scunt cunt, so son of a son of it; \xC3\x89T\xC3\x89 \xF0\x9F\xA6\x99 cu\xC2\xADnt "
    "\xE0\xB8\x95\xE0\xB8\x81\xE0\xB8\xB2\xE0\xB8\x99 (cun) son of itself son of";
static const char mixed_list[] =
    "cunt\nson of it\n\xC3\xA9t\xC3\xA9\n\xE0\xB8\x81\xE0\xB8\xB2\nson\nof a son\n";

/* Cut once at every place, and into equal pieces of every size. */
static void how_a_text_is_cut_changes_nothing(void **state)
{
    (void)state;
    struct words *w = parse(mixed_list);
    struct str text = STR(mixed);
    for (size_t start = 0; start < text.n; start += next_length(str_skip(text, start))) {
        for (int blocks = 0; blocks < 2; blocks++) {
            struct guard g = guard_of(w, blocks != 0);
            struct str rest = str_skip(text, start);
            struct result whole = pass(&g, rest, SIZE_MAX, SIZE_MAX);
            assert_true(blocks || str_eq(buf_str(&whole.text), rest));
            assert_int_equal(whole.blocked, blocks && whole.found != 0);
            for (size_t n = 1; n < rest.n; n++) {
                struct result cut = n % 2 == 0 ? pass(&g, rest, n / 2, SIZE_MAX)
                                               : pass(&g, rest, n / 2 + 1, n / 2 + 1);
                assert_true(str_eq(buf_str(&cut.text), buf_str(&whole.text)));
                assert_int_equal(cut.found, whole.found);
                assert_int_equal(cut.blocked, whole.blocked);
                buf_finish(&cut.text);
            }
            buf_finish(&whole.text);
        }
    }
    words_destroy(w);
}

/* What has left after each character of the text. */
static void expect_way(const struct guard *g, const char *text, const char *const *left)
{
    struct guard_text t;
    struct buf out;
    struct error e = {0};
    buf_init(&out, 1024);
    guard_text_init(&t, g, GUARD_ANSWER);
    for (size_t i = 0; text[i] != '\0'; i++) {
        assert_true(guard_text_push(&t, (struct str){text + i, 1}, &out, &e));
        if (!str_eq(buf_str(&out), str_from(left[i]))) {
            fail_msg("after '%.*s': '%.*s'", (int)(i + 1), text, STR_ARG(buf_str(&out)));
        }
    }
    guard_text_finish(&t);
    buf_finish(&out);
}

static void text_waits_only_while_it_may_become_a_word(void **state)
{
    (void)state;
    struct words *w = parse("bad\n");
    struct guard g = guard_of(w, false);
    expect_way(&g, "bax bad.ab",
               (const char *const[]){"", "", "bax", "bax ", "bax ", "bax ", "bax ", "bax bad.",
                                     "bax bad.a", "bax bad.ab"});
    g.blocks = true;
    expect_way(&g, "bax bad.ab",
               (const char *const[]){"", "", "bax", "bax ", "bax ", "bax ", "bax ", "bax ", "bax ",
                                     "bax "});
    words_destroy(w);
    /* a word that was found does not wait for the longer one that it begins */
    w = parse("bad\nbad day\n");
    g = guard_of(w, false);
    expect_way(&g, "bad da", (const char *const[]){"", "", "", "bad ", "bad d", "bad da"});
    words_destroy(w);
}

static void a_blocked_text_ends_before_the_word_even_at_its_very_end(void **state)
{
    (void)state;
    static const struct {
        const char *text, *left;
    } table[] = {{"ok bad", "ok "},       {"bad", ""},
                 {"so son of it", "so "}, {"so son of bad", "so son of "},
                 {"abad", "abad"},        {"x bad bad", "x "}};
    struct words *w = parse("bad\nson of it\n");
    struct guard g = guard_of(w, true);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct result r = pass(&g, str_from(table[i].text), 1, 1);
        assert_true(str_eq(buf_str(&r.text), str_from(table[i].left)));
        assert_int_equal(r.blocked, strcmp(table[i].text, table[i].left) != 0);
        buf_finish(&r.text);
    }
    words_destroy(w);
}

/* --- hostile text */

static void expect_hostile(const struct words *w, struct str unit, bool found)
{
    enum { N_BYTES = 1 << 20 };
    struct guard g = guard_of(w, false);
    struct buf text;
    buf_init(&text, MAX_TEXT_BYTES);
    while (text.n < N_BYTES) {
        assert_true(buf_append(&text, unit, NULL));
    }
    struct result r = pass(&g, buf_str(&text), 1, 5);
    assert_true(str_eq(buf_str(&r.text), buf_str(&text)));
    assert_in_range(r.most_held, 0, MAX_HELD_BYTES);
    assert_int_equal(r.found != 0, found);
    buf_finish(&r.text);
    buf_finish(&text);
}

static void a_megabyte_of_anything_passes_and_little_of_it_is_held(void **state)
{
    (void)state;
    char list[256];
    snprintf(list, sizeof list, "aaaaaaaaaa\nfuck\n%064d\n\xE0\xB8\x81\xE0\xB8\x81\xE0\xB8\x81x\n",
             0);
    struct words *w = parse(list);
    expect_hostile(w, STR("a"), false);
    expect_hostile(w, STR("fuc"), false);
    expect_hostile(w, STR("0"), false);
    expect_hostile(w, STR(" "), false);
    expect_hostile(w, STR("\xE0\xB8\x81"), false);
    expect_hostile(w, STR("\xCC\x81"), false);
    expect_hostile(w, STR("\xE2\x80\x8D"), false);
    expect_hostile(w, STR("fuck "), true);
    /* a word that goes on without end */
    struct guard g = guard_of(w, false);
    struct buf text;
    buf_init(&text, MAX_TEXT_BYTES);
    assert_true(buf_append(&text, STR("fuc"), NULL));
    for (int i = 0; i < 100000; i++) {
        assert_true(buf_append(&text, STR("\xE2\x80\x8D"), NULL));
    }
    struct result r = pass(&g, buf_str(&text), 1, 1);
    assert_true(str_eq(buf_str(&r.text), buf_str(&text)));
    assert_in_range(r.most_held, 3, MAX_HELD_BYTES);
    buf_finish(&r.text);
    buf_finish(&text);
    words_destroy(w);
}

static void malformed_bytes_end_words_and_stay_as_they_are(void **state)
{
    (void)state;
    struct words *w = parse("bad\n");
    expect(w,
           "\xFF"
           "bad\xFF",
           true);
    expect(w,
           "\xE2\x82"
           "bad",
           true);
    expect(w,
           "ba\xFF"
           "d",
           false);
    expect(w, "bad\xC3", true);
    words_destroy(w);
}

/* --- lists */

static void a_bad_list_is_refused_by_its_line(void **state)
{
    (void)state;
    char long_line[200];
    snprintf(long_line, sizeof long_line, "ok\n\n%0*d\n", WORDS_MAX_CHARS + 1, 0);
    const struct {
        struct str list;
        const char *text;
    } table[] = {
        {STR(""), "no words in 0 lines"},
        {STR("# one\n\n   \t\n"), "no words in 3 lines"},
        {STR("ok\nb\xFF"
             "d\n"),
         "line 2: not UTF-8"},
        {STR("ok\n# \n\n\xED\xA0\x80"), "line 4: not UTF-8"},
        {STR("o\0k\n"), "line 1: control character U+0000"},
        {STR("ok\n\x1b[1m"), "line 2: control character U+001B"},
        {str_from(long_line), "line 3: more than 64 characters"},
        {STR("\xE2\x80\x8D\n"), "no words in 1 lines"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct error e = {0};
        assert_null(words_parse(table[i].list, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        assert_string_equal(e.text, table[i].text);
    }
    struct error e = {0};
    char *large = test_calloc(WORDS_MAX_FILE_BYTES + 1, 1);
    assert_null(words_parse((struct str){large, WORDS_MAX_FILE_BYTES + 1}, &e));
    assert_string_equal(e.text, "1048577 bytes, at most 1048576");
    test_free(large);
}

static void a_list_may_have_a_mark_crlf_comments_and_no_last_newline(void **state)
{
    (void)state;
    struct words *w = parse("\xEF\xBB\xBF"
                            "bad\r\n  # not this\r\n\t worse \r\nlast");
    expect(w, "bad", true);
    expect(w, "so worse.", true);
    expect(w, "the last", true);
    expect(w, "not this", false);
    words_destroy(w);
    char longest[WORDS_MAX_CHARS + 1];
    memset(longest, 'q', WORDS_MAX_CHARS);
    longest[WORDS_MAX_CHARS] = '\0';
    w = parse(longest);
    expect(w, longest, true);
    words_destroy(w);
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    size_t n_failed = 0;
    bool done = false;
    for (size_t nth = 1; !done; nth++) {
        struct error e = {0};
        struct guard_text t;
        struct buf out;
        buf_init(&out, 64);
        mem_fail_nth(nth);
        struct words *w = words_parse(STR("bad\n"), &e);
        struct guard g = guard_of(w, false);
        guard_text_init(&t, &g, GUARD_ANSWER);
        done = w != NULL && guard_text_push(&t, STR("a bad"), &out, &e) &&
               guard_text_flush(&t, &out, &e);
        mem_fail_nth(0);
        if (!done) {
            n_failed++;
            assert_int_equal(e.code, ERROR_MEMORY);
        }
        guard_text_finish(&t);
        words_destroy(w);
        buf_finish(&out);
        assert_true(nth < 100);
    }
    assert_int_equal(n_failed, 6); /* list, edges, ends; held, state, out */
}

/* --- judges side by side: one that a model could be, which looks at the whole text when it ends */

struct late {
    struct buf seen;
    int *n_open;
};

static void late_begin(const struct guard_judge *judge, void *state)
{
    struct late *l = state;
    l->n_open = *(int *const *)judge->context;
    ++*l->n_open;
    buf_init(&l->seen, 1024);
}

static bool late_see(void *state, struct str piece, bool is_end, struct guard_seen *out,
                     struct error *e)
{
    struct late *l = state;
    if (!buf_append(&l->seen, piece, e)) {
        return false;
    }
    if (is_end) {
        const char *bomb = memmem(l->seen.data, l->seen.n, "bomb", 4);
        out->found = bomb != NULL ? guard_bit(GUARD_VIOLENCE) : 0;
        out->begin = bomb != NULL ? (size_t)(bomb - l->seen.data) : 0;
        out->vetted = l->seen.n;
    }
    return true;
}

static void late_end(void *state)
{
    struct late *l = state;
    --*l->n_open;
    buf_finish(&l->seen);
}

static void text_waits_for_the_slowest_judge_and_all_that_they_find_counts(void **state)
{
    (void)state;
    int n_open = 0;
    int *context = &n_open;
    struct words *w = parse("bad\n");
    struct guard g = guard_of(w, false);
    g.judges[g.n_judges++] =
        (struct guard_judge){.name = "late",
                             .categories = {[GUARD_PROMPT] = guard_bit(GUARD_JAILBREAK),
                                            [GUARD_ANSWER] = guard_bit(GUARD_VIOLENCE)},
                             .context = &context,
                             .state_bytes = sizeof(struct late),
                             .begin = late_begin,
                             .see = late_see,
                             .end = late_end};
    static const char text[] = "one bad bomb";
    for (int order = 0; order < 2; order++) {
        g.blocks = false;
        struct result r = pass(&g, STR(text), 1, 1);
        assert_int_equal(r.found, guard_bit(GUARD_VIOLENCE) | guard_bit(GUARD_PROFANITY));
        assert_int_equal(r.most_held, strlen(text));
        assert_true(str_eq(buf_str(&r.text), STR(text)));
        buf_finish(&r.text);
        g.blocks = true;
        r = pass(&g, STR("one bomb bad"), SIZE_MAX, SIZE_MAX);
        assert_true(r.blocked && str_eq(buf_str(&r.text), STR("one ")));
        buf_finish(&r.text);
        assert_int_equal(n_open, 0);
        struct guard_judge first = g.judges[0];
        g.judges[0] = g.judges[1];
        g.judges[1] = first;
    }
    static const char *const names[GUARD_CATEGORY_COUNT] = {NULL,   NULL,   NULL,
                                                            "late", "late", "word list"};
    for (int i = 0; i < GUARD_CATEGORY_COUNT; i++) {
        const char *name = guard_judge_name(&g, (enum guard_category)i);
        assert_true(names[i] == NULL ? name == NULL : strcmp(name, names[i]) == 0);
    }
    words_destroy(w);
}

static void a_judge_of_answers_lets_prompts_pass(void **state)
{
    (void)state;
    struct words *w = parse("bad\n");
    struct guard g = guard_of(w, true);
    struct guard_text t;
    struct buf out;
    buf_init(&out, 64);
    guard_text_init(&t, &g, GUARD_PROMPT);
    assert_true(guard_text_push(&t, STR("so bad"), &out, NULL));
    assert_true(str_eq(buf_str(&out), STR("so bad")));
    assert_int_equal(t.found, 0);
    guard_text_finish(&t);
    guard_text_init(&t, NULL, GUARD_ANSWER);
    assert_true(guard_text_push(&t, STR(" bad"), &out, NULL) && guard_text_flush(&t, &out, NULL));
    assert_true(str_eq(buf_str(&out), STR("so bad bad")));
    guard_text_finish(&t);
    buf_finish(&out);
    words_destroy(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_is_found_whole_and_in_any_case),
        cmocka_unit_test(letters_of_all_scripts_fold),
        cmocka_unit_test(hindi_words_are_found_with_and_without_the_dot),
        cmocka_unit_test(thai_words_are_found_where_there_are_no_spaces_but_not_inside_a_vowel),
        cmocka_unit_test(every_word_that_is_built_in_is_found_whole),
        cmocka_unit_test(harmless_sentences_of_eight_languages_are_left_alone),
        cmocka_unit_test(capitals_of_the_languages_are_found),
        cmocka_unit_test(how_a_text_is_cut_changes_nothing),
        cmocka_unit_test(text_waits_only_while_it_may_become_a_word),
        cmocka_unit_test(a_blocked_text_ends_before_the_word_even_at_its_very_end),
        cmocka_unit_test(a_megabyte_of_anything_passes_and_little_of_it_is_held),
        cmocka_unit_test(malformed_bytes_end_words_and_stay_as_they_are),
        cmocka_unit_test(a_bad_list_is_refused_by_its_line),
        cmocka_unit_test(a_list_may_have_a_mark_crlf_comments_and_no_last_newline),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(text_waits_for_the_slowest_judge_and_all_that_they_find_counts),
        cmocka_unit_test(a_judge_of_answers_lets_prompts_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
