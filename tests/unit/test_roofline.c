/* test_roofline.c - the work of a pass over a small model, against figures worked out by hand. */
#include "model/roofline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

/* One layer: width 64, 2 heads and 1 KV head of 32, feed-forward 128, 48 tokens. */
static void make_model(struct model *m, struct model_layer *l)
{
    *m = (struct model){.kern = kern_get(KERN_REF, NULL)};
    *l = (struct model_layer){0};
    m->config = (struct model_config){.n_layers = 1,
                                      .n_embd = 64,
                                      .n_ff = 128,
                                      .n_heads = 2,
                                      .n_kv_heads = 1,
                                      .dim_k = 32,
                                      .dim_v = 32,
                                      .n_vocab = 48};
    m->weights.layers = l;
    assert_true(pack_matrix_init(&l->q.packed, QUANT_Q8_0, 64, 64, NULL));
    assert_true(pack_matrix_init(&l->k.packed, QUANT_Q8_0, 32, 64, NULL));
    assert_true(pack_matrix_init(&l->v.packed, QUANT_Q8_0, 32, 64, NULL));
    assert_true(pack_matrix_init(&l->o.packed, QUANT_Q8_0, 64, 64, NULL));
    assert_true(pack_matrix_init(&l->gate.packed, QUANT_Q8_0, 128, 64, NULL));
    assert_true(pack_matrix_init(&l->up.packed, QUANT_Q8_0, 128, 64, NULL));
    assert_true(pack_matrix_init(&l->down.packed, QUANT_Q8_0, 64, 128, NULL));
    assert_true(pack_matrix_init(&m->weights.output.packed, QUANT_F32, 48, 64, NULL));
}

/* Items of the layer's matrices: 2 * 64*64 + 2 * 32*64 + 3 * 128*64 = 36864; output: 3072. */
static void work_is_what_the_matrices_and_the_attention_need(void **state)
{
    (void)state;
    struct model m;
    struct model_layer l;
    make_model(&m, &l);
    struct roofline_step step = {.n_tokens = 3, .n_logits = 1, .n_keys = 6, .n_cached = 3};
    struct roofline_work w = roofline_work(&m, &step);
    /* q.k and p.v of 16-bit integers: 2 * 32 dims * 2 ops * 2 heads for each of 6 keys, twice */
    assert_true(w.int8_ops == 2.0 * 36864 * 3 + 2 * (6 * 2 * (32 + 32) * 2));
    assert_true(w.f32_ops == 2.0 * 3072); /* the output */
    /* Q8_0: 34 bytes per 32 items; keys and values of 3 tokens in int16 */
    assert_true(w.bytes == 36864.0 / 32 * 34 + 3072 * 4 + 3 * ((32 + 32) * 2 + 2 * 4));
    step.kv_type = KERN_KV_Q8_0; /* int8, and two scales a token */
    w = roofline_work(&m, &step);
    assert_true(w.bytes == 36864.0 / 32 * 34 + 3072 * 4 + 3 * (32 + 32 + 2 * 4));
    step.kv_type = KERN_KV_F16; /* no scales; products are those of floats */
    w = roofline_work(&m, &step);
    assert_true(w.int8_ops == 2.0 * 36864 * 3);
    assert_true(w.f32_ops == 2.0 * 3072 + 6 * 2 * (32 + 32) * 2);
    assert_true(w.bytes == 36864.0 / 32 * 34 + 3072 * 4 + 3 * (32 + 32) * 2);
}

static void a_pass_without_logits_leaves_the_output_alone(void **state)
{
    (void)state;
    struct model m;
    struct model_layer l;
    make_model(&m, &l);
    struct roofline_work w = roofline_work(&m, &(struct roofline_step){.n_tokens = 1});
    assert_true(w.f32_ops == 0 && w.bytes == 36864.0 / 32 * 34);
}

static void work_of_bf16_weights_counts_as_such_in_their_numerics_alone(void **state)
{
    (void)state;
    struct model m;
    struct model_layer l;
    make_model(&m, &l);
    assert_true(pack_matrix_init(&m.weights.output.packed, QUANT_BF16, 48, 64, NULL));
    struct roofline_step step = {.n_logits = 2};
    struct roofline_work w = roofline_work(&m, &step);
    assert_true(w.f32_ops == 2.0 * 3072 * 2 && w.bf16_ops == 0);
    m.kern = kern_get_bf16(KERN_REF, NULL);
    w = roofline_work(&m, &step);
    assert_true(w.f32_ops == 0 && w.bf16_ops == 2.0 * 3072 * 2);
}

static void the_longer_of_reading_and_computing_is_the_bound(void **state)
{
    (void)state;
    struct roofline_machine machine = {.read = 10, .int8 = 100, .f32 = 20};
    struct roofline_work w = {.bytes = 30, .int8_ops = 100, .f32_ops = 20};
    enum roofline_bound bound;
    assert_true(roofline_seconds(&w, &machine, &bound) == 3 && bound == ROOFLINE_READ);
    w.int8_ops = 400;
    assert_true(roofline_seconds(&w, &machine, &bound) == 5 && bound == ROOFLINE_INT8);
    w.f32_ops = 120;
    assert_true(roofline_seconds(&w, &machine, &bound) == 10 && bound == ROOFLINE_F32);
    w.bf16_ops = 350;
    machine.bf16 = 50;
    assert_true(roofline_seconds(&w, &machine, &bound) == 17 && bound == ROOFLINE_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_is_what_the_matrices_and_the_attention_need),
        cmocka_unit_test(a_pass_without_logits_leaves_the_output_alone),
        cmocka_unit_test(work_of_bf16_weights_counts_as_such_in_their_numerics_alone),
        cmocka_unit_test(the_longer_of_reading_and_computing_is_the_bound),
    };
    return cmocka_run_group_tests_name("roofline", tests, NULL, NULL);
}
