/* test_token.c - encoding and decoding against what Hugging Face tokenizers and sentencepiece make
 * of the same texts: tests/golden/token, written by tests/oracle/token_golden.py. */
#include "base/mem.h"
#include "base/rng.h"
#include "vocab_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/token/"

/* --- golden files */

struct model {
    struct gguf *gguf;
    struct tokenizer *t;
};

static struct model open_model(const char *path)
{
    struct error e = {0};
    struct model m = {.gguf = gguf_open(path, &e)};
    assert_string_equal(e.text, "");
    m.t = tokenizer_create(m.gguf, &e);
    assert_string_equal(e.text, "");
    return m;
}

static void close_model(struct model *m)
{
    tokenizer_destroy(m->t);
    gguf_destroy(m->gguf);
}

/* Cuts the next field off *line, up to a tab or the line's end. */
static struct str next_field(char **line)
{
    size_t n = strcspn(*line, "\t\n");
    struct str field = {*line, n};
    *line += n + ((*line)[n] == '\t');
    return field;
}

static int hex_value(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Bytes of hexadecimal text, in place. */
static struct str from_hex(struct str hex)
{
    char *out = (char *)(uintptr_t)hex.p;
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        out[i / 2] = (char)(hex_value(hex.p[i]) * 16 + hex_value(hex.p[i + 1]));
    }
    return (struct str){out, hex.n / 2};
}

/* Takes the next of the numbers separated by commas; false at the end. */
static bool next_number(struct str *numbers, size_t *out)
{
    if (numbers->n == 0) {
        return false;
    }
    *out = 0;
    while (numbers->n > 0 && numbers->p[0] != ',') {
        *out = *out * 10 + (size_t)(numbers->p[0] - '0');
        *numbers = str_skip(*numbers, 1);
    }
    *numbers = str_skip(*numbers, numbers->n > 0);
    return true;
}

static void check_encoding(const struct tokenizer *t, struct str text, struct str ids,
                           unsigned flags)
{
    struct token_list list = {0};
    assert_true(tokenizer_encode(t, text, flags, &list, NULL));
    size_t n = 0;
    for (size_t id = 0; next_number(&ids, &id); n++) {
        assert_true(n < list.n);
        assert_int_equal(list.ids[n], id);
    }
    assert_int_equal(list.n, n);
    assert_true(tokenizer_least_tokens(t, text) <= n);
    token_list_finish(&list);
}

static void check_cases(const char *model, const char *cases, unsigned flags)
{
    struct model m = open_model(model);
    FILE *f = fopen(cases, "r");
    assert_non_null(f);
    char *line = NULL;
    size_t capacity = 0;
    size_t n_cases = 0;
    while (getline(&line, &capacity, f) > 0) {
        char *p = line;
        struct str text = from_hex(next_field(&p));
        check_encoding(m.t, text, next_field(&p), flags);
        n_cases++;
    }
    assert_true(n_cases > 0);
    free(line);
    fclose(f);
    close_model(&m);
}

static void bpe_gives_the_ids_of_tokenizers(void **state)
{
    (void)state;
    check_cases(GOLDEN "bpe.gguf", GOLDEN "bpe.cases", 0);
}

static void special_tokens_are_parsed_when_asked_as_tokenizers_does(void **state)
{
    (void)state;
    check_cases(GOLDEN "bpe.gguf", GOLDEN "bpe_special.cases", TOKEN_PARSE_SPECIAL);
}

static void spm_with_byte_fallback_gives_the_ids_of_sentencepiece(void **state)
{
    (void)state;
    check_cases(GOLDEN "spm.gguf", GOLDEN "spm.cases", 0);
}

static void spm_without_bytes_gives_the_unknown_token_as_sentencepiece_does(void **state)
{
    (void)state;
    check_cases(GOLDEN "spm_unknown.gguf", GOLDEN "spm_unknown.cases", 0);
}

static struct tokenizer *tokenizer_with_pre(struct vocab_file *f, struct str pre)
{
    char name[32];
    snprintf(name, sizeof name, "%.*s", STR_ARG(pre));
    struct vocab_spec spec = {.model = "gpt2", .pre = name, .tokens = "a,b,ab", .merges = "a b"};
    vocab_file_open(f, &spec);
    struct tokenizer *t = tokenizer_create(f->gguf, NULL);
    assert_non_null(t);
    return t;
}

static void splits_are_those_of_tokenizers(void **state)
{
    (void)state;
    FILE *f = fopen(GOLDEN "splits.cases", "r");
    assert_non_null(f);
    char *line = NULL;
    size_t capacity = 0;
    size_t ends[4096];
    while (getline(&line, &capacity, f) > 0) {
        char *p = line;
        struct vocab_file file;
        struct tokenizer *t = tokenizer_with_pre(&file, next_field(&p));
        struct str text = from_hex(next_field(&p));
        struct str lengths = next_field(&p);
        assert_true(text.n <= 4096);
        size_t n = tokenizer_split(t, text, ends);
        size_t end = 0;
        size_t i = 0;
        for (size_t length = 0; next_number(&lengths, &length); i++) {
            end += length;
            assert_true(i < n);
            assert_int_equal(ends[i], end);
        }
        assert_int_equal(i, n);
        tokenizer_destroy(t);
        vocab_file_close(&file);
    }
    free(line);
    fclose(f);
}

/* --- text cannot become control */

/* Every special token of the file inside other text, byte by byte in every cut. */
static void inject_all_specials(const struct tokenizer *t)
{
    const struct token_info *info = tokenizer_info(t);
    struct token_list list = {0};
    for (uint32_t id = 0; id < info->n_tokens; id++) {
        if (tokenizer_kind(t, id) != TOKEN_CONTROL) {
            continue;
        }
        char text[200];
        struct str name = tokenizer_text(t, id);
        int n = snprintf(text, sizeof text, "%.*s a%.*s\n%.*s%.*s", STR_ARG(name), STR_ARG(name),
                         STR_ARG(name), STR_ARG(name));
        assert_true(n > 0 && (size_t)n < sizeof text);
        list.n = 0;
        assert_true(tokenizer_encode(t, (struct str){text, (size_t)n}, 0, &list, NULL));
        assert_true(list.n > 4);
        for (size_t i = 0; i < list.n; i++) {
            assert_int_not_equal(tokenizer_kind(t, list.ids[i]), TOKEN_CONTROL);
        }
        list.n = 0;
        assert_true(tokenizer_encode(t, name, TOKEN_PARSE_SPECIAL, &list, NULL));
        assert_int_equal(list.n, 1);
        assert_int_equal(list.ids[0], id);
    }
    token_list_finish(&list);
}

static void names_of_control_tokens_in_text_stay_text(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "bpe.gguf", GOLDEN "spm.gguf"};
    for (size_t i = 0; i < 2; i++) {
        struct model m = open_model(files[i]);
        inject_all_specials(m.t);
        close_model(&m);
    }
}

/* "ab" is a control token that merging a and b, or looking the whole split up, would give. */
static void merging_and_whole_splits_never_give_a_control_token(void **state)
{
    (void)state;
    static const struct vocab_spec specs[] = {
        {.model = "gpt2", .pre = "llama3", .tokens = "a,b,ab", .merges = "a b", .kinds = "113"},
        {.model = "gpt2", .pre = "smollm", .tokens = "a,b,ab", .merges = "a b", .kinds = "113"},
        {.model = "llama", .tokens = "a,b,ab", .scores = "000", .kinds = "113"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct vocab_file f;
        vocab_file_open(&f, &specs[i]);
        struct tokenizer *t = tokenizer_create(f.gguf, NULL);
        assert_non_null(t);
        struct token_list list = {0};
        assert_true(tokenizer_encode(t, STR("ab"), TOKEN_CONTINUE, &list, NULL));
        assert_int_equal(list.n, 2);
        assert_int_equal(list.ids[0], 0);
        assert_int_equal(list.ids[1], 1);
        token_list_finish(&list);
        tokenizer_destroy(t);
        vocab_file_close(&f);
    }
}

/* --- decoding */

static void fill_random(struct rng *rng, char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t r = rng_next(rng);
        text[i] = (char)(r % 3 == 0 ? r >> 32 : ' ' + (r >> 32) % 0x5F);
    }
}

static void decoding_gives_back_any_bytes(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "bpe.gguf", GOLDEN "spm.gguf"};
    struct rng rng;
    rng_init(&rng, 11);
    for (size_t i = 0; i < 400; i++) {
        struct model m = open_model(files[i % 2]);
        char bytes[300];
        struct str text = {bytes, rng_next(&rng) % sizeof bytes};
        fill_random(&rng, bytes, text.n);
        struct token_list list = {0};
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_true(tokenizer_encode(m.t, text, TOKEN_ADD_BOS, &list, NULL));
        assert_true(tokenizer_decode(m.t, list.ids, list.n, false, &out, NULL));
        assert_int_equal(out.n, text.n);
        assert_true(str_eq(buf_str(&out), text));
        buf_finish(&out);
        token_list_finish(&list);
        close_model(&m);
    }
}

/* Streams the byte tokens of bytes one by one; every part handed out must be whole code points. */
static void stream_bytes(const struct tokenizer *t, struct str bytes, struct buf *out)
{
    struct token_stream s;
    token_stream_init(&s);
    for (size_t i = 0; i < bytes.n; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (uint8_t)bytes.p[i]);
        uint32_t id = tokenizer_find(t, str_from(name));
        assert_int_not_equal(id, TOKEN_NONE);
        size_t before = out->n;
        assert_true(token_stream_push(&s, t, id, false, out, NULL));
        struct str part = str_skip(buf_str(out), before);
        while (part.n > 0) {
            uint32_t c = 0;
            size_t n = str_decode_utf8(part, &c);
            assert_true(n > 0);
            part = str_skip(part, n);
        }
    }
    assert_true(token_stream_flush(&s, out, NULL));
}

/* The examples of the Unicode Standard, tables 3-8 to 3-11 (U+FFFD for maximal subparts). */
static void streams_replace_each_maximal_ill_formed_part(void **state)
{
    (void)state;
#define R "\xEF\xBF\xBD"
    static const struct {
        const char *bytes, *text;
    } examples[] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", R R R R R R R R "A"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", R R R R R R R R "A"},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", R R R R R "A" R R "B"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", R R R R "A"},
        {"a\xF1\x80\x80\xE1\x80\xC2"
         "b\x80"
         "c\x80\xBF"
         "d",
         "a" R R R "b" R "c" R R "d"},
        {"x\xE2\x82", "x" R},
        {"\xE2\x82\xAC\xF0\x9F\x98\x80", "\xE2\x82\xAC\xF0\x9F\x98\x80"},
    };
    struct model m = open_model(GOLDEN "spm.gguf");
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        struct buf out;
        buf_init(&out, 1000);
        stream_bytes(m.t, str_from(examples[i].bytes), &out);
        assert_true(buf_append_byte(&out, '\0', NULL));
        assert_string_equal(out.data, examples[i].text);
        buf_finish(&out);
    }
    close_model(&m);
}

static void streaming_valid_text_gives_the_same_as_decoding(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "bpe.gguf", GOLDEN "spm.gguf"};
    static const char text[] = " na\xC3\xAFve \xE2\x82\xAC 1\n\xF0\x9F\xA6\x99 \xE0\xA4\xB2\xE0"
                               "\xA4\xBE";
    for (size_t i = 0; i < 2; i++) {
        struct model m = open_model(files[i]);
        struct token_list list = {0};
        struct token_stream s;
        struct buf out;
        buf_init(&out, 1000);
        token_stream_init(&s);
        assert_true(tokenizer_encode(m.t, str_from(text), TOKEN_ADD_BOS, &list, NULL));
        for (size_t k = 0; k < list.n; k++) {
            assert_true(token_stream_push(&s, m.t, list.ids[k], false, &out, NULL));
            assert_int_equal(str_complete_utf8(buf_str(&out)), out.n);
        }
        assert_true(token_stream_flush(&s, &out, NULL));
        assert_true(str_eq(buf_str(&out), str_from(text)));
        buf_finish(&out);
        token_list_finish(&list);
        close_model(&m);
    }
}

static void control_tokens_show_only_when_asked(void **state)
{
    (void)state;
    struct model m = open_model(GOLDEN "bpe.gguf");
    uint32_t id = tokenizer_find(m.t, STR("<|im_end|>"));
    assert_int_not_equal(id, TOKEN_NONE);
    assert_int_equal(tokenizer_piece(m.t, id, false).n, 0);
    assert_true(str_eq(tokenizer_piece(m.t, id, true), STR("<|im_end|>")));
    assert_true(tokenizer_is_end(m.t, id));
    assert_false(tokenizer_is_end(m.t, tokenizer_find(m.t, STR("<|im_start|>"))));
    close_model(&m);
}

/* --- space prefix of SPM, as llama.cpp puts it: at the start and after special tokens */

static void check_text(const struct tokenizer *t, const char *text, unsigned flags,
                       const char *expected)
{
    struct token_list list = {0};
    struct buf out;
    buf_init(&out, 1000);
    assert_true(tokenizer_encode(t, str_from(text), flags, &list, NULL));
    for (size_t i = 0; i < list.n; i++) {
        struct str piece = tokenizer_text(t, list.ids[i]);
        assert_true(buf_printf(&out, NULL, "[%.*s]", STR_ARG(piece)));
    }
    assert_true(buf_append_byte(&out, '\0', NULL));
    assert_string_equal(out.data, expected);
    buf_finish(&out);
    token_list_finish(&list);
}

#define SPACE "\xE2\x96\x81"

static void spm_puts_a_space_at_the_start_and_after_special_tokens(void **state)
{
    (void)state;
    static const struct vocab_spec spec = {.model = "llama",
                                           .tokens = "<unk>,<s>,</s>," SPACE ",a,b," SPACE "a,<u>",
                                           .scores = "00012310",
                                           .kinds = "23311114"};
    struct vocab_file f;
    vocab_file_open(&f, &spec);
    struct tokenizer *t = tokenizer_create(f.gguf, NULL);
    assert_non_null(t);
    check_text(t, "", 0, "");
    check_text(t, "", TOKEN_ADD_BOS, "[<s>]");
    check_text(t, "ab", TOKEN_ADD_BOS, "[<s>][" SPACE "a][b]");
    check_text(t, "ab", TOKEN_CONTINUE, "[a][b]");
    check_text(t, " ab", 0, "[" SPACE "][" SPACE "a][b]");
    check_text(t, "b</s>a b", TOKEN_PARSE_SPECIAL,
               "[" SPACE "][b][</s>][" SPACE "a][" SPACE "][b]");
    check_text(t, "</s>a", TOKEN_PARSE_SPECIAL | TOKEN_CONTINUE, "[</s>][" SPACE "a]");
    check_text(t, "b<u>a", 0, "[" SPACE "][b][<u>][" SPACE "a]");
    check_text(t,
               "a\x81zz\xC3\xA9"
               "b",
               0, "[" SPACE "a][<unk>][b]");
    tokenizer_destroy(t);
    vocab_file_close(&f);
}

/* --- bounds */

/* Texts where bytes and tokens are furthest apart: BPE leaves out bytes without a token, SPM takes
 * three bytes for one blank. */
static void the_least_number_of_tokens_is_no_more_than_there_are(void **state)
{
    (void)state;
    static const struct {
        struct vocab_spec spec;
        const char *text;
        size_t least, n;
    } table[] = {
        {{.model = "gpt2", .pre = "gpt-2", .tokens = "a,b,ab", .merges = "a b", .kinds = "111"},
         "ababaXXXXXXXXXXXX",
         2,
         3},
        {{.model = "llama", .tokens = "<u>,a," SPACE SPACE, .scores = "012", .kinds = "211"},
         SPACE SPACE SPACE "a" SPACE SPACE,
         0,
         4},
        {{.model = "llama",
          .tokens = "<unk>,<0xE2>,<0x96>,<0x81>,<0x20>,a,aaaa," SPACE SPACE,
          .scores = "00000012",
          .kinds = "26666111"},
         SPACE SPACE SPACE SPACE SPACE "aaaaaaaa",
         2,
         11},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct vocab_file f;
        struct token_list list = {0};
        vocab_file_open(&f, &table[i].spec);
        struct tokenizer *t = tokenizer_create(f.gguf, NULL);
        assert_non_null(t);
        assert_int_equal(tokenizer_least_tokens(t, str_from(table[i].text)), table[i].least);
        assert_true(tokenizer_encode(t, str_from(table[i].text), 0, &list, NULL));
        assert_int_equal(list.n, table[i].n);
        token_list_finish(&list);
        tokenizer_destroy(t);
        vocab_file_close(&f);
    }
}

/* --- time */

/* 1 MB of one letter: with a quadratic loop this would take most of an hour. */
static void a_long_run_of_one_letter_is_no_trouble(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "bpe.gguf", GOLDEN "spm.gguf"};
    size_t n = 1 << 20;
    char *run = malloc(n);
    assert_non_null(run);
    for (size_t i = 0; i < 4; i++) {
        struct model m = open_model(files[i % 2]);
        memset(run, i < 2 ? 'a' : ' ', n);
        struct token_list list = {0};
        assert_true(tokenizer_encode(m.t, (struct str){run, n}, 0, &list, NULL));
        assert_true(list.n > 0 && list.n <= n + 1);
        token_list_finish(&list);
        close_model(&m);
    }
    free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_gives_the_ids_of_tokenizers),
        cmocka_unit_test(special_tokens_are_parsed_when_asked_as_tokenizers_does),
        cmocka_unit_test(spm_with_byte_fallback_gives_the_ids_of_sentencepiece),
        cmocka_unit_test(spm_without_bytes_gives_the_unknown_token_as_sentencepiece_does),
        cmocka_unit_test(splits_are_those_of_tokenizers),
        cmocka_unit_test(names_of_control_tokens_in_text_stay_text),
        cmocka_unit_test(merging_and_whole_splits_never_give_a_control_token),
        cmocka_unit_test(decoding_gives_back_any_bytes),
        cmocka_unit_test(streams_replace_each_maximal_ill_formed_part),
        cmocka_unit_test(streaming_valid_text_gives_the_same_as_decoding),
        cmocka_unit_test(control_tokens_show_only_when_asked),
        cmocka_unit_test(spm_puts_a_space_at_the_start_and_after_special_tokens),
        cmocka_unit_test(the_least_number_of_tokens_is_no_more_than_there_are),
        cmocka_unit_test(a_long_run_of_one_letter_is_no_trouble),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
