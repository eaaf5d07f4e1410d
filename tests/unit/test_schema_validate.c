/* test_schema_validate.c - values against JSON schemas: what is said of those that are wrong, what
 * cannot be judged, numbers as decimals, bounds of work. The keywords themselves are held against
 * the public test suite by tests/oracle/schema_suite.py. */
#include "schema/schema_number.h"
#include "schema/schema_validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Single quotes stand for double ones. */
static json_t *parse(const char *text)
{
    char json[2048];
    json_error_t why;
    size_t n = strlen(text);
    assert_true(n < sizeof json);
    for (size_t i = 0; i <= n; i++) {
        json[i] = (char)(text[i] == '\'' ? '"' : text[i]);
    }
    json_t *value = json_loads(json, JSON_DECODE_ANY, &why);
    if (value == NULL) {
        fail_msg("%s: %s", text, why.text);
    }
    return value;
}

static struct schema_verdict judge(const char *schema, const char *instance,
                                   const struct schema_limits *limits)
{
    json_t *s = parse(schema), *i = parse(instance);
    struct schema_verdict v;
    enum schema_outcome outcome = schema_validate(s, i, limits, &v);
    assert_int_equal(outcome, v.outcome);
    json_decref(s);
    json_decref(i);
    return v;
}

#define ARGUMENTS                                                                                  \
    "{'type':'object','properties':{'location':{'type':'string','minLength':2},"                   \
    "'unit':{'enum':['c','f']},'days':{'type':'integer','minimum':1,'maximum':7}},"                \
    "'required':['location'],'additionalProperties':false}"

static void the_first_reason_names_place_and_keyword(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *instance, *text, *at, *where, *keyword;
    } cases[] = {
        {ARGUMENTS, "{}", "/location: is missing (required)", "/location", "/required", "required"},
        {ARGUMENTS, "[]", "the value: is an array, not object (type)", "", "/type", "type"},
        {ARGUMENTS, "{'location':7}", "/location: is a number, not string (type)", "/location",
         "/properties/location/type", "type"},
        {ARGUMENTS, "{'location':'\xc3\xa9'}",
         "/location: has 1 characters, at least 2 are allowed (minLength)", "/location",
         "/properties/location/minLength", "minLength"},
        {ARGUMENTS, "{'location':'Rome','days':8}",
         "/days: is 8, more than the maximum 7 (maximum)", "/days", "/properties/days/maximum",
         "maximum"},
        {ARGUMENTS, "{'location':'Rome','days':1.5}", "/days: is a number, not integer (type)",
         "/days", "/properties/days/type", "type"},
        {ARGUMENTS, "{'location':'Rome','unit':'k'}",
         "/unit: is none of the 2 values allowed (enum)", "/unit", "/properties/unit/enum", "enum"},
        {ARGUMENTS, "{'location':'Rome','a/b~':1}",
         "/a~1b~0: is no property that is allowed (additionalProperties)", "/a~1b~0",
         "/additionalProperties", "additionalProperties"},
        {"{'items':{'$ref':'#/$defs/n'},'$defs':{'n':{'not':{'const':1}}}}", "[2,1.0]",
         "/1: matches a schema that it must not (not)", "/1", "/items/$ref/not", "not"},
        {"{'anyOf':[{'type':'null'},{'minimum':3}]}", "2",
         "the value: matches none of 2 schemas (anyOf)", "", "/anyOf", "anyOf"},
        {"{'oneOf':[{'minimum':1},{'minimum':2}]}", "2",
         "the value: matches more than one of 2 schemas (oneOf)", "", "/oneOf", "oneOf"},
        {"{'if':{'required':['a']},'then':{'required':['b']}}", "{'a':1}",
         "/b: is missing (required)", "/b", "/then/required", "required"},
        {"{'dependentRequired':{'a':['b']}}", "{'a':1}",
         "/b: is missing, as 'a' is there (dependentRequired)", "/b", "/dependentRequired",
         "dependentRequired"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schema_verdict v = judge(cases[i].schema, cases[i].instance, NULL);
        assert_int_equal(v.outcome, SCHEMA_INVALID);
        assert_string_equal(v.text, cases[i].text);
        assert_string_equal(v.instance, cases[i].at);
        assert_string_equal(v.schema, cases[i].where);
        assert_string_equal(v.keyword, cases[i].keyword);
    }
}

static void what_cannot_be_judged_is_never_valid(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *instance,
            *keyword; /* keyword NULL: valid; "!": invalid all the same */
    } cases[] = {
        {"{'unevaluatedProperties':false}", "{}", "unevaluatedProperties"},
        {"{'unevaluatedProperties':true}", "{}", NULL},
        {"{'unevaluatedItems':false,'type':'array'}", "7", "!"},
        {"{'anyOf':[{'unevaluatedItems':false},{'type':'array'}]}", "[]", NULL},
        {"{'anyOf':[{'unevaluatedItems':false},{'type':'string'}]}", "[]", "unevaluatedItems"},
        {"{'not':{'unevaluatedItems':false}}", "[]", "unevaluatedItems"},
        {"{'oneOf':[{'unevaluatedItems':false},{'type':'array'}]}", "[]", "unevaluatedItems"},
        {"{'contains':{'unevaluatedItems':false}}", "[1]", "unevaluatedItems"},
        {"{'if':{'unevaluatedItems':false},'then':{'maxItems':0}}", "[1]", "unevaluatedItems"},
        {"{'if':{'unevaluatedItems':false},'then':{'maxItems':1}}", "[1]", NULL},
        {"{'$ref':'http://a.example/x'}", "1", "$ref"},
        {"{'$ref':'#/$defs/nowhere'}", "1", "$ref"},
        {"{'$ref':'#nowhere'}", "1", "$ref"},
        {"{'$ref':'#/type'}", "1", "$ref"},
        {"{'$dynamicRef':'#a'}", "1", "$dynamicRef"},
        {"{'properties':{'a':{'$id':'http://a.example/x','not':{'$ref':'#'}}}}", "{'a':1}", "$id"},
        {"{'items':{'id':'x','$ref':'#'}}", "[1]", "id"},
        {"{'disallow':'null'}", "1", "disallow"},
        {"{'type':'strnig'}", "1", "type"},
        {"{'type':[]}", "1", "type"},
        {"{'minLength':'2'}", "'abc'", "minLength"},
        {"{'minLength':-1}", "'abc'", "minLength"},
        {"{'multipleOf':0}", "1", "multipleOf"},
        {"{'properties':[]}", "{}", "properties"},
        {"{'required':'a'}", "{}", "required"},
        {"{'anyOf':[]}", "{}", "anyOf"},
        {"{'items':7}", "[1]", "schema"},
        {"{'title':7,'x-mine':1,'format':'email'}", "'no'", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schema_verdict v = judge(cases[i].schema, cases[i].instance, NULL);
        if (cases[i].keyword == NULL) {
            assert_int_equal(v.outcome, SCHEMA_VALID);
            assert_string_equal(v.text, "");
        } else if (cases[i].keyword[0] == '!') {
            assert_int_equal(v.outcome, SCHEMA_INVALID);
        } else {
            assert_int_equal(v.outcome, SCHEMA_UNCHECKED);
            assert_string_equal(v.keyword, cases[i].keyword);
            assert_non_null(strstr(v.text, "cannot be checked"));
        }
    }
}

static void steps_and_depth_are_bounded(void **state)
{
    (void)state;
    struct schema_verdict v = judge("{'$ref':'#'}", "1", NULL);
    assert_int_equal(v.outcome, SCHEMA_UNCHECKED);
    v = judge("{'items':{'$ref':'#'}}", "[[[[[[1]]]]]]", &(struct schema_limits){.depth = 9});
    assert_int_equal(v.outcome, SCHEMA_UNCHECKED);
    v = judge("{'items':{'$ref':'#'}}", "[[[[[[1]]]]]]", &(struct schema_limits){.depth = 20});
    assert_int_equal(v.outcome, SCHEMA_VALID);
    /* 3^40 branches */
    v = judge("{'anyOf':[{'$ref':'#/$defs/a'},{'$ref':'#/$defs/a'},{'$ref':'#/$defs/a'}],"
              "'$defs':{'a':{'anyOf':[{'$ref':'#'},{'$ref':'#'},{'$ref':'#'}]}}}",
              "1", &(struct schema_limits){.steps = 10000});
    assert_int_equal(v.outcome, SCHEMA_UNCHECKED);
    v = judge("{'uniqueItems':true}", "[1,2,3,4,5,6,7,8]", &(struct schema_limits){.steps = 20});
    assert_int_equal(v.outcome, SCHEMA_UNCHECKED);
    v = judge("{'enum':[1,2,3,4,5,6,7,8]}", "8", &(struct schema_limits){.steps = 4});
    assert_int_equal(v.outcome, SCHEMA_UNCHECKED);
}

/* 20 * 20 * 20 times a thousand schemas, names or bytes: each look at them takes steps. */
static void a_small_schema_cannot_ask_for_endless_work(void **state)
{
    (void)state;
    static const char *const kinds[] = {"allOf", "required", "minLength"};
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        json_t *root = parse("{'$defs':{}}"), *defs = json_object_get(root, "$defs");
        json_t *many = json_array(), *text = NULL;
        for (size_t i = 0; i < 1000; i++) {
            json_array_append_new(many, kind == 0 ? json_true() : json_string("a"));
        }
        json_t *value = kind == 2 ? json_integer(1) : json_incref(many);
        json_object_set_new(defs, "d0", json_pack("{s:o}", kinds[kind], value));
        for (int level = 1; level <= 3; level++) {
            char ref[32], name[16];
            snprintf(ref, sizeof ref, "#/$defs/d%d", level - 1);
            snprintf(name, sizeof name, "d%d", level);
            json_t *all = json_array();
            for (size_t i = 0; i < 20; i++) {
                json_array_append_new(all, json_pack("{s:s}", "$ref", ref));
            }
            json_object_set_new(defs, name, json_pack("{s:o}", "allOf", all));
        }
        json_object_set_new(root, "$ref", json_string("#/$defs/d3"));
        static char bytes[64000];
        memset(bytes, 'x', sizeof bytes);
        text = kind == 2 ? json_stringn(bytes, sizeof bytes) : parse("{'a':1}");
        struct schema_verdict v;
        assert_int_equal(schema_validate(root, text, &(struct schema_limits){.steps = 1000000}, &v),
                         SCHEMA_UNCHECKED);
        assert_non_null(strstr(v.text, "too many steps"));
        json_decref(text);
        json_decref(many);
        json_decref(root);
    }
}

static void long_places_are_cut_on_a_character(void **state)
{
    (void)state;
    json_t *schema = parse("{'additionalProperties':false}");
    json_t *instance = json_object();
    char key[1000];
    struct schema_verdict v;
    for (size_t i = 0; i + 2 < sizeof key; i += 2) {
        memcpy(key + i, "\xc3\xa9", 2);
    }
    key[sizeof key - 2] = '\0';
    json_object_set_new(instance, key, json_null());
    assert_int_equal(schema_validate(schema, instance, NULL, &v), SCHEMA_INVALID);
    assert_true(strlen(v.instance) < sizeof v.instance);
    assert_string_equal(v.instance + strlen(v.instance) - 5, "\xc3\xa9...");
    assert_non_null(strstr(v.text, "..."));
    json_decref(schema);
    json_decref(instance);
}

static struct decimal decimal_of(const char *text)
{
    json_t *value = parse(text);
    struct decimal d = decimal_from_json(value);
    json_decref(value);
    return d;
}

static void numbers_are_compared_as_they_are_written(void **state)
{
    (void)state;
    /* in order; those in a group are equal */
    static const char *const order[][3] = {{"-1.7976931348623157e308"},
                                           {"-9223372036854775808"},
                                           {"-2", "-2.0", "-20e-1"},
                                           {"-1.5"},
                                           {"-5e-324"},
                                           {"0", "0.0", "-0.0"},
                                           {"5e-324"},
                                           {"0.1", "1e-1", "0.10"},
                                           {"0.30000000000000004"},
                                           {"1", "1.0", "10e-1"},
                                           {"9007199254740992"},
                                           {"9007199254740993"},
                                           {"9223372036854775807"},
                                           {"9223372036854775807e1"},
                                           {"1e300"}};
    enum { N = sizeof order / sizeof *order };
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            int expected = (i > k) - (i < k);
            for (size_t v = 0; v < 3 && order[i][v] != NULL; v++) {
                assert_int_equal(decimal_compare(decimal_of(order[i][v]), decimal_of(order[k][0])),
                                 expected);
            }
        }
    }
}

static void multiples_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *number, *unit;
        bool expected;
    } cases[] = {{"0.3", "0.1", true},
                 {"4.02", "0.01", true},
                 {"0.0075", "0.0001", true},
                 {"0.00751", "0.0001", false},
                 {"1e308", "0.5", true},
                 {"1e308", "0.123456789", false},
                 {"-21", "7", true},
                 {"-22", "7", false},
                 {"0", "7", true},
                 {"1e-300", "1e10", false},
                 {"9223372036854775807", "7", true},
                 {"9223372036854775806", "7", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            decimal_is_multiple(decimal_of(cases[i].number), decimal_of(cases[i].unit)),
            cases[i].expected);
    }
}

static void printed_decimals_read_back_the_same(void **state)
{
    (void)state;
    static const char *const numbers[] = {"0",
                                          "7",
                                          "-120",
                                          "0.5",
                                          "-0.001",
                                          "12.34",
                                          "1e300",
                                          "5e-324",
                                          "1e18",
                                          "123456e-9",
                                          "1e19",
                                          "-1e-19",
                                          "9223372036854775807"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[DECIMAL_TEXT_BYTES];
        struct decimal d = decimal_of(numbers[i]);
        decimal_print(d, text, sizeof text);
        if (strcmp(text, "10000000000000000000") != 0) { /* jansson reads no such integer */
            assert_int_equal(decimal_compare(decimal_of(text), d), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_reason_names_place_and_keyword),
        cmocka_unit_test(what_cannot_be_judged_is_never_valid),
        cmocka_unit_test(steps_and_depth_are_bounded),
        cmocka_unit_test(a_small_schema_cannot_ask_for_endless_work),
        cmocka_unit_test(long_places_are_cut_on_a_character),
        cmocka_unit_test(numbers_are_compared_as_they_are_written),
        cmocka_unit_test(multiples_are_exact),
        cmocka_unit_test(printed_decimals_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
