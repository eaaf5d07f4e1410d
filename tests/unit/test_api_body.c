/* test_api_body.c - bodies that are no requests, limits, running out of memory, and the document of
 * the API against the tables that read requests. */
#include "base/json_tree.h"
#include "base/mem.h"
#include "engine/prefix.h"
#include "serve/api_openapi.h"
#include "serve/api_request.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct api_options options;

static bool parse(enum api_endpoint endpoint, const char *body, struct api_request *out,
                  struct api_error *e)
{
    *e = (struct api_error){0};
    return api_request_parse(endpoint, str_from(body), &options, out, e);
}

static void expect_error(enum api_endpoint endpoint, const char *body, enum api_error_kind kind,
                         const char *param)
{
    struct api_request q;
    struct api_error e;
    if (parse(endpoint, body, &q, &e)) {
        fail_msg("accepted: %s", body);
    }
    if (e.kind != kind || strcmp(e.param, param) != 0 || e.message[0] == '\0') {
        fail_msg("%s: kind %d, param '%s': %s", body, (int)e.kind, e.param, e.message);
    }
    assert_null(q.blocks);
}

/* --- bodies that are no requests */

static void a_body_that_is_no_object_of_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "{\"a\":}",
        "{'a':1}",
        "{} {}",
        "nul",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":1e999}",
        "{\"a\":NaN}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\x01\"}",
        "\xef\xbb\xbf{}",
        "{\"a\":123456789012345678901234567890}",
        "{\"model\":\"a\",\"model\":\"b\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_error(API_CHAT, bad[i], API_ERROR_BAD_JSON, "");
    }
    expect_error(API_CHAT, "[]", API_ERROR_INVALID_TYPE, "");
    expect_error(API_CHAT, "5", API_ERROR_BAD_JSON, "");
    expect_error(API_CHAT, "{}", API_ERROR_MISSING_PARAMETER, "model");
    expect_error(API_CHAT, "{\"model\":\"m\"}", API_ERROR_MISSING_PARAMETER, "messages");
}

static void a_number_that_is_too_large_is_told_with_its_place_and_what_is_allowed(void **state)
{
    (void)state;
    static const char integers[] =
        "an integer is not within -9223372036854775808 to 9223372036854775807";
    static const struct {
        const char *body, *at, *why;
    } table[] = {
        {"{\"seed\":123456789012345678901234567890}",
         "the body could not be parsed as JSON: line 1", integers},
        {"{\n\"a\":{\"b\":[1,-9223372036854775809]}}", "line 2", integers},
        {"{\"tools\":[9223372036854775808]}", "line 1, column 29", integers},
        {"{\"a\":1e400}", "line 1",
         "a number is not within -1.7976931348623157e308 to 1.7976931348623157e308"},
        {"{\"a\":-1e400}", "line 1",
         "a number is not within -1.7976931348623157e308 to 1.7976931348623157e308"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct api_request q;
        struct api_error e;
        assert_false(parse(API_CHAT, table[i].body, &q, &e));
        assert_int_equal(e.kind, API_ERROR_BAD_JSON);
        if (strstr(e.message, table[i].at) == NULL || strstr(e.message, table[i].why) == NULL) {
            fail_msg("%s: %s", table[i].body, e.message);
        }
    }
    expect_error(API_CHAT, "{\"a\":[9223372036854775807,-9223372036854775808]}",
                 API_ERROR_UNKNOWN_PARAMETER, "a");
}

/* n times `piece`, between head and tail. */
static void expect_long(const char *head, const char *piece, size_t n, const char *tail,
                        enum api_error_kind kind)
{
    struct buf b;
    struct api_request q;
    struct api_error e = {0};
    buf_init(&b, 1 << 26);
    assert_true(buf_append(&b, str_from(head), NULL));
    for (size_t i = 0; i < n; i++) {
        assert_true(buf_append(&b, str_from(piece), NULL));
    }
    assert_true(buf_append(&b, str_from(tail), NULL));
    bool ok = api_request_parse(API_CHAT, buf_str(&b), &options, &q, &e);
    if (ok != (kind == API_ERROR_NONE) || e.kind != kind) {
        fail_msg("%zu times '%s': kind %d: %s", n, piece, (int)e.kind, e.message);
    }
    api_request_finish(&q);
    buf_finish(&b);
}

static void limits_hold_at_their_edge(void **state)
{
    (void)state;
    static const char head[] = "{\"model\":\"m\",\"messages\":[";
    static const char one[] = "{\"role\":\"user\",\"content\":\"\"}";
    static const char more[] = "{\"role\":\"user\",\"content\":\"\"},";
    char tail[64];
    snprintf(tail, sizeof tail, "%s]}", one);
    expect_long(head, more, options.limits.messages - 1, tail, API_ERROR_NONE);
    expect_long(head, more, options.limits.messages, tail, API_ERROR_INVALID_VALUE);
    /* depth: the body's own object is one level, and `stop` is refused by type when it fits */
    static const char deep[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]"
        ",\"logit_bias\":";
    expect_long(deep, "[", options.limits.depth, "", API_ERROR_BAD_JSON);
    expect_long(deep, "[", 1000000, "", API_ERROR_BAD_JSON);
    expect_long("{\"a\":[", "{},", options.limits.containers, "1]}", API_ERROR_BAD_JSON);
    static const char *const long_heads[] = {"{\"input\":[", "{\"prompt\":[", "{\"tokens\":[",
                                             "{\"content\":["};
    for (size_t i = 0; i < sizeof long_heads / sizeof long_heads[0]; i++) {
        expect_long(long_heads[i], "1,", options.limits.schema_values, "1]}",
                    API_ERROR_UNKNOWN_PARAMETER);
        expect_long(long_heads[i], "1,", options.limits.values, "1]}", API_ERROR_BAD_JSON);
    }
    /* of the members that are no long text there are fewer, wherever they are and however the
     * others' names are spelled */
    static const char *const heads[] = {"{\"a\":[", "{\"input\":[1],\"a\":[", "{\"a\":{\"input\":[",
                                        "{\"inp\\u0075t\":[", "{\"x\":\"input\",\"a\":["};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        expect_long(heads[i], "1,", options.limits.schema_values, i == 2 ? "1]}}" : "1]}",
                    API_ERROR_BAD_JSON);
    }
    /* nor is a text of that length looked into */
    static const char guided[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],"
        "\"guided_json\":\"";
    expect_long(guided, "1", options.limits.schema_bytes, "\"}", API_ERROR_INVALID_VALUE);
    expect_long(guided, "1", options.limits.schema_bytes + 1, "\"}", API_ERROR_BAD_JSON);
    expect_long("{\"prompt\":\"", "1", options.limits.schema_bytes + 1, "\"}",
                API_ERROR_UNKNOWN_PARAMETER);
    expect_long(
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"guided_json\":\"[",
        "1,", options.limits.schema_values, "1]\"}", API_ERROR_INVALID_VALUE);
    /* a schema that large is refused before a tree is made of it */
    expect_long("{\"model\":\"m\",\"guided_json\":{\"enum\":[", "1,", 1000000, "1]}}",
                API_ERROR_BAD_JSON);
    /* brackets inside strings do not count */
    expect_long("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\\\"", "[{,",
                400000, "\"}]}", API_ERROR_NONE);
    expect_long("{\"model\":\"", "m", API_MAX_NAME_CHARS,
                "\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}", API_ERROR_NONE);
    expect_long("{\"model\":\"", "\xC3\xA9", API_MAX_NAME_CHARS,
                "\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}", API_ERROR_NONE);
    expect_long("{\"model\":\"", "m", API_MAX_NAME_CHARS + 1,
                "\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}", API_ERROR_INVALID_VALUE);
}

static void depth_is_told_with_both_numbers(void **state)
{
    (void)state;
    char body[256] = "{\"a\":";
    for (uint32_t i = 0; i < options.limits.depth; i++) {
        body[5 + i] = '[';
    }
    struct api_request q;
    struct api_error e;
    assert_false(parse(API_CHAT, body, &q, &e));
    assert_non_null(strstr(e.message, "65"));
    assert_non_null(strstr(e.message, "64"));
}

/* A name of any length and any bytes neither overflows the param nor breaks the answer's UTF-8. */
static void a_long_unknown_name_is_cut(void **state)
{
    (void)state;
    struct buf b;
    struct buf printed;
    struct api_request q;
    struct api_error e = {0};
    buf_init(&b, 1 << 20);
    buf_init(&printed, 1 << 16);
    assert_true(buf_append(&b, STR("{\""), NULL));
    for (int i = 0; i < 5000; i++) {
        assert_true(buf_append(&b, STR("a\xF0\x9F\xA6\x99"), NULL));
    }
    assert_true(buf_append(&b, STR("\":1}"), NULL));
    assert_false(api_request_parse(API_CHAT, buf_str(&b), &options, &q, &e));
    assert_int_equal(e.kind, API_ERROR_UNKNOWN_PARAMETER);
    assert_true(api_error_print(&e, &printed, NULL));
    json_t *root = json_loadb(printed.data, printed.n, 0, NULL);
    assert_non_null(root);
    json_decref(root);
    buf_finish(&b);
    buf_finish(&printed);
}

/* --- running out of memory */

static const char full_chat[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
    "\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}],"
    "\"stop\":[\"x\"],\"logit_bias\":{\"1\":2},\"stop_token_ids\":[1],\"user\":\"u\","
    "\"verbosity\":\"low\",\"metadata\":{\"k\":\"v\"}}";

static void running_out_of_memory_at_any_point_is_a_503_that_leaks_nothing(void **state)
{
    (void)state;
    static const struct {
        enum api_endpoint endpoint;
        const char *body;
    } table[] = {
        {API_CHAT, full_chat},
        {API_COMPLETION, "{\"model\":\"m\",\"prompt\":[[1,2],[3]],\"stop\":\"x\"}"},
        {API_COMPLETION,
         "{\"model\":\"m\",\"prompt\":\"a\",\"guided_json\":\"{\\\"enum\\\":[1]}\"}"},
        {API_EMBEDDING, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}"},
        {API_TOKENIZE, "{\"content\":[\"a\",5]}"},
        {API_DETOKENIZE, "{\"tokens\":[1,2]}"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        bool done = false;
        size_t n = 1;
        for (; !done && n < 1000; n++) {
            struct api_request q;
            struct api_error e = {0};
            mem_fail_nth(n);
            done = api_request_parse(table[i].endpoint, str_from(table[i].body), &options, &q, &e);
            mem_fail_nth(0);
            if (!done) {
                assert_int_equal(e.kind, API_ERROR_OVERLOADED);
                assert_int_equal(api_error_meaning(e.kind)->http_status, 503);
                assert_null(q.blocks);
            }
            api_request_finish(&q);
        }
        assert_true(done && n > 2);
    }
}

/* The bound of a tree's memory holds: refused before the request allocates anything, these bodies
 * cost the one block and no more. */
static void a_tree_stays_in_its_block(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "[],",
        "{},",
        "1,",
        "\"\",",
        "1.5,",
        "{\"a\":{\"b\":[]}},",
        "\"0123456789abcdef\",",
        "[[[[[[[1]]]]]]],",
        "{\"0123456789abcdef\":\"0123456789abcdef\",\"b\":1,\"c\":[2]},",
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (size_t n = 1; n < 20000; n = n * 3 + 1) {
            struct buf b;
            struct api_request q;
            struct api_error e = {0};
            buf_init(&b, 1 << 22);
            assert_true(buf_append(&b, STR("{\"zzz\":["), NULL));
            for (size_t k = 0; k < n && n * strlen(pieces[i]) < 1 << 20; k++) {
                assert_true(buf_append(&b, str_from(pieces[i]), NULL));
            }
            assert_true(buf_append(&b, STR("0]}"), NULL));
            mem_fail_nth(SIZE_MAX);
            assert_false(api_request_parse(API_CHAT, buf_str(&b), &options, &q, &e));
            assert_int_equal(mem_count(), e.kind == API_ERROR_BAD_JSON ? 0 : 1);
            assert_true(e.kind == API_ERROR_BAD_JSON || e.kind == API_ERROR_UNKNOWN_PARAMETER);
            buf_finish(&b);
        }
    }
    /* many names in one object */
    struct buf b;
    struct api_request q;
    struct api_error e = {0};
    buf_init(&b, 1 << 22);
    for (int k = 0; k < 20000; k++) {
        assert_true(buf_printf(&b, NULL, "%c\"%d\":0", k == 0 ? '{' : ',', k));
    }
    assert_true(buf_append_byte(&b, '}', NULL));
    mem_fail_nth(SIZE_MAX);
    assert_false(api_request_parse(API_CHAT, buf_str(&b), &options, &q, &e));
    assert_int_equal(mem_count(), 1);
    assert_int_equal(e.kind, API_ERROR_UNKNOWN_PARAMETER);
    mem_fail_nth(0);
    buf_finish(&b);
}

/* --- the document of the API */

static const char *const paths[API_ENDPOINT_COUNT] = {
    [API_CHAT] = "ChatRequest",
    [API_COMPLETION] = "CompletionRequest",
    [API_EMBEDDING] = "EmbeddingRequest",
    [API_TOKENIZE] = "TokenizeRequest",
    [API_DETOKENIZE] = "DetokenizeRequest",
    [API_APPLY_TEMPLATE] = "ApplyTemplateRequest",
    [API_EPHEMERAL_KEY] = "EphemeralKeyRequest",
};

static json_t *load_document(void)
{
    struct str text = api_openapi_json();
    json_error_t why;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        fail_msg("line %d: %s", why.line, why.text);
    }
    return root;
}

/* "#/components/schemas/Name" */
static json_t *resolve(json_t *root, const char *ref)
{
    char key[128];
    json_t *at = root;
    assert_int_equal(strncmp(ref, "#/", 2), 0);
    for (const char *p = ref + 2; at != NULL && *p != '\0';) {
        size_t n = strcspn(p, "/");
        snprintf(key, sizeof key, "%.*s", (int)n, p);
        at = json_object_get(at, key);
        p += n + (p[n] == '/');
    }
    return at;
}

static size_t check_refs(json_t *root, json_t *at)
{
    size_t n = 0;
    const char *key;
    size_t i;
    json_t *v;
    if (json_is_object(at)) {
        json_object_foreach(at, key, v)
        {
            if (strcmp(key, "$ref") == 0) {
                if (resolve(root, json_string_value(v)) == NULL) {
                    fail_msg("%s leads nowhere", json_string_value(v));
                }
                n++;
            } else {
                n += check_refs(root, v);
            }
        }
    } else if (json_is_array(at)) {
        json_array_foreach(at, i, v)
        {
            n += check_refs(root, v);
        }
    }
    return n;
}

static void every_reference_of_the_openapi_document_leads_somewhere(void **state)
{
    (void)state;
    json_t *root = load_document();
    assert_true(check_refs(root, root) > 20);
    assert_string_equal(json_string_value(json_object_get(root, "openapi")), "3.1.0");
    json_decref(root);
}

static void the_openapi_document_has_exactly_the_parameters_that_are_read(void **state)
{
    (void)state;
    json_t *root = load_document();
    for (int endpoint = 0; endpoint < API_ENDPOINT_COUNT; endpoint++) {
        char ref[128];
        snprintf(ref, sizeof ref, "#/components/schemas/%s", paths[endpoint]);
        json_t *schema = resolve(root, ref);
        json_t *properties = json_object_get(schema, "properties");
        assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
        const char *name;
        size_t n = 0;
        for (; (name = api_parameter_name((enum api_endpoint)endpoint, n)) != NULL; n++) {
            if (json_object_get(properties, name) == NULL) {
                fail_msg("%s lacks %s", paths[endpoint], name);
            }
        }
        assert_int_equal(json_object_size(properties), n);
    }
    json_decref(root);
}

static void the_openapi_document_has_every_verdict_of_the_prefix_cache(void **state)
{
    (void)state;
    json_t *root = load_document();
    json_t *cache = resolve(root, "#/components/schemas/Usage/properties/cache/properties");
    json_t *names = json_object_get(json_object_get(cache, "miss_reason"), "enum");
    assert_int_equal(json_array_size(names), PREFIX_END_COUNT);
    for (int i = 0; i < PREFIX_END_COUNT; i++) {
        assert_string_equal(json_string_value(json_array_get(names, (size_t)i)),
                            prefix_end_name((enum prefix_end)i));
    }
    json_decref(root);
}

static int prepare(void **state)
{
    (void)state;
    json_tree_init();
    api_options_default(&options);
    options.n_vocab = 32;
    options.n_embd = 64;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_is_no_object_of_json_is_refused),
        cmocka_unit_test(a_number_that_is_too_large_is_told_with_its_place_and_what_is_allowed),
        cmocka_unit_test(limits_hold_at_their_edge),
        cmocka_unit_test(depth_is_told_with_both_numbers),
        cmocka_unit_test(a_long_unknown_name_is_cut),
        cmocka_unit_test(running_out_of_memory_at_any_point_is_a_503_that_leaks_nothing),
        cmocka_unit_test(every_reference_of_the_openapi_document_leads_somewhere),
        cmocka_unit_test(the_openapi_document_has_exactly_the_parameters_that_are_read),
        cmocka_unit_test(the_openapi_document_has_every_verdict_of_the_prefix_cache),
        cmocka_unit_test(a_tree_stays_in_its_block),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
