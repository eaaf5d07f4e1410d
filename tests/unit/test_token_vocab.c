/* test_token_vocab.c - what tokenizer_create makes of vocabularies: rules that the file does not
 * state, roles of tokens, a table of bad files, and memory that runs out. */
#include "base/mem.h"
#include "vocab_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

struct made {
    struct vocab_file file;
    struct tokenizer *t;
};

static struct made make(const struct vocab_spec *spec, struct error *e)
{
    struct made m;
    vocab_file_open(&m.file, spec);
    assert_non_null(m.file.gguf);
    m.t = tokenizer_create(m.file.gguf, e);
    return m;
}

static struct made make_good(const struct vocab_spec *spec)
{
    struct error e = {0};
    struct made m = make(spec, &e);
    assert_string_equal(e.text, "");
    assert_non_null(m.t);
    return m;
}

static void finish(struct made *m)
{
    tokenizer_destroy(m->t);
    vocab_file_close(&m->file);
}

/* --- bad files */

struct bad_vocab {
    const char *name;
    struct vocab_spec spec;
    enum error_code code;
    const char *message; /* must occur in the error's text */
};

#define BPE            .model = "gpt2", .pre = "smollm"
#define AB             .tokens = "a,b,ab", .merges = "a b"
#define SPM            .model = "llama", .tokens = "<unk>,<s>,</s>,a"
#define KEY(name)      "tokenizer.ggml." name
#define ITEMS(type, n) " 4:9 4:" #type " 8:" #n

static const struct bad_vocab bad_vocabs[] = {
    {"no model", {.pre = "smollm", AB}, ERROR_FORMAT, KEY("model")},
    {"model of another kind", {.model = "bert", AB}, ERROR_UNSUPPORTED, "'bert'"},
    {"unknown pre-tokeniser", {.model = "gpt2", .pre = "qwen2", AB}, ERROR_UNSUPPORTED, "'qwen2'"},
    {"no tokens", {BPE, .merges = "a b"}, ERROR_FORMAT, KEY("tokens") ": missing"},
    {"tokens are no array",
     {BPE, .merges = "a b", .raw = " s:" KEY("tokens") " 4:8 s:abc", .n_raw = 1},
     ERROR_FORMAT,
     "string, expected an array of strings"},
    {"tokens are numbers",
     {BPE, .merges = "a b", .raw = " s:" KEY("tokens") ITEMS(4, 1) " 4:1", .n_raw = 1},
     ERROR_FORMAT,
     "array of u32, expected an array of strings"},
    {"zero tokens",
     {BPE, .merges = "a b", .raw = " s:" KEY("tokens") ITEMS(8, 0), .n_raw = 1},
     ERROR_FORMAT,
     "0 tokens"},
    {"no merges", {BPE, .tokens = "a,b"}, ERROR_FORMAT, KEY("merges") ": missing"},
    {"merges are numbers",
     {BPE, .tokens = "a,b", .raw = " s:" KEY("merges") ITEMS(5, 1) " 4:1", .n_raw = 1},
     ERROR_FORMAT,
     "array of i32, expected an array of strings"},
    {"merge of one part", {BPE, .tokens = "a,b,ab", .merges = "ab"}, ERROR_FORMAT, "'ab' is not"},
    {"empty merge", {BPE, .tokens = "a,b,ab", .merges = "a b,"}, ERROR_FORMAT, "merge 1 ''"},
    {"merge of an unknown token",
     {BPE, .tokens = "a,b,ab", .merges = "a b,a c"},
     ERROR_FORMAT,
     "merge 1 'a c' joins what is not in the vocabulary"},
    {"merge of three parts",
     {BPE, .tokens = "a,b,ab", .merges = "a b ab"},
     ERROR_FORMAT,
     "stand for no byte"},
    {"merge whose result is unknown",
     {BPE, .tokens = "a,b,ab", .merges = "b a"},
     ERROR_FORMAT,
     "gives what is not in the vocabulary"},
    {"merge of characters outside the alphabet",
     {BPE, .tokens = "a,\xE2\x96\x81", .merges = "a \xE2\x96\x81"},
     ERROR_FORMAT,
     "stand for no byte"},
    {"merge that is not UTF-8", {BPE, AB ",\xFF a"}, ERROR_FORMAT, "stand for no byte"},
    {"too few types", {BPE, AB, .kinds = "11"}, ERROR_FORMAT, "2 items, but the vocabulary has 3"},
    {"too many types", {BPE, AB, .kinds = "1111"}, ERROR_FORMAT, "4 items"},
    {"type out of range", {BPE, AB, .kinds = "119"}, ERROR_FORMAT, "token 2 has type 9"},
    {"byte token with another spelling", {BPE, AB, .kinds = "611"}, ERROR_FORMAT, "<0xNN>"},
    {"types are strings",
     {BPE, AB, .raw = " s:" KEY("token_type") ITEMS(8, 3) " s:a s:b s:c", .n_raw = 1},
     ERROR_FORMAT,
     "array of string, expected an array of integers"},
    {"no scores", {SPM}, ERROR_FORMAT, KEY("scores") ": missing"},
    {"too few scores", {SPM, .scores = "000"}, ERROR_FORMAT, "3 items"},
    {"score that is not a number", {SPM, .scores = "00n0"}, ERROR_FORMAT, "token 2"},
    {"BOS beyond the vocabulary",
     {BPE, AB, .u32_key = "bos_token_id", .u32 = 3},
     ERROR_FORMAT,
     KEY("bos_token_id") ": token id 3, but the vocabulary has 3 tokens"},
    {"EOT beyond the vocabulary",
     {BPE, AB, .u32_key = "eot_token_id", .u32 = 4000000000},
     ERROR_FORMAT,
     "4000000000"},
    {"EOS as text",
     {BPE, AB, .raw = " s:" KEY("eos_token_id") " 4:8 s:a", .n_raw = 1},
     ERROR_FORMAT,
     KEY("eos_token_id")},
    {"BOS wanted and absent",
     {BPE, AB, .bool_key = "add_bos_token", .boolean = true},
     ERROR_FORMAT,
     "there is no BOS token"},
    {"EOS wanted and absent",
     {BPE, AB, .bool_key = "add_eos_token", .boolean = true},
     ERROR_FORMAT,
     "there is no EOS token"},
};

static void bad_vocabularies_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_vocabs / sizeof bad_vocabs[0]; i++) {
        const struct bad_vocab *bad = &bad_vocabs[i];
        struct error e = {0};
        struct made m = make(&bad->spec, &e);
        if (m.t != NULL || e.code != bad->code || strstr(e.text, bad->message) == NULL) {
            fail_msg("%s: code %d, '%s', expected '%s'", bad->name, (int)e.code, e.text,
                     bad->message);
        }
        finish(&m);
    }
}

/* --- what is accepted though it is odd */

static void check_ids(const struct tokenizer *t, const char *text, unsigned flags, size_t n,
                      const uint32_t *ids)
{
    struct token_list list = {0};
    assert_true(tokenizer_encode(t, str_from(text), flags, &list, NULL));
    assert_int_equal(list.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list.ids[i], ids[i]);
    }
    token_list_finish(&list);
}

static void of_equal_texts_the_lowest_id_is_used(void **state)
{
    (void)state;
    static const struct vocab_spec specs[] = {
        {BPE, .tokens = "a,b,ab,ab,a", .merges = "a b"},
        {.model = "llama", .tokens = "a,b,ab,ab,a", .scores = "00000"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct made m = make_good(&specs[i]);
        check_ids(m.t, "aba", TOKEN_CONTINUE, 2, (const uint32_t[]){2, 0});
        assert_int_equal(tokenizer_find(m.t, STR("ab")), 2);
        assert_true(str_eq(tokenizer_piece(m.t, 3, false), STR("ab")));
        finish(&m);
    }
}

static void a_control_token_does_not_hide_a_normal_one_with_its_text(void **state)
{
    (void)state;
    static const struct vocab_spec spec = {BPE, .tokens = "a,a", .merges = "a a", .kinds = "31"};
    struct error e = {0};
    struct made m = make(&spec, &e);
    assert_null(m.t); /* "aa" is no token */
    finish(&m);
    static const struct vocab_spec good = {BPE, .tokens = "a,a,aa", .merges = "a a",
                                           .kinds = "311"};
    m = make_good(&good);
    check_ids(m.t, "aaa", 0, 2, (const uint32_t[]){2, 1});
    check_ids(m.t, "a", TOKEN_PARSE_SPECIAL, 1, (const uint32_t[]){0});
    finish(&m);
}

static void empty_texts_stand_for_nothing(void **state)
{
    (void)state;
    static const struct vocab_spec spec = {BPE, .tokens = "a,,b,ab", .merges = "a b",
                                           .kinds = "1311"};
    struct made m = make_good(&spec);
    check_ids(m.t, "ab", TOKEN_PARSE_SPECIAL, 1, (const uint32_t[]){3});
    assert_int_equal(tokenizer_find(m.t, STR("")), TOKEN_NONE);
    assert_int_equal(tokenizer_piece(m.t, 1, true).n, 0);
    finish(&m);
}

static void check_dropped(const struct vocab_spec *spec, const char *text, size_t n_dropped)
{
    struct made m = make_good(spec);
    struct token_list list = {.n_dropped = 100};
    assert_true(tokenizer_encode(m.t, str_from(text), 0, &list, NULL));
    assert_int_equal(list.n_dropped, 100 + n_dropped);
    token_list_finish(&list);
    finish(&m);
}

static void bytes_without_a_token_are_left_out_and_counted(void **state)
{
    (void)state;
    static const struct vocab_spec bpe = {BPE, AB};
    struct made m = make_good(&bpe);
    check_ids(m.t, "a?b", 0, 2, (const uint32_t[]){0, 1});
    finish(&m);
    check_dropped(&bpe, "ab", 0);
    check_dropped(&bpe, "a?b\xC3\xA9?", 4);
    check_dropped(&bpe, "?", 1);
    static const struct vocab_spec spm = {.model = "llama",
                                          .tokens = "<x>,<s>,</s>,a,\xE2\x96\x81",
                                          .scores = "00000",
                                          .kinds = "33311"};
    check_dropped(&spm, "a a", 0);
    check_dropped(&spm, "a\xC3\xA9z", 3); /* unknown is token 0, which text must not give */
    static const struct vocab_spec unknown = {SPM, .scores = "0000"};
    check_dropped(&unknown, "?a", 0); /* the unknown token stands for them */
}

static void padding_beyond_the_vocabulary_is_none(void **state)
{
    (void)state;
    static const struct vocab_spec spec = {BPE, AB, .u32_key = "padding_token_id", .u32 = 3};
    struct made m = make_good(&spec);
    assert_int_equal(tokenizer_info(m.t)->pad, TOKEN_NONE);
    finish(&m);
}

/* Longest at the leftmost place wins, also where tokens overlap. */
static void special_tokens_match_leftmost_and_longest(void **state)
{
    (void)state;
    static const struct vocab_spec spec = {BPE, .tokens = "a,b,c,ab,abc,bcc,<x>,cb",
                                           .merges = "a b", .kinds = "11134444"};
    struct made m = make_good(&spec);
    check_ids(m.t, "abcc", 0, 2, (const uint32_t[]){4, 2});
    check_ids(m.t, "abbcc", 0, 3, (const uint32_t[]){0, 1, 5});
    check_ids(m.t, "abbcc", TOKEN_PARSE_SPECIAL, 2, (const uint32_t[]){3, 5});
    check_ids(m.t, "a<x><x>b", 0, 4, (const uint32_t[]){0, 6, 6, 1});
    check_ids(m.t, "bcbcb", 0, 3, (const uint32_t[]){1, 7, 7});
    finish(&m);
}

/* --- rules that files leave open, as llama.cpp fills them */

static void llama3_adds_bos_and_takes_whole_splits_without_merging(void **state)
{
    (void)state;
    static const char *const names[] = {"llama3",    "llama-v3", "llama-bpe", "falcon3",
                                        "falcon-h1", "pixtral",  "midm-2.0",  "lfm2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct vocab_spec spec = {.model = "gpt2",
                                        .pre = names[i],
                                        .tokens = "a,b,c,abc,<s>,bc",
                                        .merges = "b c",
                                        .kinds = "111131",
                                        .u32_key = "bos_token_id",
                                        .u32 = 4};
        struct made m = make_good(&spec);
        assert_string_equal(tokenizer_info(m.t)->pre, "llama3");
        check_ids(m.t, "abc", TOKEN_ADD_BOS, 2, (const uint32_t[]){4, 3});
        check_ids(m.t, "abcb", 0, 3, (const uint32_t[]){0, 5, 1});
        finish(&m);
    }
}

static void other_byte_level_models_merge_and_add_no_bos(void **state)
{
    (void)state;
    static const char *const names[] = {"smollm", "gpt-2", "default", NULL};
    static const char *const canonical[] = {"smollm", "gpt2", "default", "default"};
    for (size_t i = 0; i < 4; i++) {
        const struct vocab_spec spec = {.model = "gpt2",
                                        .pre = names[i],
                                        .tokens = "a,b,c,abc,<s>,bc",
                                        .merges = "b c",
                                        .kinds = "111131",
                                        .u32_key = "bos_token_id",
                                        .u32 = 4};
        struct made m = make_good(&spec);
        assert_string_equal(tokenizer_info(m.t)->pre, canonical[i]);
        assert_true(tokenizer_info(m.t)->pre_is_guess == (names[i] == NULL));
        check_ids(m.t, "abc", TOKEN_ADD_BOS, 2, (const uint32_t[]){0, 5});
        finish(&m);
    }
}

/* 128,002 tokens, the last two Llama 3's first special ones, and no tokenizer.ggml.pre. */
static void a_llama3_vocabulary_without_pre_is_recognised(void **state)
{
    (void)state;
    struct buf tokens;
    buf_init(&tokens, 4 << 20);
    for (int i = 0; i < 128000; i++) {
        assert_true(buf_printf(&tokens, NULL, "t%d,", i));
    }
    assert_true(buf_append(&tokens, STR("<|begin_of_text|>,<|end_of_text|>\0"), NULL));
    struct vocab_spec spec = {.model = "gpt2", .tokens = tokens.data, .merges = "t1 t2"};
    struct error e = {0};
    struct made m = make(&spec, &e);
    assert_null(m.t); /* t1t2 is no token: the merges are read for this one too */
    finish(&m);
    spec.merges = NULL;
    spec.raw = " s:tokenizer.ggml.merges" ITEMS(8, 0);
    spec.n_raw = 1;
    m = make_good(&spec);
    const struct token_info *info = tokenizer_info(m.t);
    assert_string_equal(info->pre, "llama3");
    assert_false(info->pre_is_guess);
    assert_true(info->add_bos);
    assert_int_equal(info->bos, 128000);
    assert_int_equal(info->eos, 128001);
    assert_int_equal(tokenizer_kind(m.t, 128001), TOKEN_CONTROL);
    finish(&m);
    buf_finish(&tokens);
}

static void spm_has_the_usual_ids_unless_told(void **state)
{
    (void)state;
    static const struct vocab_spec spec = {SPM ",<0x0A>,<0x20>", .scores = "000000"};
    struct made m = make_good(&spec);
    const struct token_info *info = tokenizer_info(m.t);
    assert_int_equal(info->unknown, 0);
    assert_int_equal(info->bos, 1);
    assert_int_equal(info->eos, 2);
    assert_true(info->add_bos && info->add_space_prefix && !info->add_eos);
    assert_string_equal(info->pre, "");
    assert_int_equal(tokenizer_kind(m.t, 1), TOKEN_CONTROL);
    assert_int_equal(tokenizer_kind(m.t, 4), TOKEN_BYTE);
    check_ids(m.t, "a\n", TOKEN_ADD_BOS, 4, (const uint32_t[]){1, 5, 3, 4});
    finish(&m);
}

static void eos_comes_last_when_the_file_and_the_caller_say_so(void **state)
{
    (void)state;
    static const struct vocab_spec bpe = {BPE,
                                          .tokens = "a,b,ab,<end>",
                                          .merges = "a b",
                                          .kinds = "1113",
                                          .u32_key = "eos_token_id",
                                          .u32 = 3,
                                          .bool_key = "add_eos_token",
                                          .boolean = true};
    struct made m = make_good(&bpe);
    check_ids(m.t, "ab", TOKEN_ADD_EOS, 2, (const uint32_t[]){2, 3});
    check_ids(m.t, "ab", 0, 1, (const uint32_t[]){2});
    check_ids(m.t, "", TOKEN_ADD_EOS | TOKEN_ADD_BOS, 1, (const uint32_t[]){3});
    check_ids(m.t, "a<end>", TOKEN_ADD_EOS | TOKEN_PARSE_SPECIAL, 3, (const uint32_t[]){0, 3, 3});
    finish(&m);
    static const struct vocab_spec spm = {SPM, .scores = "0000", .bool_key = "add_eos_token",
                                          .boolean = true};
    m = make_good(&spm);
    check_ids(m.t, "a", TOKEN_ADD_EOS | TOKEN_ADD_BOS | TOKEN_CONTINUE, 3,
              (const uint32_t[]){1, 3, 2});
    finish(&m);
    static const struct vocab_spec silent = {SPM, .scores = "0000"};
    m = make_good(&silent);
    check_ids(m.t, "a", TOKEN_ADD_EOS | TOKEN_CONTINUE, 1, (const uint32_t[]){3});
    finish(&m);
}

/* --- ends of turns */

static bool is_end(const char *tokens, const char *kinds, uint32_t id)
{
    const struct vocab_spec spec = {BPE, .tokens = tokens, .kinds = kinds,
                                    .raw = " s:tokenizer.ggml.merges" ITEMS(8, 0), .n_raw = 1};
    struct made m = make_good(&spec);
    bool end = tokenizer_is_end(m.t, id);
    bool control = tokenizer_kind(m.t, id) == TOKEN_CONTROL;
    assert_true(!end || control);
    finish(&m);
    return end;
}

static void names_of_end_tokens_end_turns(void **state)
{
    (void)state;
    static const char *const names[] = {"<|eot_id|>",      "<|eom_id|>",    "<|im_end|>",
                                        "<|end_of_text|>", "<|endoftext|>", "<|end|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(is_end(names[i], "3", 0));
        assert_true(is_end(names[i], "4", 0)); /* some files type them as user-defined or text */
        assert_true(is_end(names[i], "1", 0));
    }
    assert_true(is_end("</s>", "3", 0));
    assert_false(is_end("</s>", "1", 0)); /* strike-through text in some vocabularies */
    assert_false(is_end("<|im_start|>", "3", 0));
}

static void ids_that_the_file_names_end_turns(void **state)
{
    (void)state;
    static const char *const keys[] = {"eos_token_id", "eot_token_id", "eom_token_id"};
    for (size_t i = 0; i < 3; i++) {
        const struct vocab_spec spec = {BPE, .tokens = "a,b,ab,<done>", .merges = "a b",
                                        .u32_key = keys[i], .u32 = 3};
        struct made m = make_good(&spec);
        assert_true(tokenizer_is_end(m.t, 3));
        assert_int_equal(tokenizer_kind(m.t, 3), TOKEN_CONTROL);
        assert_false(tokenizer_is_end(m.t, 0));
        finish(&m);
    }
}

/* --- two vocabularies */

static void vocabularies_differ_by_the_first_token_that_does(void **state)
{
    (void)state;
    static const struct {
        struct vocab_spec spec;
        const char *message; /* NULL: the same */
    } rows[] = {
        {{BPE, .tokens = "a,b,ab,<u>", .merges = "a b", .kinds = "1114"}, NULL},
        {{BPE, .tokens = "a,b,ab,<u>", .merges = "a b", .kinds = "1114",
          .u32_key = "padding_token_id"},
         NULL},
        {{BPE, .tokens = "a,b,ab", .merges = "a b", .kinds = "111"},
         "3 tokens (BPE), not of 4 (BPE)"},
        {{BPE, .tokens = "a,b,ab,<u>,c", .merges = "a b", .kinds = "11141"}, "5 tokens"},
        {{.model = "llama", .tokens = "a,b,ab,<u>", .scores = "0000", .kinds = "1114"}, "(SPM)"},
        {{BPE, .tokens = "a,c,ac,<u>", .merges = "a c", .kinds = "1114"},
         "token 1 is 'c' (normal), not 'b' (normal)"},
        {{BPE, .tokens = "a,b,ab,<u>", .merges = "a b", .kinds = "1113"},
         "token 3 is '<u>' (control), not '<u>' (user-defined)"},
        {{BPE, .tokens = "a,b,ab,<u>", .merges = "a b", .kinds = "1114", .u32_key = "eos_token_id"},
         "token 0 is 'a' (an end of turn), not 'a' (normal)"},
    };
    struct made first = make_good(&rows[0].spec);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct made m = make_good(&rows[i].spec);
        struct error e = {0};
        assert_int_equal(tokenizer_check_same(first.t, m.t, &e), rows[i].message == NULL);
        assert_int_equal(e.code, rows[i].message == NULL ? ERROR_NONE : ERROR_USAGE);
        assert_non_null(strstr(e.text, rows[i].message != NULL ? rows[i].message : ""));
        finish(&m);
    }
    finish(&first);
}

/* --- memory */

static const struct vocab_spec memory_specs[] = {
    {BPE, .tokens = "a,b,ab,<|im_end|>,<u>", .merges = "a b", .kinds = "11134"},
    {.model = "llama",
     .tokens = "<unk>,<s>,</s>,a,b,ab,<u>",
     .scores = "0000120",
     .kinds = "2331114"},
};

static void creation_survives_every_failing_allocation(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct vocab_file f;
        vocab_file_open(&f, &memory_specs[i]);
        size_t n = 1;
        for (;; n++) {
            struct error e = {0};
            mem_fail_nth(n);
            struct tokenizer *t = tokenizer_create(f.gguf, &e);
            mem_fail_nth(0);
            if (t != NULL) {
                tokenizer_destroy(t);
                break;
            }
            assert_int_equal(e.code, ERROR_MEMORY);
        }
        assert_true(n > 10);
        vocab_file_close(&f);
    }
}

static void encoding_leaves_the_list_alone_when_memory_runs_out(void **state)
{
    (void)state;
    static const char text[] = "abba<|im_end|><u> ab</s>ba ababababababababababababababababababab";
    for (size_t i = 0; i < 2; i++) {
        struct made m = make_good(&memory_specs[i]);
        struct token_list list = {0};
        assert_true(token_list_push(&list, 1, NULL));
        bool ok = false;
        size_t n = 0;
        while (!ok) {
            struct error e = {0};
            mem_fail_nth(++n);
            ok = tokenizer_encode(m.t, str_from(text), TOKEN_PARSE_SPECIAL, &list, &e);
            mem_fail_nth(0);
            assert_true(ok || (e.code == ERROR_MEMORY && list.n == 1));
        }
        assert_true(n > 3);
        assert_true(list.n > 20);
        token_list_finish(&list);
        finish(&m);
    }
}

static void decoding_leaves_the_text_alone_when_it_is_full(void **state)
{
    (void)state;
    struct made m = make_good(&memory_specs[0]);
    static const uint32_t ids[] = {2, 2, 2, 3};
    struct buf out;
    buf_init(&out, 5);
    struct error e = {0};
    assert_false(tokenizer_decode(m.t, ids, 4, false, &out, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_int_equal(out.n, 0);
    struct token_stream s;
    token_stream_init(&s);
    assert_true(token_stream_push(&s, m.t, 2, false, &out, NULL));
    assert_true(token_stream_push(&s, m.t, 2, false, &out, NULL));
    assert_false(token_stream_push(&s, m.t, 2, false, &out, NULL));
    assert_int_equal(out.n, 4);
    buf_finish(&out);
    finish(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_vocabularies_are_refused_with_what_is_wrong),
        cmocka_unit_test(of_equal_texts_the_lowest_id_is_used),
        cmocka_unit_test(a_control_token_does_not_hide_a_normal_one_with_its_text),
        cmocka_unit_test(empty_texts_stand_for_nothing),
        cmocka_unit_test(bytes_without_a_token_are_left_out_and_counted),
        cmocka_unit_test(padding_beyond_the_vocabulary_is_none),
        cmocka_unit_test(special_tokens_match_leftmost_and_longest),
        cmocka_unit_test(llama3_adds_bos_and_takes_whole_splits_without_merging),
        cmocka_unit_test(other_byte_level_models_merge_and_add_no_bos),
        cmocka_unit_test(a_llama3_vocabulary_without_pre_is_recognised),
        cmocka_unit_test(spm_has_the_usual_ids_unless_told),
        cmocka_unit_test(eos_comes_last_when_the_file_and_the_caller_say_so),
        cmocka_unit_test(names_of_end_tokens_end_turns),
        cmocka_unit_test(ids_that_the_file_names_end_turns),
        cmocka_unit_test(vocabularies_differ_by_the_first_token_that_does),
        cmocka_unit_test(creation_survives_every_failing_allocation),
        cmocka_unit_test(encoding_leaves_the_list_alone_when_memory_runs_out),
        cmocka_unit_test(decoding_leaves_the_text_alone_when_it_is_full),
    };
    return cmocka_run_group_tests_name("token_vocab", tests, NULL, NULL);
}
