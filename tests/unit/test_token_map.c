/* test_token_map.c - a vocabulary that aims at the table's hash does not fill one stretch of it. */
#include "token/token.h"
#include "token/token_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Of a random table that is half full the longest stretch is about 40 slots, and 256 do not
 * occur. */
enum { BITS = 12, N_KEYS = 1 << BITS, LONG_BYTES = 16 * BITS, MAX_STRETCH = 256 };

static char texts[N_KEYS][LONG_BYTES];
static struct str keys[N_KEYS];

static size_t longest_stretch(const struct token_map *m)
{
    size_t longest = 0, n = 0;
    for (size_t i = 0; i <= 2 * m->mask; i++) { /* twice, as a stretch may go round */
        n = m->slots[i & m->mask].next_id != 0 ? n + 1 : 0;
        longest = n > longest ? n : longest;
    }
    return longest;
}

static void check_spread(void)
{
    struct token_map m;
    assert_true(token_map_init(&m, keys, N_KEYS, NULL));
    for (uint32_t id = 0; id < N_KEYS; id++) {
        token_map_add(&m, id);
    }
    assert_in_range(longest_stretch(&m), 1, MAX_STRETCH);
    for (uint32_t id = 0; id < N_KEYS; id++) {
        assert_int_equal(token_map_find(&m, keys[id]), id);
    }
    assert_int_equal(token_map_find(&m, STR("another")), TOKEN_NONE);
    token_map_finish(&m);
}

/* Of a hash that multiplies after each word: the highest bit of one changes the highest bit of the
 * product alone, whatever the seed, and that is undone by the next word. */
static void long_texts_that_cancel_their_last_change_are_spread(void **state)
{
    (void)state;
    static const char parts[2][17] = {"aaaaaaaabbbbbbbb", "aaaaaaa\xE1"
                                                          "bbb\xE2"
                                                          "bbb\xE2"};
    for (size_t i = 0; i < N_KEYS; i++) {
        for (size_t bit = 0; bit < BITS; bit++) {
            memcpy(texts[i] + 16 * bit, parts[i >> bit & 1], 16);
        }
        keys[i] = (struct str){texts[i], LONG_BYTES};
    }
    check_spread();
}

/* A change of a factor's high bits changes the product's high bits alone. */
static void words_that_differ_in_high_bits_are_spread(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KEYS; i++) {
        uint64_t word = (uint64_t)i << (64 - BITS) | 0x616161616161u;
        for (size_t k = 0; k < 8; k++) {
            texts[i][k] = (char)(word >> 8 * k & 0xFF);
        }
        keys[i] = (struct str){texts[i], 8};
    }
    check_spread();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_texts_that_cancel_their_last_change_are_spread),
        cmocka_unit_test(words_that_differ_in_high_bits_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
