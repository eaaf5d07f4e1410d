/* test_queue.c - who is given a place when, and who is told what of it. */
#include "serve/queue.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 240 };

/* Requests are called by letters, for what they are given: "abca" is a, b, c, and a again. */
struct world {
    struct queue queue;
    struct generation *all[MOST];
    char name[MOST];
    uint32_t n;
};

static uint64_t next_owner;          /* of who comes */
static struct generation *made_room; /* the last who had to */

static struct generation *come(struct world *w, char name, uint32_t n_choices, int32_t priority)
{
    struct estimate_load load = {.n_places = 1};
    struct generation *displaced, *g = generation_create(1, n_choices, NULL);
    assert_true(g != NULL && w->n < MOST);
    g->priority = priority;
    g->owner = next_owner;
    w->queue.max = w->queue.max_per_owner = MOST;
    assert_true(queue_add(&w->queue, g, &load, &displaced, NULL));
    assert_null(displaced);
    w->all[w->n] = g;
    w->name[w->n++] = name;
    return g;
}

static char name_of(const struct world *w, const struct generation *g)
{
    uint32_t i = 0;
    while (w->all[i] != g) {
        i++;
    }
    return w->name[i];
}

/* The first n places, or all that are wanted. */
static const char *give(struct world *w, uint32_t n)
{
    static char given[256];
    uint32_t i = 0;
    for (; w->queue.first != NULL && i < n; i++) {
        given[i] = name_of(w, w->queue.first);
        queue_start(&w->queue, w->queue.first);
    }
    given[i] = '\0';
    return given;
}

static void leave(struct world *w)
{
    assert_null(w->queue.first);
    assert_int_equal(w->queue.n, 0);
    for (uint32_t i = 0; i < w->n; i++) {
        generation_destroy(w->all[i]);
    }
}

static void choices_are_served_in_turns(void **state)
{
    (void)state;
    struct world w = {0};
    come(&w, 'a', 4, 0);
    come(&w, 'b', 1, 0);
    come(&w, 'c', 2, 0);
    assert_string_equal(give(&w, 99), "abcacaa");
    leave(&w);
}

static void who_comes_waits_for_no_more_than_one_choice_of_each(void **state)
{
    (void)state;
    struct world w = {0};
    come(&w, 'a', 8, 0);
    assert_string_equal(give(&w, 3), "aaa");
    come(&w, 'b', 1, 0);
    come(&w, 'c', 1, 0);
    assert_string_equal(give(&w, 2), "ab");
    come(&w, 'd', 1, 0);
    assert_string_equal(give(&w, 99), "cadaaa");
    leave(&w);
}

static void who_has_many_choices_is_not_overtaken_for_ever(void **state)
{
    (void)state;
    struct world w = {0};
    char given[3 * 9 + 1];
    come(&w, 'a', 9, 0);
    for (uint32_t i = 0; i < 9; i++) {
        come(&w, 'b', 1, 0);
        come(&w, 'c', 1, 0);
        memcpy(given + 2 * i, give(&w, 2), 3); /* two come for two that are served */
    }
    memcpy(given + 18, give(&w, 9), 10);
    uint32_t gap = 0;
    for (const char *p = given, *last = given; *p != '\0'; p++) {
        if (*p == 'a') {
            gap = p - last > gap ? (uint32_t)(p - last) : gap;
            last = p;
        }
    }
    assert_int_equal(strlen(given), 27);
    assert_in_range(gap, 1, 12); /* those that were there when it went behind them */
    leave(&w);
}

static void priority_comes_before_turns(void **state)
{
    (void)state;
    struct world w = {0};
    come(&w, 'a', 2, 1);
    come(&w, 'b', 3, 0);
    come(&w, 'c', 1, -1);
    come(&w, 'd', 2, 1);
    assert_string_equal(give(&w, 2), "cb");
    come(&w, 'e', 2, 0);
    assert_string_equal(give(&w, 99), "bebeadad");
    leave(&w);
}

static void who_leaves_is_not_waited_for(void **state)
{
    (void)state;
    struct world w = {0};
    come(&w, 'a', 2, 0);
    struct generation *b = come(&w, 'b', 2, 0);
    come(&w, 'c', 2, 0);
    assert_string_equal(give(&w, 2), "ab");
    queue_remove(&w.queue, b);
    assert_int_equal(w.queue.n, 2);
    assert_string_equal(give(&w, 99), "cac");
    leave(&w);
}

/* One place, held for a second by each: the estimate is what comes. */
static void estimates_are_what_comes(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int round = 0; round < 200; round++) {
        const struct estimate_load load = {.n_places = 1, .n_held = 1, .hold_s = 1.0};
        struct world w = {0};
        uint32_t n = 1 + (uint32_t)(rng_next(&rng) % 12);
        for (uint32_t i = 0; i < n; i++) {
            come(&w, (char)('a' + i), 1 + (uint32_t)(rng_next(&rng) % 4),
                 (int32_t)(rng_next(&rng) % 3) - 1);
            if (rng_next(&rng) % 2 == 0) {
                give(&w, 1);
            }
        }
        queue_rank(&w.queue, &load);
        uint32_t position = 0;
        for (uint32_t given = 0; w.queue.first != NULL; given++) {
            struct generation *g = w.queue.first;
            if (g->n_started == 0) {
                assert_int_equal(g->position, ++position);
                assert_true(g->turn_s == given + 1.0);
            }
            queue_start(&w.queue, g);
        }
        leave(&w);
    }
}

static void a_full_queue_and_a_short_patience_change_nothing(void **state)
{
    (void)state;
    const struct estimate_load load = {.n_places = 1, .n_held = 1, .hold_s = 10.0};
    struct world w = {0};
    struct error e = {0};
    come(&w, 'a', 3, 0);
    come(&w, 'b', 1, 1);
    struct generation *g = generation_create(1, 1, NULL);
    assert_non_null(g);
    g->patience_s = 15.0;
    assert_false(queue_add(&w.queue, g, &load, &made_room, &e)); /* a's next, then g: 20 s */
    assert_int_equal(e.code, ERROR_BUSY);
    assert_non_null(strstr(e.text, "some 20.0 seconds for its turn"));
    assert_int_equal(g->retry_s, 6);
    g->priority = -1;
    assert_true(queue_add(&w.queue, g, &load, &made_room, &e));
    queue_remove(&w.queue, g);
    w.queue.max = 2;
    g->patience_s = 0.0;
    g->priority = 1;
    assert_false(queue_add(&w.queue, g, &load, &made_room, &e));
    assert_string_equal(e.text, "2 requests are waiting already, the most that may");
    assert_int_equal(g->retry_s, 10);
    assert_string_equal(give(&w, 99), "aaab");
    generation_destroy(g);
    leave(&w);
}

/* --- owners: capital letters are each one's own */

static struct generation *come_of(struct world *w, char name, uint32_t n_choices)
{
    next_owner = (uint64_t)name;
    struct generation *g = come(w, name, n_choices, 0);
    next_owner = 0;
    return g;
}

static void a_hundred_requests_delay_another_owners_only_one_by_one(void **state)
{
    (void)state;
    struct world w = {0};
    for (int i = 0; i < 100; i++) {
        come_of(&w, 'A', 1);
    }
    assert_string_equal(give(&w, 3), "AAA");
    come_of(&w, 'B', 1);
    assert_string_equal(give(&w, 3), "ABA");
    come_of(&w, 'C', 1);
    come(&w, 'd', 1, 0);
    come_of(&w, 'B', 1);
    assert_string_equal(give(&w, 5), "ACdBA");
    give(&w, 200);
    leave(&w);
}

static void an_owner_has_its_part_of_the_queue_and_others_have_the_rest(void **state)
{
    (void)state;
    const struct estimate_load load = {.n_places = 1, .n_held = 1, .hold_s = 10.0};
    struct world w = {0};
    struct error e = {0};
    come_of(&w, 'A', 3); /* one request, whatever its choices */
    come_of(&w, 'A', 1);
    struct generation *third = generation_create(1, 1, NULL);
    assert_non_null(third);
    third->owner = 'A';
    w.queue.max_per_owner = 2;
    assert_false(queue_add(&w.queue, third, &load, &made_room, &e));
    assert_int_equal(e.code, ERROR_BUSY);
    assert_string_equal(e.text, "2 requests of this key are waiting already, the most that may");
    assert_int_equal(third->retry_s, 10);
    third->owner = 'B';
    assert_true(queue_add(&w.queue, third, &load, &made_room, &e));
    queue_remove(&w.queue, third);
    third->owner = 0; /* without a key: nobody's part */
    w.queue.max_per_owner = 1;
    assert_true(queue_add(&w.queue, third, &load, &made_room, &e));
    queue_remove(&w.queue, third);
    generation_destroy(third);
    assert_string_equal(give(&w, 99), "AAAA");
    leave(&w);
}

static void owners_take_turns_and_within_an_owner_its_requests(void **state)
{
    (void)state;
    struct world w = {0};
    come_of(&w, 'A', 3); /* choices */
    come_of(&w, 'A', 1);
    come_of(&w, 'B', 1);
    come_of(&w, 'B', 1);
    come_of(&w, 'B', 1);
    come_of(&w, 'C', 1);
    assert_string_equal(give(&w, 99), "ABCABBAA");
    struct generation *first = come_of(&w, 'A', 3);
    struct generation *second = come_of(&w, 'A', 2);
    struct generation *order[5];
    for (int i = 0; i < 5; i++) {
        order[i] = w.queue.first;
        queue_start(&w.queue, order[i]);
    }
    assert_true(order[0] == first && order[1] == second && order[2] == first &&
                order[3] == second && order[4] == first);
    leave(&w);
}

static void the_round_of_who_leaves_is_for_who_comes(void **state)
{
    (void)state;
    struct world w = {0};
    struct generation *a = come_of(&w, 'A', 1);
    come_of(&w, 'A', 1);
    come_of(&w, 'A', 1);
    queue_remove(&w.queue, a);
    come_of(&w, 'B', 1);
    assert_string_equal(give(&w, 99), "BAA"); /* in the round of who left */
    leave(&w);
}

static uint32_t index_of(const struct world *w, const struct generation *g)
{
    uint32_t i = 0;
    while (w->all[i] != g) {
        i++;
    }
    return i;
}

/* However they come: until a choice is given its place no other owner is given two more than its
 * own. */
static void nobody_waits_for_more_of_another_than_of_his_own_and_two(void **state)
{
    (void)state;
    enum { OWNERS = 4, ROUNDS = 200 };
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        struct world w = {0};
        uint32_t before[MOST][OWNERS] = {{0}}, given[OWNERS] = {0};
        while (w.n < MOST / 2 || w.queue.first != NULL) {
            if (w.n < MOST / 2 && rng_next(&rng) % 3 > 0) {
                uint32_t owner = (uint32_t)(rng_next(&rng) % 8); /* the first one sends most */
                come_of(&w, (char)('A' + (owner < OWNERS ? owner : 0)),
                        1 + (uint32_t)(rng_next(&rng) % 2));
                memcpy(before[w.n - 1], given, sizeof given);
            } else if (w.queue.first != NULL) {
                uint32_t i = index_of(&w, w.queue.first);
                uint32_t own = (uint32_t)(w.queue.first->owner - 'A');
                uint32_t n_own = given[own] - before[i][own];
                for (uint32_t o = 0; o < OWNERS; o++) {
                    assert_in_range(given[o] - before[i][o], 0, n_own + (o != own ? 2 : 0));
                }
                given[own]++;
                memcpy(before[i], given, sizeof given); /* its next choice waits from now on */
                queue_start(&w.queue, w.queue.first);
            }
        }
        leave(&w);
    }
}

static void estimates_of_owners_are_what_comes(void **state)
{
    (void)state;
    const struct estimate_load load = {.n_places = 1, .n_held = 1, .hold_s = 1.0};
    struct rng rng;
    rng_init(&rng, 9);
    struct world w = {0};
    for (int i = 0; i < 60; i++) {
        come_of(&w, (char)('A' + rng_next(&rng) % 3), 1);
    }
    queue_rank(&w.queue, &load);
    for (uint32_t given = 0; w.queue.first != NULL; given++) {
        assert_int_equal(w.queue.first->position, given + 1);
        assert_true(w.queue.first->turn_s == given + 1.0);
        queue_start(&w.queue, w.queue.first);
    }
    struct error e = {0};
    for (int i = 0; i < 10; i++) {
        come_of(&w, 'A', 1);
    }
    struct generation *g = generation_create(1, 1, NULL);
    assert_non_null(g);
    g->patience_s = 3.0; /* its turn is second, not eleventh */
    g->owner = 'B';
    assert_true(queue_add(&w.queue, g, &load, &made_room, &e));
    queue_remove(&w.queue, g);
    generation_destroy(g);
    give(&w, 99);
    leave(&w);
}

/* --- a full queue */

static const struct estimate_load held = {.n_places = 1, .n_held = 1, .hold_s = 10.0};

/* One comes to a queue that is full; who makes room for it is named: '-' nobody, who refuses it. */
static char squeeze(struct world *w, char owner, int32_t priority)
{
    struct generation *displaced = NULL, *g = generation_create(1, 1, NULL);
    struct error e = {0};
    assert_true(g != NULL && w->n < MOST);
    g->owner = (uint64_t)owner;
    g->priority = priority;
    w->queue.max = w->queue.n;
    uint32_t n = w->queue.n;
    bool ok = queue_add(&w->queue, g, &held, &displaced, &e);
    assert_int_equal(w->queue.n, n);
    if (!ok) {
        assert_int_equal(e.code, ERROR_BUSY);
        assert_int_equal(g->retry_s, 10);
        generation_destroy(g);
        return '-';
    }
    assert_non_null(displaced);
    w->all[w->n] = g;
    w->name[w->n++] = owner;
    return name_of(w, displaced);
}

static void owners_that_fill_the_queue_make_room_until_others_have_as_much(void **state)
{
    (void)state;
    struct world w = {0};
    for (int i = 0; i < 4; i++) {
        come_of(&w, 'A', 1);
        come_of(&w, 'B', 1);
    }
    struct generation *newest = w.all[w.n - 1], *second = w.all[w.n - 2];
    assert_int_equal(squeeze(&w, 'C', 0), 'B');
    assert_null(newest->next);
    assert_int_equal(squeeze(&w, 'C', 0), 'A');
    assert_null(second->next);
    assert_int_equal(squeeze(&w, 'C', 0), '-'); /* they have one more than it */
    assert_int_equal(squeeze(&w, 'A', 0), '-');
    assert_int_equal(squeeze(&w, 'D', 0), 'B');
    assert_int_equal(squeeze(&w, 'B', 0), '-');
    assert_string_equal(give(&w, 99), "ABCDABCA");
    leave(&w);
}

static void a_lower_class_makes_room_for_a_better_one_and_never_the_other_way(void **state)
{
    (void)state;
    struct world w = {0};
    next_owner = 'A';
    come(&w, 'a', 1, -1);
    come(&w, 'a', 1, 0);
    come(&w, 'a', 1, 0);
    next_owner = 'B';
    come(&w, 'b', 1, 1);
    come(&w, 'c', 1, 1);
    next_owner = 0;
    assert_int_equal(squeeze(&w, 'D', 2), '-');
    assert_int_equal(squeeze(&w, 'A', 0), 'c'); /* who has most, but a better class */
    assert_int_equal(squeeze(&w, 'D', 1), '-');
    assert_int_equal(squeeze(&w, 'D', -1), 'b');
    assert_int_equal(squeeze(&w, 'D', 0), 'A'); /* what came last of its */
    assert_int_equal(squeeze(&w, 'A', 0), '-');
    assert_int_equal(squeeze(&w, 'B', -2), 'a');
    assert_string_equal(give(&w, 99), "BaDaD");
    leave(&w);
}

static void who_has_begun_makes_no_room(void **state)
{
    (void)state;
    struct world w = {0};
    come_of(&w, 'A', 3);
    come_of(&w, 'A', 3);
    come_of(&w, 'A', 3);
    assert_string_equal(give(&w, 3), "AAA");
    assert_int_equal(squeeze(&w, 'B', -1), '-');
    come_of(&w, 'A', 1);
    assert_int_equal(squeeze(&w, 'B', 0), 'A');
    assert_int_equal(squeeze(&w, 'B', 0), '-');
    assert_string_equal(give(&w, 99), "ABAAAAA");
    leave(&w);
}

static void without_owners_all_have_as_much(void **state)
{
    (void)state;
    struct world w = {0};
    come(&w, 'a', 1, 0);
    come(&w, 'b', 1, 0);
    come(&w, 'c', 1, 0);
    assert_int_equal(squeeze(&w, 0, 0), '-');
    assert_int_equal(squeeze(&w, 'D', 0), 'c');
    assert_int_equal(squeeze(&w, 0, -1), 'b'); /* theirs, as together they have most */
    give(&w, 99);
    leave(&w);
}

static void who_cannot_wait_takes_nobodys_room(void **state)
{
    (void)state;
    struct world w = {0};
    struct error e = {0};
    for (int i = 0; i < 3; i++) {
        come_of(&w, 'A', 1);
    }
    struct generation *displaced = NULL, *g = generation_create(1, 1, NULL);
    assert_non_null(g);
    g->owner = 'B';
    g->patience_s = 15.0; /* its turn is second */
    w.queue.max = 3;
    assert_false(queue_add(&w.queue, g, &held, &displaced, &e));
    assert_non_null(strstr(e.text, "some 20.0 seconds for its turn"));
    assert_null(displaced);
    assert_string_equal(give(&w, 99), "AAA");
    generation_destroy(g);
    leave(&w);
}

/* Whatever they send, to a queue that is always full: in the end nobody has two more than another
 * who asks for more. */
static void owners_share_a_full_queue_and_take_nothing_in_turns(void **state)
{
    (void)state;
    enum { OWNERS = 3, ROOM = 60 };
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 50; round++) {
        struct world w = {0};
        uint32_t n_displaced = 0, counts[OWNERS] = {0};
        for (int i = 0; i < ROOM; i++) {
            come_of(&w, (char)('A' + rng_next(&rng) % 2), 1);
        }
        for (int i = 0; i < 20 * ROOM; i++) {
            n_displaced += squeeze(&w, (char)('A' + rng_next(&rng) % OWNERS), 0) != '-';
        }
        for (const struct generation *g = w.queue.first; g != NULL; g = g->next) {
            counts[g->owner - 'A']++;
        }
        for (int i = 0; i < OWNERS; i++) {
            assert_in_range(counts[i], ROOM / OWNERS - 1, ROOM / OWNERS + 1);
        }
        assert_in_range(n_displaced, ROOM / OWNERS - 1, 2 * ROOM);
        give(&w, 99);
        leave(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_are_served_in_turns),
        cmocka_unit_test(who_comes_waits_for_no_more_than_one_choice_of_each),
        cmocka_unit_test(who_has_many_choices_is_not_overtaken_for_ever),
        cmocka_unit_test(priority_comes_before_turns),
        cmocka_unit_test(who_leaves_is_not_waited_for),
        cmocka_unit_test(estimates_are_what_comes),
        cmocka_unit_test(a_full_queue_and_a_short_patience_change_nothing),
        cmocka_unit_test(a_hundred_requests_delay_another_owners_only_one_by_one),
        cmocka_unit_test(an_owner_has_its_part_of_the_queue_and_others_have_the_rest),
        cmocka_unit_test(owners_take_turns_and_within_an_owner_its_requests),
        cmocka_unit_test(the_round_of_who_leaves_is_for_who_comes),
        cmocka_unit_test(nobody_waits_for_more_of_another_than_of_his_own_and_two),
        cmocka_unit_test(estimates_of_owners_are_what_comes),
        cmocka_unit_test(owners_that_fill_the_queue_make_room_until_others_have_as_much),
        cmocka_unit_test(a_lower_class_makes_room_for_a_better_one_and_never_the_other_way),
        cmocka_unit_test(who_has_begun_makes_no_room),
        cmocka_unit_test(without_owners_all_have_as_much),
        cmocka_unit_test(who_cannot_wait_takes_nobodys_room),
        cmocka_unit_test(owners_share_a_full_queue_and_take_nothing_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
