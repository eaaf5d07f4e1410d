/* test_generation.c - what comes of a choice until somebody takes it: spans of its text. */
#include "base/mem.h"
#include "serve/generation.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct tool_span first[] = {{TOOL_CONTENT, 1, 0, 0, NULL},
                                         {TOOL_CALL_NAME, 1, 0, 0, NULL},
                                         {TOOL_CALL_ARGUMENTS, 2, 0, 0, NULL}};
static const struct tool_span second[] = {{TOOL_CALL_ARGUMENTS, 1, 0, 0, NULL},
                                          {TOOL_CALL_END, 0, 0, TOOL_COMPLETE, NULL},
                                          {TOOL_CALL_END, 0, 1, TOOL_BROKEN, NULL},
                                          {TOOL_CALL_ARGUMENTS, 1, 2, 0, NULL},
                                          {TOOL_CALL_ARGUMENTS, 1, 3, 0, NULL}};

static bool add(struct generation *g, const char *text, const struct tool_span *spans, size_t n)
{
    const struct choice c = {0};
    const struct generation_part part = {.text = str_from(text), .spans = spans, .n_spans = n};
    return generation_add(g, 0, &c, &part, NULL);
}

static void pieces_of_one_thing_are_one_span(void **state)
{
    (void)state;
    static const struct tool_span expected[] = {{TOOL_CONTENT, 1, 0, 0, NULL},
                                                {TOOL_CALL_NAME, 1, 0, 0, NULL},
                                                {TOOL_CALL_ARGUMENTS, 3, 0, 0, NULL},
                                                {TOOL_CALL_END, 0, 0, TOOL_COMPLETE, NULL},
                                                {TOOL_CALL_END, 0, 1, TOOL_BROKEN, NULL},
                                                {TOOL_CALL_ARGUMENTS, 1, 2, 0, NULL},
                                                {TOOL_CALL_ARGUMENTS, 1, 3, 0, NULL}};
    struct generation *g = generation_create(1, 1, NULL);
    struct generation_taken taken = {0};
    assert_non_null(g);
    for (int round = 0; round < 3; round++) { /* with the memory of the last but one */
        assert_true(add(g, "xf{\"", first, 3) && add(g, "a}b", second, 5));
        assert_true(generation_take(g, &taken, NULL));
        const struct generation_output *o = &taken.outputs[0];
        assert_true(str_eq(buf_str(&o->text), STR("xf{\"a}b")));
        assert_int_equal(o->n_spans, 7);
        for (size_t i = 0; i < 7; i++) {
            assert_int_equal(o->spans[i].kind, expected[i].kind);
            assert_int_equal(o->spans[i].n_bytes, expected[i].n_bytes);
            assert_int_equal(o->spans[i].call, expected[i].call);
            assert_int_equal(o->spans[i].end, expected[i].end);
        }
    }
    assert_true(generation_take(g, &taken, NULL));
    assert_int_equal(taken.outputs[0].n_spans, 0);
    generation_taken_finish(&taken, g);
    generation_destroy(g);
}

static void running_out_of_memory_at_any_point_leaks_nothing(void **state)
{
    (void)state;
    bool done = false;
    for (size_t n = 1; !done; n++) {
        struct generation_taken taken = {0};
        mem_fail_nth(n);
        struct generation *g = generation_create(1, 1, NULL);
        done = g != NULL && add(g, "xf{\"", first, 3) && generation_take(g, &taken, NULL);
        mem_fail_nth(0);
        if (g != NULL) {
            generation_taken_finish(&taken, g);
        }
        generation_destroy(g);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_one_thing_are_one_span),
        cmocka_unit_test(running_out_of_memory_at_any_point_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
