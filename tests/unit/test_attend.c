/* test_attend.c - what attention asks for while it computes a tile: nearly all of the next one,
 * little more, a bit at every step. It changes no bit of a result, so nothing else would tell. */
#include "kern/attend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LINE = 64, MAX_LINES = 2 * KERN_ATTN_TILE * KERN_ATTN_MAX_DIM * 2 / LINE };

/* Of a tile that lies keys first, and the next one, whose lines are counted. */
static struct {
    _Alignas(LINE) char tiles[2][2 * KERN_ATTN_TILE * KERN_ATTN_MAX_DIM * 2];
    float scales[2][KERN_ATTN_TILE];
    size_t tile_bytes;
    bool is_asked[2][MAX_LINES]; /* from either half, the next tile's lines */
    size_t beyond;               /* bytes behind the tile of what was asked for */
    uint32_t most_at_once;
} seen;

/* What attend_ask() asks for from one state to the next, `bytes` each time. */
static void count(struct attend_later from, const struct attend_later *to, size_t bytes)
{
    uint32_t n = 0;
    for (; from.at != to->at; n++) {
        size_t at = from.at - (uintptr_t)seen.tiles[1];
        bool from_second = from.apart > SIZE_MAX / 2; /* goes back then */
        if (at < seen.tile_bytes) {
            seen.is_asked[from_second][at / LINE] = true;
        } else {
            size_t end = at - seen.tile_bytes + 1;
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

static void attend(const struct kern_attn *shape, ptrdiff_t ahead)
{
    size_t k_bytes = KERN_ATTN_TILE * shape->dim_k * kern_kv_item_bytes(shape->type);
    struct kern_attn a = *shape;
    struct kern_kv_tile tile = {seen.tiles[0], seen.tiles[0] + k_bytes, seen.scales[0],
                                seen.scales[1]};
    uint32_t n_keys[KERN_ATTN_ROWS];
    for (uint32_t r = 0; r < a.n_rows; r++) {
        n_keys[r] = KERN_ATTN_TILE;
    }
    a.ahead = ahead;
    seen.tile_bytes = k_bytes + KERN_ATTN_TILE * a.dim_v * kern_kv_item_bytes(a.type);
    memset(seen.is_asked, 0, sizeof seen.is_asked);
    seen.beyond = seen.most_at_once = 0;
    attend_tile(&a, &tile, n_keys, &(const struct attend_set){multiply, weights, add});
}

static const ptrdiff_t next_tile = sizeof seen.tiles[0];

static void the_next_tile_is_asked_for(void **state)
{
    (void)state;
    static const uint32_t dims[][2] = {{16, 16},   {48, 48},   {64, 64},  {80, 80},
                                       {128, 128}, {256, 256}, {192, 128}};
    for (size_t i = 0; i < 7 * (size_t)KERN_KV_COUNT; i++) {
        struct kern_attn a = {.type = (enum kern_kv)(i / 7)};
        a.dim_k = dims[i % 7][0];
        a.dim_v = dims[i % 7][1];
        for (a.n_rows = 1; a.n_rows <= KERN_ATTN_ROWS; a.n_rows++) {
            attend(&a, next_tile);
            uint32_t n_missed = 0;
            size_t n_lines = seen.tile_bytes / LINE;
            for (size_t line = 0; line < n_lines; line++) {
                n_missed += !seen.is_asked[line >= n_lines / 2][line];
            }
            uint32_t n_first = a.n_rows < ATTEND_ROWS ? a.n_rows : ATTEND_ROWS;
            /* what the number of rows leaves of the weights' requests */
            assert_in_range(n_missed, 0, KERN_ATTN_TILE / 16 * (ATTEND_ASKS % n_first));
            assert_in_range(seen.beyond, 0, 2 * LINE);
            assert_int_equal(seen.most_at_once, ATTEND_ASKS / n_first);
        }
    }
}

static void nothing_is_asked_for_where_no_tile_follows(void **state)
{
    (void)state;
    attend(&(struct kern_attn){.type = KERN_KV_Q16, .n_rows = 7, .dim_k = 64, .dim_v = 64}, 0);
    assert_int_equal(seen.most_at_once, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_tile_is_asked_for),
        cmocka_unit_test(nothing_is_asked_for_where_no_tile_follows),
    };
    return cmocka_run_group_tests_name("attend", tests, NULL, NULL);
}
