/* test_metrics.c - histograms count where the bound says, whoever counts beside; the text is
 * Prometheus's. */
#include "serve/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TEXT = 1 << 20, N_THREADS = 4, N_OBSERVED = 20000 };

static char *printed(const struct metrics *m, struct buf *out)
{
    buf_init(out, MAX_TEXT);
    assert_true(metrics_print(m, out, NULL));
    assert_true(buf_append_byte(out, '\0', NULL));
    return out->data;
}

static void assert_has_line(const char *text, const char *line)
{
    const char *at = text;
    size_t n = strlen(line);
    while ((at = strstr(at, line)) != NULL) {
        if ((at == text || at[-1] == '\n') && at[n] == '\n') {
            return;
        }
        at++;
    }
    fail_msg("no line '%s' in\n%s", line, text);
}

static void a_bound_belongs_to_its_bucket(void **state)
{
    (void)state;
    static struct metrics m;
    struct buf out;
    const uint64_t values[] = {0, 1, 2, 3, 4, 5, 1024, 1025, 100000};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        metrics_observe(&m, METRICS_BATCH, values[i]);
    }
    const char *text = printed(&m, &out);
    assert_has_line(text, "# TYPE puna_step_sequences histogram");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"1\"} 2");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"2\"} 3");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"4\"} 5");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"8\"} 6");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"512\"} 6");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"1024\"} 7");
    assert_has_line(text, "puna_step_sequences_bucket{le=\"+Inf\"} 9");
    assert_has_line(text, "puna_step_sequences_sum 102064");
    assert_has_line(text, "puna_step_sequences_count 9");
    buf_finish(&out);
}

static void times_are_told_in_seconds(void **state)
{
    (void)state;
    static struct metrics m;
    struct buf out;
    metrics_observe(&m, METRICS_FIRST_TOKEN, 10000000);
    metrics_observe(&m, METRICS_FIRST_TOKEN, 10000001);
    metrics_observe(&m, METRICS_FIRST_TOKEN, 2500000000);
    const char *text = printed(&m, &out);
    assert_has_line(text, "puna_time_to_first_token_seconds_bucket{le=\"0.01\"} 1");
    assert_has_line(text, "puna_time_to_first_token_seconds_bucket{le=\"0.025\"} 2");
    assert_has_line(text, "puna_time_to_first_token_seconds_bucket{le=\"1\"} 2");
    assert_has_line(text, "puna_time_to_first_token_seconds_bucket{le=\"2.5\"} 3");
    assert_has_line(text, "puna_time_to_first_token_seconds_bucket{le=\"600\"} 3");
    assert_has_line(text, "puna_time_to_first_token_seconds_sum 2.520000001");
    assert_has_line(text, "puna_queue_seconds_count 0");
    buf_finish(&out);
}

static void requests_are_counted_by_address_and_status(void **state)
{
    (void)state;
    static struct metrics m;
    struct buf out;
    static const char chat[] = "/chat/completions";
    for (int i = 0; i < 5; i++) {
        metrics_count_request(&m, chat, i < 3 ? 200 : 429);
    }
    metrics_count_request(&m, "/health", 200);
    const char *text = printed(&m, &out);
    assert_has_line(text, "puna_http_requests_total{route=\"/chat/completions\",status=\"200\"} 3");
    assert_has_line(text, "puna_http_requests_total{route=\"/chat/completions\",status=\"429\"} 2");
    assert_has_line(text, "puna_http_requests_total{route=\"/health\",status=\"200\"} 1");
    buf_finish(&out);
}

static void more_pairs_than_there_is_room_for_are_lost(void **state)
{
    (void)state;
    static struct metrics m;
    for (int i = 0; i < METRICS_MAX_REQUESTS + 10; i++) {
        metrics_count_request(&m, "/", i);
    }
    metrics_count_request(&m, "/", 5);
    assert_int_equal(m.n_requests, METRICS_MAX_REQUESTS);
    assert_int_equal(m.requests[5].n, 2);
}

static void values_are_whole_families(void **state)
{
    (void)state;
    const struct metrics_value values[] = {{"a_total", "counter", "As.", 9007199254740991.0},
                                           {"b", "gauge", "Bs.", 0.5}};
    struct buf out;
    buf_init(&out, MAX_TEXT);
    assert_true(metrics_print_values(values, 2, &out, NULL));
    static const char expected[] = "# HELP a_total As.\n# TYPE a_total counter\n"
                                   "a_total 9007199254740991\n"
                                   "# HELP b Bs.\n# TYPE b gauge\nb 0.5\n";
    assert_int_equal(out.n, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.n);
    buf_finish(&out);
    buf_init(&out, 40);
    struct error e = {0};
    assert_false(metrics_print_values(values, 2, &out, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    buf_finish(&out);
}

static void *observe_many(void *metrics)
{
    for (uint64_t i = 0; i < N_OBSERVED; i++) {
        metrics_observe(metrics, METRICS_BATCH, i % 3);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    static struct metrics m;
    pthread_t threads[N_THREADS];
    char line[100];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, observe_many, &m), 0);
    }
    struct buf out;
    printed(&m, &out); /* while they count */
    buf_finish(&out);
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const char *text = printed(&m, &out);
    snprintf(line, sizeof line, "puna_step_sequences_count %d", N_THREADS * N_OBSERVED);
    assert_has_line(text, line);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < N_OBSERVED; i++) {
        sum += N_THREADS * (i % 3);
    }
    snprintf(line, sizeof line, "puna_step_sequences_sum %llu", (unsigned long long)sum);
    assert_has_line(text, line);
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bound_belongs_to_its_bucket),
        cmocka_unit_test(times_are_told_in_seconds),
        cmocka_unit_test(requests_are_counted_by_address_and_status),
        cmocka_unit_test(more_pairs_than_there_is_room_for_are_lost),
        cmocka_unit_test(values_are_whole_families),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
