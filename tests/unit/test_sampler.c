/* test_sampler.c - every filter against tests/golden/sampler/cases.json (made by
 * tests/oracle/sampler_reference.py in numpy), and what the reference cannot say. */
#include "base/mem.h"
#include "engine/sampler.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_VOCAB = 512, MAX_CASE_BIASES = 8 };

static float number_or_inf(const json_t *v)
{
    return json_is_string(v) ? -INFINITY : (float)json_number_value(v);
}

static float get_float(const json_t *params, const char *name)
{
    const json_t *v = json_object_get(params, name);
    assert_true(json_is_number(v));
    return (float)json_number_value(v);
}

static int32_t get_int(const json_t *params, const char *name)
{
    const json_t *v = json_object_get(params, name);
    assert_true(json_is_integer(v));
    return (int32_t)json_integer_value(v);
}

static struct sampler_params read_params(const json_t *test, struct sampler_bias *biases)
{
    const json_t *p = json_object_get(test, "params");
    const json_t *list = json_object_get(test, "logit_bias");
    assert_true(json_array_size(list) <= MAX_CASE_BIASES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        biases[i].token = (uint32_t)json_integer_value(json_array_get(pair, 0));
        biases[i].bias = number_or_inf(json_array_get(pair, 1));
    }
    return (struct sampler_params){
        .temperature = get_float(p, "temperature"),
        .top_k = get_int(p, "top_k"),
        .top_p = get_float(p, "top_p"),
        .min_p = get_float(p, "min_p"),
        .typical_p = get_float(p, "typical_p"),
        .repeat_penalty = get_float(p, "repeat_penalty"),
        .frequency_penalty = get_float(p, "frequency_penalty"),
        .presence_penalty = get_float(p, "presence_penalty"),
        .repeat_last_n = get_int(p, "repeat_last_n"),
        .logit_bias = biases,
        .n_logit_bias = json_array_size(list),
    };
}

static uint32_t read_logits(const json_t *golden, const json_t *test, float *logits)
{
    const json_t *bits = json_object_get(json_object_get(golden, "logits"),
                                         json_string_value(json_object_get(test, "logits")));
    size_t n = json_array_size(bits);
    assert_in_range(n, 1, MAX_VOCAB);
    for (size_t i = 0; i < n; i++) {
        uint32_t b = (uint32_t)json_integer_value(json_array_get(bits, i));
        memcpy(&logits[i], &b, sizeof b);
    }
    return (uint32_t)n;
}

static void compare_distribution(const json_t *test, const struct sampler_scratch *w)
{
    const char *name = json_string_value(json_object_get(test, "name"));
    const json_t *tokens = json_object_get(test, "tokens");
    const json_t *p = json_object_get(test, "p");
    if (w->n_candidates != json_array_size(tokens)) {
        fail_msg("%s: %zu candidates, reference has %zu", name, w->n_candidates,
                 json_array_size(tokens));
    }
    for (size_t i = 0; i < w->n_candidates; i++) {
        double expected = json_number_value(json_array_get(p, i));
        uint32_t token = (uint32_t)json_integer_value(json_array_get(tokens, i));
        if (w->candidates[i].token != token || !(fabs(w->candidates[i].p - expected) <= 1e-12)) {
            fail_msg("%s: candidate %zu is token %u with p %.17g, reference %u with %.17g", name, i,
                     w->candidates[i].token, w->candidates[i].p, token, expected);
        }
    }
}

static void run_case(const json_t *golden, const json_t *test)
{
    static float logits[MAX_VOCAB];
    struct sampler_bias biases[MAX_CASE_BIASES];
    struct sampler_params params = read_params(test, biases);
    uint32_t n_vocab = read_logits(golden, test, logits);
    struct error e = {0};
    struct sampler s;
    struct sampler_scratch w;
    if (!sampler_init(&s, &params, n_vocab, &e) || !sampler_scratch_init(&w, n_vocab, &e)) {
        fail_msg("%s", e.text);
    }
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(golden, "history"), i, v)
    {
        sampler_accept(&s, (uint32_t)json_integer_value(v));
    }
    json_array_foreach(json_object_get(golden, "uniforms"), i, v)
    {
        uint32_t token = UINT32_MAX;
        if (!sampler_sample_at(&s, &w, logits, json_number_value(v), &token, &e)) {
            fail_msg("%s", e.text);
        }
        compare_distribution(test, &w);
        assert_int_equal(token,
                         json_integer_value(json_array_get(json_object_get(test, "chosen"), i)));
    }
    sampler_scratch_finish(&w);
    sampler_finish(&s);
}

static void every_recorded_case_gives_the_reference_distribution_and_tokens(void **state)
{
    (void)state;
    json_error_t why;
    json_t *golden =
        json_load_file("tests/golden/sampler/cases.json", JSON_REJECT_DUPLICATES, &why);
    if (golden == NULL) {
        fail_msg("cases.json: %s", why.text);
    }
    size_t i;
    json_t *test;
    json_t *list = json_object_get(golden, "cases");
    assert_true(json_array_size(list) >= 39);
    json_array_foreach(list, i, test)
    {
        run_case(golden, test);
    }
    json_decref(golden);
}

/* --- a sampler of 8 tokens for the other tests */

struct fixture {
    struct sampler s;
    struct sampler_scratch w;
    struct error e;
};

static void open_fixture(struct fixture *f, const struct sampler_params *p)
{
    *f = (struct fixture){0};
    assert_true(sampler_init(&f->s, p, 8, &f->e));
    assert_true(sampler_scratch_init(&f->w, 8, &f->e));
}

static void close_fixture(struct fixture *f)
{
    sampler_scratch_finish(&f->w);
    sampler_finish(&f->s);
}

static void a_broken_logit_is_an_error_that_names_the_token(void **state)
{
    (void)state;
    struct sampler_params p;
    sampler_params_default(&p);
    for (float temperature = 0; temperature < 2; temperature++) {
        p.temperature = temperature;
        struct fixture f;
        open_fixture(&f, &p);
        uint32_t token = 77;
        float with_nan[8] = {1, 2, 3, NAN, 4, 5, 6, 7};
        assert_false(sampler_sample(&f.s, &f.w, with_nan, &token, &f.e));
        assert_int_equal(f.e.code, ERROR_FORMAT);
        assert_non_null(strstr(f.e.text, "token 3 is nan"));
        float with_inf[8] = {1, 2, 3, 4, 5, INFINITY, 6, 7};
        assert_false(sampler_sample(&f.s, &f.w, with_inf, &token, &f.e));
        assert_non_null(strstr(f.e.text, "token 5 is inf"));
        float masked[8];
        for (int i = 0; i < 8; i++) {
            masked[i] = -INFINITY;
        }
        assert_false(sampler_sample(&f.s, &f.w, masked, &token, &f.e));
        assert_non_null(strstr(f.e.text, "all 8 logits are -inf"));
        assert_int_equal(token, 77);
        close_fixture(&f);
    }
}

static void out_of_range_parameters_are_refused_by_name_and_number(void **state)
{
    (void)state;
    static const uint32_t far_end = 8;
    static const struct sampler_bias far = {8, 1}, nan_bias = {3, NAN}, inf_bias = {3, INFINITY};
    struct sampler_params d;
    sampler_params_default(&d);
    struct {
        struct sampler_params p;
        const char *text;
    } bad[] = {
        {d, "temperature is -0.5"},
        {d, "temperature is nan"},
        {d, "top_k is -2"},
        {d, "top_p is 1.5"},
        {d, "top_p is nan"},
        {d, "min_p is -0.25"},
        {d, "typical_p is 2"},
        {d, "repeat_penalty is 0"},
        {d, "repeat_penalty is inf"},
        {d, "repeat_penalty is 9.99995e-41"},
        {d, "frequency_penalty is nan"},
        {d, "presence_penalty is inf"},
        {d, "repeat_last_n is -1"},
        {d, "repeat_last_n is 131073"},
        {d, "names token 8"},
        {d, "of token 3 is nan"},
        {d, "of token 3 is inf"},
        {d, "1025 entries"},
        {d, "holds back token 8"},
        {d, "holds back 129 tokens"},
    };
    bad[0].p.temperature = -0.5F;
    bad[1].p.temperature = NAN;
    bad[2].p.top_k = -2;
    bad[3].p.top_p = 1.5F;
    bad[4].p.top_p = NAN;
    bad[5].p.min_p = -0.25F;
    bad[6].p.typical_p = 2;
    bad[7].p.repeat_penalty = 0;
    bad[8].p.repeat_penalty = INFINITY;
    bad[9].p.repeat_penalty = 1e-40F;
    bad[10].p.frequency_penalty = NAN;
    bad[11].p.presence_penalty = INFINITY;
    bad[12].p.repeat_last_n = -1;
    bad[13].p.repeat_last_n = SAMPLER_MAX_LAST_N + 1;
    bad[14].p.logit_bias = &far;
    bad[15].p.logit_bias = &nan_bias;
    bad[16].p.logit_bias = &inf_bias;
    bad[14].p.n_logit_bias = bad[15].p.n_logit_bias = bad[16].p.n_logit_bias = 1;
    bad[17].p.n_logit_bias = SAMPLER_MAX_BIASES + 1;
    bad[18].p.ends = &far_end;
    bad[18].p.n_ends = 1;
    bad[19].p.n_ends = SAMPLER_MAX_ENDS + 1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sampler s;
        struct error e = {0};
        assert_false(sampler_init(&s, &bad[i].p, 8, &e));
        assert_int_equal(e.code, ERROR_USAGE);
        if (strstr(e.text, bad[i].text) == NULL) {
            fail_msg("'%s' does not say '%s'", e.text, bad[i].text);
        }
    }
}

static void defaults_are_llama_cpps(void **state)
{
    (void)state;
    struct sampler_params p;
    sampler_params_default(&p);
    assert_true(p.temperature == 0.8F && p.top_k == 40 && p.top_p == 0.95F && p.min_p == 0.05F);
    assert_true(p.typical_p == 1 && p.repeat_penalty == 1 && p.repeat_last_n == 64);
    assert_true(p.frequency_penalty == 0 && p.presence_penalty == 0 && p.n_logit_bias == 0);
}

static void the_same_seed_draws_the_same_tokens_and_another_seed_does_not(void **state)
{
    (void)state;
    const float logits[8] = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 0.7F, 0.8F};
    struct sampler_params p;
    sampler_params_default(&p);
    uint32_t drawn[3][64];
    for (int run = 0; run < 3; run++) {
        p.seed = run < 2 ? 42 : 43;
        struct fixture f;
        open_fixture(&f, &p);
        for (int i = 0; i < 64; i++) {
            assert_true(sampler_sample(&f.s, &f.w, logits, &drawn[run][i], &f.e));
        }
        close_fixture(&f);
    }
    assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
    assert_memory_not_equal(drawn[0], drawn[2], sizeof drawn[0]);
}

static void drawn_frequencies_follow_the_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    const float logits[8] = {0, 1, 2, 1, 0, -1, 1.5F, -INFINITY};
    struct sampler_params p;
    sampler_params_default(&p);
    p.top_p = 1;
    p.min_p = 0;
    p.seed = 7;
    struct fixture f;
    open_fixture(&f, &p);
    unsigned counts[8] = {0};
    uint32_t token = 0;
    for (int i = 0; i < DRAWS; i++) {
        assert_true(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
        counts[token]++;
    }
    assert_int_equal(counts[7], 0);
    double chi2 = 0;
    for (size_t i = 0; i < f.w.n_candidates; i++) {
        double expected = f.w.candidates[i].p * DRAWS;
        double difference = counts[f.w.candidates[i].token] - expected;
        chi2 += difference * difference / expected;
    }
    assert_true(chi2 < 22.46); /* 6 degrees of freedom, p = 0.001; the seed is fixed */
    close_fixture(&f);
}

static void sampling_allocates_nothing(void **state)
{
    (void)state;
    const float logits[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct sampler_params p;
    sampler_params_default(&p);
    p.repeat_penalty = 1.1F;
    p.typical_p = 0.9F;
    struct fixture f;
    open_fixture(&f, &p);
    mem_fail_nth(0);
    for (int i = 0; i < 200; i++) {
        uint32_t token = 0;
        assert_true(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
        sampler_accept(&f.s, token);
    }
    assert_int_equal(mem_count(), 0);
    close_fixture(&f);
}

static void running_out_of_memory_is_a_clean_error_at_every_allocation(void **state)
{
    (void)state;
    static const struct sampler_bias bias = {1, 2};
    static const uint32_t end = 3;
    struct sampler_params p;
    sampler_params_default(&p);
    p.logit_bias = &bias;
    p.ends = &end;
    p.n_logit_bias = p.n_ends = 1;
    p.presence_penalty = 1;
    for (size_t nth = 1; nth <= 3; nth++) {
        struct sampler s;
        struct error e = {0};
        mem_fail_nth(nth);
        assert_false(sampler_init(&s, &p, 8, &e));
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    for (size_t nth = 1; nth <= 4; nth++) {
        struct sampler_scratch w;
        struct error e = {0};
        mem_fail_nth(nth);
        assert_false(sampler_scratch_init(&w, 8, &e));
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    mem_fail_nth(0);
}

/* Greedy choice after the prompt {0, 0, 1} and the answer {2}; logits 3, 2.5, 2, 0, then none. */
static uint32_t choice_after_penalties(bool answer_only, float presence, float frequency)
{
    const float no = -INFINITY, logits[8] = {3, 2.5F, 2, 0, no, no, no, no};
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = 0;
    p.answer_only = answer_only;
    p.presence_penalty = presence;
    p.frequency_penalty = frequency;
    p.repeat_last_n = 4;
    struct fixture f;
    open_fixture(&f, &p);
    uint32_t token = 9;
    sampler_accept(&f.s, 3); /* falls out of the ring of four */
    sampler_accept(&f.s, 0);
    sampler_accept(&f.s, 0);
    sampler_accept(&f.s, 1);
    assert_true(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
    sampler_accept(&f.s, 2);
    assert_true(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
    close_fixture(&f);
    return token;
}

static void penalties_of_the_answer_alone_spare_the_prompts_tokens(void **state)
{
    (void)state;
    /* all: 3-2*1.2=0.6, 2.5-1.2=1.3, 2-1.2=0.8; the answer alone: 3, 2.5, 0.8 */
    assert_int_equal(choice_after_penalties(false, 0, 1.2F), 1);
    assert_int_equal(choice_after_penalties(true, 0, 1.2F), 0);
    /* all: 3-4=-1, 2.5-4=-1.5, 2-4=-2, 0; the answer alone: 3, 2.5, -2, 0 */
    assert_int_equal(choice_after_penalties(false, 4, 0), 3);
    assert_int_equal(choice_after_penalties(true, 4, 0), 0);
    /* a reward raises the answer's own token above the rest: 3, 2.5, 2+2 */
    assert_int_equal(choice_after_penalties(true, -2, 0), 2);
}

static void ends_cannot_be_chosen_before_min_tokens_others(void **state)
{
    (void)state;
    static const uint32_t ends[2] = {7, 6};
    const float logits[8] = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 5, 9};
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = 0;
    p.ends = ends;
    p.n_ends = 2;
    p.min_tokens = 2;
    struct fixture f;
    open_fixture(&f, &p);
    uint32_t token[3];
    for (int i = 0; i < 3; i++) {
        assert_true(sampler_sample(&f.s, &f.w, logits, &token[i], &f.e));
        sampler_accept(&f.s, token[i]);
    }
    assert_int_equal(token[0], 5);
    assert_int_equal(token[1], 5);
    assert_int_equal(token[2], 7);
    sampler_forget(&f.s);
    assert_true(sampler_sample(&f.s, &f.w, logits, &token[0], &f.e));
    assert_int_equal(token[0], 5);
    close_fixture(&f);
}

/* What is not allowed might as well have a logit of -inf. */
static void a_mask_is_as_good_as_logits_of_minus_infinity(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 2000; round++) {
        struct sampler_params p;
        sampler_params_default(&p);
        p.temperature = (float)(round % 3);
        p.top_k = (int32_t)(round % 5);
        p.seed = (uint64_t)round;
        struct fixture masked, forbidden;
        open_fixture(&masked, &p);
        open_fixture(&forbidden, &p);
        uint64_t allowed = 1 + rng_next(&rng) % 255; /* of 8 tokens */
        float logits[8], without[8];
        for (int i = 0; i < 8; i++) {
            logits[i] = (float)(rng_uniform(&rng) * 8 - 4);
            without[i] = allowed >> i & 1 ? logits[i] : -INFINITY;
        }
        masked.s.allowed = &allowed;
        uint32_t a = 0, b = 0;
        assert_true(sampler_sample(&masked.s, &masked.w, logits, &a, &masked.e));
        assert_true(sampler_sample(&forbidden.s, &forbidden.w, without, &b, &forbidden.e));
        assert_int_equal(a, b);
        close_fixture(&masked);
        close_fixture(&forbidden);
    }
}

static void ends_are_held_back_no_longer_when_nothing_else_is_allowed(void **state)
{
    (void)state;
    static const uint32_t ends[1] = {7};
    static const struct sampler_bias banned = {7, -INFINITY};
    const float logits[8] = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F, 5, 9};
    struct sampler_params p;
    sampler_params_default(&p);
    p.ends = ends;
    p.n_ends = 1;
    p.min_tokens = 5;
    struct fixture f;
    open_fixture(&f, &p);
    uint64_t allowed = 1u << 7 | 1u << 2;
    uint32_t token = 0;
    f.s.allowed = &allowed;
    assert_true(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
    assert_int_equal(token, 2);
    allowed = 1u << 7;
    assert_true(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
    assert_int_equal(token, 7);
    close_fixture(&f);
    p.logit_bias = &banned;
    p.n_logit_bias = 1;
    open_fixture(&f, &p);
    f.s.allowed = &allowed;
    assert_false(sampler_sample(&f.s, &f.w, logits, &token, &f.e));
    assert_int_equal(f.e.code, ERROR_USAGE);
    assert_non_null(strstr(f.e.text, "forbids all that are allowed"));
    close_fixture(&f);
}

/* A bias of nothing makes the long way of choosing the best, through copies. */
static void the_best_is_the_same_read_once_or_copied(void **state)
{
    (void)state;
    static const float odd[] = {-INFINITY, -0.0f, 0.0f, 3.0f, 3.0f, INFINITY, NAN};
    const struct sampler_bias nothing = {0, 0.0f};
    struct rng rng;
    rng_init(&rng, 7);
    for (uint32_t round = 0; round < 3000; round++) {
        float logits[MAX_VOCAB];
        uint32_t n = 1 + round % 70, n_odd = round % 7 + 1;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t r = rng_next(&rng);
            logits[i] = r % 4 > 0 ? odd[r / 4 % n_odd] : (float)(r / 4 % 9) - 6.0f;
        }
        uint32_t chosen[2] = {0};
        bool ok[2];
        struct error e[2] = {0};
        for (size_t i = 0; i < 2; i++) {
            struct sampler_params p;
            struct sampler s;
            struct sampler_scratch w;
            sampler_params_default(&p);
            p.temperature = 0;
            p.logit_bias = &nothing;
            p.n_logit_bias = i;
            assert_true(sampler_init(&s, &p, n, NULL) && sampler_scratch_init(&w, n, NULL));
            ok[i] = sampler_sample(&s, &w, logits, &chosen[i], &e[i]);
            sampler_scratch_finish(&w);
            sampler_finish(&s);
        }
        assert_int_equal(ok[0], ok[1]);
        assert_int_equal(chosen[0], chosen[1]);
        assert_string_equal(e[0].text, e[1].text);
    }
}

/* The whole vocabulary of Llama 3 in the two orders that are worst for a heap and for a quicksort.
 */
static void sorted_logits_of_a_large_vocabulary_keep_the_right_tokens(void **state)
{
    (void)state;
    enum { N = 128256 };
    struct error e = {0};
    struct sampler_params p;
    sampler_params_default(&p);
    p.top_k = 1000;
    p.top_p = 1;
    p.min_p = 0;
    struct sampler s;
    struct sampler_scratch w;
    assert_true(sampler_init(&s, &p, N, &e) && sampler_scratch_init(&w, N, &e));
    float *logits = mem_alloc(N, sizeof *logits, "logits", &e);
    assert_non_null(logits);
    for (int rising = 0; rising < 2; rising++) {
        for (int i = 0; i < N; i++) {
            logits[i] = (float)(rising ? i : N - i) * 1e-4F;
        }
        uint32_t token = 0;
        assert_true(sampler_sample(&s, &w, logits, &token, &e));
        assert_int_equal(w.n_candidates, 1000);
        uint32_t first = rising ? N - 1000 : 0;
        for (uint32_t i = 0; i < 1000; i++) {
            assert_int_equal(w.candidates[i].token, first + i);
        }
    }
    mem_free(logits);
    sampler_scratch_finish(&w);
    sampler_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_case_gives_the_reference_distribution_and_tokens),
        cmocka_unit_test(a_broken_logit_is_an_error_that_names_the_token),
        cmocka_unit_test(out_of_range_parameters_are_refused_by_name_and_number),
        cmocka_unit_test(defaults_are_llama_cpps),
        cmocka_unit_test(the_same_seed_draws_the_same_tokens_and_another_seed_does_not),
        cmocka_unit_test(drawn_frequencies_follow_the_distribution),
        cmocka_unit_test(sampling_allocates_nothing),
        cmocka_unit_test(running_out_of_memory_is_a_clean_error_at_every_allocation),
        cmocka_unit_test(penalties_of_the_answer_alone_spare_the_prompts_tokens),
        cmocka_unit_test(ends_cannot_be_chosen_before_min_tokens_others),
        cmocka_unit_test(a_mask_is_as_good_as_logits_of_minus_infinity),
        cmocka_unit_test(ends_are_held_back_no_longer_when_nothing_else_is_allowed),
        cmocka_unit_test(the_best_is_the_same_read_once_or_copied),
        cmocka_unit_test(sorted_logits_of_a_large_vocabulary_keep_the_right_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
