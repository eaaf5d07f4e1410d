/* test_api_usage.c - queries about usage, and the pages that answer them. */
#include "serve/api_usage.h"

#include "base/mem.h"
#include "serve/usage_report.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* 2026-11-26T12:00:00Z */
static const int64_t noon = 1795694400;
enum { HOUR = 3600, DAY = 86400 };

static bool parse(const char *query, struct api_usage_query *q, struct api_error *error)
{
    *error = (struct api_error){0};
    return api_usage_query_parse(STORE_USAGE_TEXTS, str_from(query), noon, q, error);
}

static struct api_usage_query parse_well(const char *query)
{
    struct api_usage_query q;
    struct api_error error;
    if (!parse(query, &q, &error)) {
        fail_msg("%s: %s", query, error.message);
    }
    return q;
}

static void a_query_without_more_is_a_week_of_days(void **state)
{
    (void)state;
    struct api_usage_query q = parse_well("start_time=1795694400");
    assert_true(q.start_s == noon && q.from_s == noon && q.end_s == noon + 12 * HOUR);
    assert_true(q.width_s == DAY && q.n_buckets == 7);
    assert_false(q.by_key || q.by_model || q.by_batch || q.only_batch);
    assert_int_equal(q.n_keys + q.n_models, 0);
    api_usage_query_finish(&q);
}

static void a_query_may_say_everything(void **state)
{
    (void)state;
    struct api_usage_query q = parse_well(
        "bucket_width=1h&start_time=7200&end_time=100000&limit=168&api_key_ids[]=0123456789ab&"
        "api_key_ids=ffffffffffff&models%5B%5D=a%20b&models=c+%C3%a9%26&group_by[]=model&"
        "group_by=api_key_id&group_by=batch&batch=false&page=page_10800&");
    assert_true(q.start_s == 7200 && q.end_s == 100000 && q.from_s == 10800);
    assert_true(q.width_s == HOUR && q.n_buckets == 168);
    assert_true(q.by_key && q.by_model && q.by_batch && !q.only_batch);
    assert_int_equal(q.n_keys, 2);
    assert_true(str_eq(q.keys[0], STR("0123456789ab")) && str_eq(q.keys[1], STR("ffffffffffff")));
    assert_int_equal(q.n_models, 2);
    assert_true(str_eq(q.models[0], STR("a b")) && str_eq(q.models[1], STR("c \xC3\xA9&")));
    api_usage_query_finish(&q);
    q = parse_well("start_time=0&batch=true");
    assert_true(q.only_batch);
    api_usage_query_finish(&q);
}

static void usual_and_most_buckets_are_those_of_their_width(void **state)
{
    (void)state;
    static const struct {
        const char *width;
        uint32_t usual, most;
    } widths[] = {{"1m", 60, 1440}, {"1h", 24, 168}, {"1d", 7, 31}};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        char text[96];
        struct api_error error;
        snprintf(text, sizeof text, "start_time=0&bucket_width=%s", widths[i].width);
        struct api_usage_query q = parse_well(text);
        assert_int_equal(q.n_buckets, widths[i].usual);
        api_usage_query_finish(&q);
        for (uint32_t more = 0; more < 2; more++) {
            snprintf(text, sizeof text, "limit=%u&start_time=0&bucket_width=%s",
                     widths[i].most + more, widths[i].width);
            assert_true(parse(text, &q, &error) == (more == 0));
            assert_true(more == 1 || q.n_buckets == widths[i].most);
            api_usage_query_finish(&q);
        }
        assert_int_equal(error.kind, API_ERROR_INVALID_VALUE);
        assert_string_equal(error.param, "limit");
    }
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        enum api_error_kind kind;
        const char *param;
    } bad[] = {
        {"", API_ERROR_MISSING_PARAMETER, "start_time"},
        {"limit=5", API_ERROR_MISSING_PARAMETER, "start_time"},
        {"start_time", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=-5", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=+5", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=5.0", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=2026-11-26", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=1000000000000", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time[]=5", API_ERROR_INVALID_TYPE, "start_time"},
        {"start_time=5&start_time=5", API_ERROR_INVALID_VALUE, "start_time"},
        {"start_time=5&end_time=5", API_ERROR_INVALID_VALUE, "end_time"},
        {"start_time=5&end_time=4", API_ERROR_INVALID_VALUE, "end_time"},
        {"start_time=5&end_time=x", API_ERROR_INVALID_TYPE, "end_time"},
        {"start_time=5&bucket_width=1w", API_ERROR_INVALID_VALUE, "bucket_width"},
        {"start_time=5&bucket_width=", API_ERROR_INVALID_VALUE, "bucket_width"},
        {"start_time=5&limit=0", API_ERROR_INVALID_VALUE, "limit"},
        {"start_time=5&limit=7x", API_ERROR_INVALID_TYPE, "limit"},
        {"start_time=5&limit=999999999999", API_ERROR_INVALID_VALUE, "limit"},
        {"start_time=5&batch=1", API_ERROR_INVALID_TYPE, "batch"},
        {"start_time=5&api_key_ids=me", API_ERROR_INVALID_VALUE, "api_key_ids"},
        {"start_time=5&api_key_ids=0123456789ab,0123456789ab", API_ERROR_INVALID_VALUE,
         "api_key_ids"},
        {"start_time=5&models[]=", API_ERROR_INVALID_VALUE, "models"},
        {"start_time=5&models[0]=a", API_ERROR_UNKNOWN_PARAMETER, "models[0]"},
        {"start_time=5&models[][]=a", API_ERROR_UNKNOWN_PARAMETER, "models[]"},
        {"start_time=5&models=%4", API_ERROR_INVALID_VALUE, "models"},
        {"start_time=5&models=%", API_ERROR_INVALID_VALUE, "models"},
        {"start_time=5&%zz=1", API_ERROR_INVALID_VALUE, "%zz"},
        {"start_time=5&group_by=model,api_key_id", API_ERROR_INVALID_VALUE, "group_by"},
        {"start_time=5&group_by=", API_ERROR_INVALID_VALUE, "group_by"},
        {"start_time=5&group_by[]=project_id", API_ERROR_UNSUPPORTED_VALUE, "group_by"},
        {"start_time=5&group_by[]=user_id", API_ERROR_UNSUPPORTED_VALUE, "group_by"},
        {"start_time=5&group_by[]=service_tier", API_ERROR_UNSUPPORTED_VALUE, "group_by"},
        {"start_time=5&group_by[]=api_source", API_ERROR_UNSUPPORTED_VALUE, "group_by"},
        {"start_time=5&project_ids[]=a", API_ERROR_UNSUPPORTED_PARAMETER, "project_ids"},
        {"start_time=5&user_ids=a", API_ERROR_UNSUPPORTED_PARAMETER, "user_ids"},
        {"start_time=5&page=", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&page=page_", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&page=86400", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&page=page_5", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&page=page_86401", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&page=page_86400x", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=86405&page=page_86400", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&end_time=86400&page=page_86400", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&page=page_99999999999999999999", API_ERROR_INVALID_VALUE, "page"},
        {"start_time=5&api-version=1", API_ERROR_UNKNOWN_PARAMETER, "api-version"},
        {"start_time=5&Limit=1", API_ERROR_UNKNOWN_PARAMETER, "Limit"},
        {"=5", API_ERROR_UNKNOWN_PARAMETER, ""},
        {"[]=5", API_ERROR_UNKNOWN_PARAMETER, "[]"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct api_usage_query q;
        struct api_error error;
        if (parse(bad[i].query, &q, &error)) {
            fail_msg("'%s' was accepted", bad[i].query);
        }
        if (error.kind != bad[i].kind || strcmp(error.param, bad[i].param) != 0) {
            fail_msg("'%s': %d '%s' %s", bad[i].query, (int)error.kind, error.param, error.message);
        }
        assert_null(q.text);
    }
}

static void a_hundred_names_are_enough(void **state)
{
    (void)state;
    char query[2048] = "start_time=5";
    struct api_usage_query q;
    struct api_error error;
    size_t n = strlen(query);
    for (int i = 0; i < API_USAGE_MAX_NAMES; i++) {
        n += (size_t)snprintf(query + n, sizeof query - n, "&models=a");
    }
    q = parse_well(query);
    assert_int_equal(q.n_models, API_USAGE_MAX_NAMES);
    api_usage_query_finish(&q);
    snprintf(query + n, sizeof query - n, "&models=a");
    assert_false(parse(query, &q, &error));
    assert_string_equal(error.param, "models");
}

static void embeddings_have_no_batches(void **state)
{
    (void)state;
    struct api_usage_query q;
    struct api_error error = {0};
    assert_false(api_usage_query_parse(STORE_USAGE_VECTORS, STR("start_time=5&batch=true"), noon,
                                       &q, &error));
    assert_int_equal(error.kind, API_ERROR_UNKNOWN_PARAMETER);
    assert_false(api_usage_query_parse(STORE_USAGE_VECTORS, STR("start_time=5&group_by=batch"),
                                       noon, &q, &error));
    assert_int_equal(error.kind, API_ERROR_UNSUPPORTED_VALUE);
}

/* --- pages */

static char folder[] = "/tmp/test_api_usage_XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/usage.db", mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char journal[80];
    snprintf(journal, sizeof journal, "%s-journal", path);
    unlink(journal);
    unlink(path);
    return rmdir(folder);
}

static void write_rows(void)
{
    struct store *s = store_open(
        &(struct store_options){.schema = &store_usage_schema, .path = path, .creates = true},
        NULL);
    static const char *const keys[] = {"", "0123456789ab"};
    assert_non_null(s);
    for (int i = 0; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        const struct store_use row = {.id = str_from(id),
                                      .key = str_from(keys[i % 2]),
                                      .model = STR("a \"b\""),
                                      .endpoint =
                                          i % 4 == 3 ? STR("embeddings") : STR("chat/completions"),
                                      .n_prompt = 10,
                                      .n_cached = 4,
                                      .n_completion = 3,
                                      .ended_ms = (noon + (int64_t)i * 6 * HOUR) * 1000};
        const struct store_use *rows[] = {&row};
        assert_true(store_usage_add(s, rows, 1, NULL));
    }
    store_close(s);
}

static json_t *page(const char *query)
{
    struct api_usage_query q = parse_well(query);
    struct error e = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    if (!usage_report_print(path, &q, NULL, &out, &e)) {
        fail_msg("%s", e.text);
    }
    json_t *root = json_loadb(out.data, out.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buf_finish(&out);
    api_usage_query_finish(&q);
    return root;
}

static json_int_t number(json_t *object, const char *name)
{
    assert_true(json_is_integer(json_object_get(object, name)));
    return json_integer_value(json_object_get(object, name));
}

static void buckets_are_those_of_utc_between_start_and_end(void **state)
{
    (void)state;
    json_t *root = page("start_time=1795694400&end_time=1796000000");
    json_t *data = json_object_get(root, "data");
    assert_string_equal(json_string_value(json_object_get(root, "object")), "page");
    assert_true(json_is_false(json_object_get(root, "has_more")));
    assert_true(json_is_null(json_object_get(root, "next_page")));
    assert_int_equal(json_array_size(data), 5);
    static const json_int_t edges[] = {1795694400, 1795737600, 1795824000,
                                       1795910400, 1795996800, 1796000000};
    static const json_int_t requests[] = {2, 3, 3, 3, 1}; /* three of four are completions */
    for (size_t i = 0; i < 5; i++) {
        json_t *bucket = json_array_get(data, i), *results = json_object_get(bucket, "results");
        assert_int_equal(number(bucket, "start_time"), edges[i]);
        assert_int_equal(number(bucket, "end_time"), edges[i + 1]);
        assert_int_equal(json_array_size(results), requests[i] > 0);
        if (requests[i] > 0) {
            json_t *r = json_array_get(results, 0);
            assert_int_equal(number(r, "num_model_requests"), requests[i]);
            assert_int_equal(number(r, "input_tokens"), 10 * requests[i]);
            assert_int_equal(number(r, "input_cached_tokens"), 4 * requests[i]);
            assert_int_equal(number(r, "output_tokens"), 3 * requests[i]);
            assert_true(json_is_null(json_object_get(r, "model")));
        }
    }
    json_decref(root);
}

static void pages_follow_each_other(void **state)
{
    (void)state;
    char query[128] = "start_time=1795694401&end_time=1796500000&limit=3";
    json_int_t at = 1795694401, n_requests = 0;
    for (int i = 0; i < 4; i++) {
        json_t *root = page(query), *bucket;
        size_t k;
        json_array_foreach(json_object_get(root, "data"), k, bucket)
        {
            json_t *result = json_array_get(json_object_get(bucket, "results"), 0);
            assert_int_equal(number(bucket, "start_time"), at);
            at = number(bucket, "end_time");
            n_requests += result != NULL ? number(result, "num_model_requests") : 0;
        }
        assert_true(k == 3 || i == 3);
        assert_true(json_is_true(json_object_get(root, "has_more")) == (i < 3));
        if (i < 3) {
            snprintf(query, sizeof query,
                     "start_time=1795694401&end_time=1796500000&limit=3&page=%s",
                     json_string_value(json_object_get(root, "next_page")));
        }
        json_decref(root);
    }
    assert_int_equal(at, 1796500000);
    assert_int_equal(n_requests, 28); /* of 37 that end within; 9 are vectors */
}

static void groups_are_told_apart(void **state)
{
    (void)state;
    json_t *root = page("start_time=1795694400&end_time=1796600000&limit=1&bucket_width=1d&"
                        "group_by=api_key_id&group_by=model&group_by=batch");
    json_t *results = json_object_get(json_array_get(json_object_get(root, "data"), 0), "results");
    assert_int_equal(json_array_size(results), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *r = json_array_get(results, i);
        const char *key = json_string_value(json_object_get(r, "api_key_id"));
        assert_true(i == 0 ? key == NULL : strcmp(key, "0123456789ab") == 0);
        assert_string_equal(json_string_value(json_object_get(r, "model")), "a \"b\"");
        assert_true(json_is_false(json_object_get(r, "batch")));
        assert_int_equal(number(r, "num_model_requests"), 1);
    }
    json_decref(root);
}

static void a_page_ends_when_nobody_waits_and_says_when_memory_runs_out(void **state)
{
    (void)state;
    struct api_usage_query q =
        parse_well("start_time=1795694400&end_time=1796600000&group_by=api_key_id");
    _Atomic bool stop = true;
    struct error e = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_false(usage_report_print(path, &q, &stop, &out, &e));
    assert_int_equal(e.code, ERROR_INTERRUPTED);
    bool ok = false;
    size_t n = 0;
    while (!ok) {
        buf_finish(&out);
        buf_init(&out, 1 << 20);
        e = (struct error){0};
        mem_fail_nth(++n);
        ok = usage_report_print(path, &q, NULL, &out, &e);
        mem_fail_nth(0);
        assert_true(ok || e.code == ERROR_MEMORY);
    }
    assert_true(n > 10);
    buf_finish(&out);
    buf_init(&out, 300); /* too small for the page */
    assert_false(usage_report_print(path, &q, NULL, &out, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    buf_finish(&out);
    api_usage_query_finish(&q);
}

static void no_ledger_is_nothing_used(void **state)
{
    (void)state;
    struct api_usage_query q = parse_well("start_time=0&end_time=1");
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(usage_report_print("/nonexistent/ledger", &q, NULL, &out, NULL));
    assert_true(
        str_eq(buf_str(&out),
               STR("{\"object\":\"page\",\"data\":[{\"object\":\"bucket\",\"start_time\":0,"
                   "\"end_time\":1,\"results\":[]}],\"has_more\":false,\"next_page\":null}")));
    buf_finish(&out);
    api_usage_query_finish(&q);
}

static int begin(void **state)
{
    make_folder(state);
    write_rows();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_without_more_is_a_week_of_days),
        cmocka_unit_test(a_query_may_say_everything),
        cmocka_unit_test(usual_and_most_buckets_are_those_of_their_width),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_hundred_names_are_enough),
        cmocka_unit_test(embeddings_have_no_batches),
        cmocka_unit_test(buckets_are_those_of_utc_between_start_and_end),
        cmocka_unit_test(pages_follow_each_other),
        cmocka_unit_test(groups_are_told_apart),
        cmocka_unit_test(a_page_ends_when_nobody_waits_and_says_when_memory_runs_out),
        cmocka_unit_test(no_ledger_is_nothing_used),
    };
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
