/* test_schema_empty.c - schemas that no value is valid against: which, and by which keywords. */
#include "schema_texts.h"

static void the_innermost_schema_and_its_keywords_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *words[3];
    } cases[] = {
        {"{'enum':[]}", {"schema #: no value"}},
        {"{'type':'object','required':['a'],'properties':{'a':{'type':'integer','minimum':1.2,"
         "'maximum':1.8}}}",
         {"schema #/properties/a: no value is valid against it: 'type', 'minimum' and 'maximum' "
          "leave none"}},
        {"{'type':'object','minimum':0,'maximum':9,'minLength':1,'maxLength':5,'pattern':'a',"
         "'minProperties':2,'maxProperties':1}",
         {"schema #: no value is valid against it: 'type',", "and others leave none"}},
        {"{'type':'array','minItems':1,'items':{'type':'string','pattern':'^a{3}$',"
         "'minLength':4}}",
         {"schema #/items: no value is valid against it: 'type',", "'minLength'", "'pattern'"}},
        {"{'items':{'type':'string','format':'uuid','maxLength':9},'minItems':1,'type':'array'}",
         {"schema #/items: no value is valid against it", "'maxLength'", "'format'"}},
        {"{'type':'object','required':['a'],'properties':{'a':{'type':'array','minItems':3,"
         "'uniqueItems':true,'items':{'enum':['x','y','x']}}}}",
         {"schema #/properties/a: no value is valid against it", "'minItems'", "'uniqueItems'"}},
        {"{'type':'object','properties':{'a':{'enum':[]}},'required':['a']}",
         {"schema #/properties/a: no value is valid"}},
        {"{'type':'object','properties':{'b':true,'a':{'type':'array','minItems':2,'items':{"
         "'$ref':'#/$defs/s'}}},'required':['b','a'],'$defs':{'s':{'type':'string','minLength':5,"
         "'maxLength':2}}}",
         {"schema #/properties/a/items: no value is valid"}},
        {"{'type':'array','minItems':2,'prefixItems':[{},{'type':'object','required':['x'],"
         "'properties':{'x':{'type':'object','required':['y'],'properties':{'y':false}}}}]}",
         {"schema #/prefixItems/1/properties/x/properties/y: no value"}},
        {"{'anyOf':[{'type':'object','required':['x'],'properties':{'x':false}},{'enum':[]}]}",
         {"schema #/anyOf/0/properties/x: no value"}},
        {"{'type':'object','properties':{'a':{'$ref':'#'}},'required':['a']}",
         {"schema #: no value"}},
        {"{'type':'array','items':{'$ref':'#'},'minItems':1}", {"no value"}},
        {"{'type':'string','pattern':'^a$','minLength':2}", {NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {0};
        struct grammar *g = compile(cases[i].schema, &e);
        if (g != NULL || e.code != ERROR_USAGE) {
            fail_msg("%s: %d %s", cases[i].schema, e.code, e.text);
        }
        for (size_t k = 0; k < 3 && cases[i].words[k] != NULL; k++) {
            if (strstr(e.text, cases[i].words[k]) == NULL) {
                fail_msg("%s: no %s in: %s", cases[i].schema, cases[i].words[k], e.text);
            }
        }
    }
}

/* None of them is to blame alone. */
static void schemas_that_leave_nothing_together_name_no_keyword(void **state)
{
    (void)state;
    struct error e = {0};
    assert_null(compile("{'type':'object','required':['a'],'properties':{'a':{'type':'string'}},"
                        "'allOf':[{'properties':{'a':{'type':'null'}}}]}",
                        &e));
    assert_string_equal(e.text, "schema #/properties/a: no value fits it and what else is said of "
                                "that value");
}

static void a_schema_that_nothing_fails_against_is_named(void **state)
{
    (void)state;
    struct error e = {0};
    assert_null(compile("{'type':'object','required':['a'],'not':{'properties':{'a':{'type':["
                        "'null','boolean','number','string','array','object']}}}}",
                        &e));
    assert_string_equal(e.text, "schema #/not/properties/a: a value would have to fail against it, "
                                "which none does");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_innermost_schema_and_its_keywords_are_named),
        cmocka_unit_test(schemas_that_leave_nothing_together_name_no_keyword),
        cmocka_unit_test(a_schema_that_nothing_fails_against_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
