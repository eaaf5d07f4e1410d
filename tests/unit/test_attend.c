/* test_attend.c - what attention asks for while it computes a tile: nearly all of the next one,
 * little more, a bit at every step. It changes no bit of a result, so nothing else would tell. */
#include "kern/attend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LINE = 64, MAX_LINES = KERN_ATTN_TILE * KERN_ATTN_MAX_DIM * 2 / LINE };

/* Of a tile that lies keys first, and the next one, whose lines are counted. */
static struct {
    _Alignas(LINE) char tiles[2][2 * KERN_ATTN_TILE * KERN_ATTN_MAX_DIM * 2];
    float scales[2][2][KERN_ATTN_TILE];
    size_t k_bytes;              /* as many are values */
    bool is_asked[2][MAX_LINES]; /* lines of the next tile's keys, and values */
    size_t beyond;               /* bytes behind its values of what was asked for */
    uint32_t most_at_once;
} seen;

/* What attend_ask() asks for from one state to the next, `bytes` each time. */
static void count(struct attend_later from, const struct attend_later *to, size_t bytes)
{
    uint32_t n = 0;
    for (; from.at != to->at; n++) {
        size_t at = (size_t)(from.at - seen.tiles[1]);
        bool is_value = at >= seen.k_bytes;
        at -= is_value ? seen.k_bytes : 0;
        if (at < seen.k_bytes) {
            seen.is_asked[is_value][at / LINE] = true;
        } else {
            size_t end = at - seen.k_bytes + 1;
            seen.beyond = end > seen.beyond ? end : seen.beyond;
        }
        attend_ask(&from, bytes);
    }
    assert_int_equal(from.apart, to->apart);
    seen.most_at_once = n > seen.most_at_once ? n : seen.most_at_once;
}

/* As kernels do: for each group of a step. (Halves take a step for each item, not for two.) */
static void multiply(const struct attend_product *p)
{
    uint32_t n = p->n_groups * p->n_steps * (p->type == KERN_KV_F16 ? 2 : 1);
    for (uint32_t i = 0; i < n && p->ahead != 0; i++) {
        struct attend_later before = *p->later;
        attend_ask(p->later, before.step_bytes);
        count(before, p->later, before.step_bytes);
    }
}

static void weights(struct attend_block *b)
{
    for (uint32_t r = 0; r < b->n_rows; r++) {
        for (uint32_t i = 0; i < b->n_keys[r]; i += 16) {
            struct attend_later before = b->later;
            attend_ask_in_weights(b);
            count(before, &b->later, ATTEND_ITEMS * kern_kv_item_bytes(b->a->type));
        }
    }
}

static void add(float *o, const int32_t *sums, uint32_t dim_v, float pd, float c)
{
    (void)o, (void)sums, (void)dim_v, (void)pd, (void)c;
}

static void attend(enum kern_kv type, uint32_t dim, uint32_t n_rows)
{
    seen.k_bytes = KERN_ATTN_TILE * dim * kern_kv_item_bytes(type);
    struct kern_attn a = {.type = type, .n_rows = n_rows, .dim_k = dim, .dim_v = dim};
    struct kern_kv_tile tile = {seen.tiles[0], seen.tiles[0] + seen.k_bytes, seen.scales[0][0],
                                seen.scales[0][1]};
    uint32_t n_keys[KERN_ATTN_ROWS];
    for (uint32_t r = 0; r < n_rows; r++) {
        n_keys[r] = KERN_ATTN_TILE;
    }
    a.ahead = seen.tiles[1] - seen.tiles[0];
    memset(seen.is_asked, 0, sizeof seen.is_asked);
    seen.beyond = seen.most_at_once = 0;
    attend_tile(&a, &tile, n_keys, &(const struct attend_set){multiply, weights, add});
}

static void the_next_tile_is_asked_for(void **state)
{
    (void)state;
    static const uint32_t dims[] = {16, 48, 64, 80, 128, 256};
    for (size_t i = 0; i < 6 * (size_t)KERN_KV_COUNT; i++) {
        enum kern_kv type = (enum kern_kv)(i / 6);
        uint32_t dim = dims[i % 6];
        for (uint32_t n_rows = 1; n_rows <= KERN_ATTN_ROWS; n_rows++) {
            attend(type, dim, n_rows);
            uint32_t n_missed = 0;
            size_t n_lines = KERN_ATTN_TILE * dim * kern_kv_item_bytes(type) / LINE;
            for (size_t line = 0; line < n_lines; line++) {
                n_missed += !seen.is_asked[0][line] + !seen.is_asked[1][line];
            }
            uint32_t n_first = n_rows < ATTEND_ROWS ? n_rows : ATTEND_ROWS;
            /* what the number of rows leaves of the weights' asks */
            assert_in_range(n_missed, 0, KERN_ATTN_TILE / 16 * (ATTEND_ASKS % n_first));
            assert_in_range(seen.beyond, 0, 2 * LINE);
            assert_int_equal(seen.most_at_once, ATTEND_ASKS / n_first);
        }
    }
}

static void nothing_is_asked_for_where_no_tile_follows(void **state)
{
    (void)state;
    struct kern_attn a = {.type = KERN_KV_Q16, .n_rows = 4, .dim_k = 64, .dim_v = 64};
    struct kern_kv_tile tile = {seen.tiles[0], seen.tiles[0] + 8192, seen.scales[0][0],
                                seen.scales[0][1]};
    struct attend_block b = {.a = &a, .tile = &tile, .n_rows = 4};
    attend_find_later(&b);
    struct attend_later before = b.later;
    attend_ask_in_weights(&b);
    assert_ptr_equal(b.later.at, before.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_tile_is_asked_for),
        cmocka_unit_test(nothing_is_asked_for_where_no_tile_follows),
    };
    return cmocka_run_group_tests_name("attend", tests, NULL, NULL);
}
