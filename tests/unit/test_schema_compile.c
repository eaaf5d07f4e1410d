/* test_schema_compile.c - grammars of JSON schemas: which texts they have, what is refused and how
 * it is named, hostile schemas, memory that runs out. tests/oracle/schema_suite.py and
 * schema_compare.py hold the keywords against the public test suite and another implementation. */
#include "base/buf.h"
#include "base/mem.h"
#include "schema_texts.h"

static void objects_have_their_members_in_the_order_of_the_schema(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'object','properties':{'a':{'type':'null'},'b':{'type':'null'},"
         "'c':{'type':'null'}},'required':['b'],'additionalProperties':false}",
         {"{'b': null}", "{'a': null, 'b': null}", "{'b': null, 'c': null}",
          "{'a': null, 'b': null, 'c': null}"},
         {"{}", "{'a': null}", "{'b': null, 'a': null}", "{'b':null}", "{ 'b': null}",
          "{'b': null,'c': null}", "{'b': null, }", "{'b': null} ", "{'b': null, 'd': null}",
          "{'b': null, 'b': null}"}},
        {"{'type':'object','properties':{'a':{'const':1}}}",
         {"{}", "{'a': 1}", "{'a': 1, 'x': [{}]}", "{'x': 1, 'y': 'z'}", "{'aa': 2}"},
         {"{'a': 2}", "{'x': 1, 'a': 1}", "{'a': 1, 'a': 1}", "{'\\u0061': 2}", "[]"}},
        {"{'type':'object','properties':{'a':true},'additionalProperties':{'type':'null'}}",
         {"{'a': 7, 'b': null}", "{'b': null, 'c': null}"},
         {"{'b': 7}", "{'a': 7, 'b': 7}"}},
        {"{'type':'object','patternProperties':{'^x':{'type':'null'}},'properties':{'xa':{}},"
         "'additionalProperties':false}",
         {"{}", "{'xa': null}", "{'xb': null}", "{'xa': null, 'xab': null}"},
         {"{'xa': 1}", "{'xb': 1}", "{'y': null}", "{'xa': null, 'x\\u0061': 1}"}},
        {"{'type':'object','propertyNames':{'maxLength':2},'required':['a']}",
         {"{'a': 1}", "{'a': 1, 'bb': 1}", "{'a': 1, '\xf0\x9f\xa6\x99\\n': 1}"},
         {"{'a': 1, 'bbb': 1}", "{}"}},
        {"{'type':'object','properties':{'a':{},'b':{},'c':{}},'additionalProperties':false,"
         "'minProperties':1,'maxProperties':2}",
         {"{'a': 1}", "{'a': 1, 'c': 1}", "{'b': 1, 'c': 1}"},
         {"{}", "{'a': 1, 'b': 1, 'c': 1}"}},
        {"{'type':'object','minProperties':1,'maxProperties':2}",
         {"{'a': 1}", "{'a': 1, 'c': 1}"},
         {"{}", "{'a': 1, 'b': 1, 'c': 1}"}},
        {"{'type':'object','properties':{'a':{},'b':{}},'additionalProperties':false,"
         "'dependentRequired':{'a':['b']}}",
         {"{}", "{'b': 1}", "{'a': 1, 'b': 1}"},
         {"{'a': 1}"}},
        {"{'properties':{'a\\'\\n\\u00e9':{'const':'\\t\\u0001/'}},'required':['a\\'\\n\\u00e9'],"
         "'type':'object','additionalProperties':false}",
         {"{'a\\'\\n\xc3\xa9': '\\t\\u0001/'}"},
         {"{'a\\'\\n\\u00e9': '\\t\\u0001/'}", "{'a\\'\\n\xc3\xa9': '\\t\\u0001\\/'}"}},
    };
    CHECK(table);
}

static void strings_are_free_in_spelling_until_something_is_said_of_them(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'string'}",
         {"''", "'abc'", "'\xc3\xa9\xf0\x9f\xa6\x99'", "'\\u00e9\\uD83E\\udd99'", "'\\n\\/'",
          "'\\'\\\\'", "'\\u0000'", "'\\u000a'"},
         {"'\\ud83e'", "'\\ud83e\\u0061'", "'\\udd99'", "'\n'", "'\\x41'", "'\xc3'",
          "'\xed\xa0\x80'"}},
        {"{'type':'string','minLength':1,'maxLength':2}",
         {"'a'", "'\xc3\xa9\xf0\x9f\xa6\x99'", "'\\n/'", "'\\'\\\\'", "'\\u0000'", "'\\u001f\x7f'"},
         {"''", "'abc'", "'\n'", "'\xc3'", "'\xed\xa0\x80'", "'\\u00e9'", "'\\/'", "'\\u000a'",
          "'\\u001F'", "'\\u0022'"}},
        {"{'type':'string','pattern':'^[a-c]+$'}", {"'abc'"}, {"''", "'d'", "'aD'", "'\\u0061'"}},
        {"{'type':'string','not':{'pattern':'a'}}",
         {"''", "'b'"},
         {"'a'", "'ba'", "'\\u0061'", "'b\\u0061'"}},
        {"{'type':'string','not':{'enum':['a/']}}",
         {"'a'", "'/a'"},
         {"'a/'", "'\\u0061/'", "'a\\/'"}},
        {"{'type':'string','pattern':'b','maxLength':3}", {"'b'", "'abc'"}, {"'ac'", "'abcd'"}},
        {"{'enum':['a','bb',1,null,true,[1,'x'],{'k':0.5}]}",
         {"'a'", "'bb'", "1", "null", "true", "[1, 'x']", "{'k': 0.5}"},
         {"'b'", "1.5", "false", "[1]", "[1, 'x', 1]", "{}", "{'k': 0.5, 'l': 1}", "'\\u0061'"}},
        {"{'enum':['a','bb','ccc',7],'maxLength':2,'type':'string'}",
         {"'a'", "'bb'"},
         {"'ccc'", "7"}},
        {"{'type':'string','format':'date'}",
         {"'2024-02-29'", "'2000-02-29'", "'2023-12-31'"},
         {"'2023-02-29'", "'1900-02-29'", "'2023-13-01'", "'2023-04-31'", "'0000-01-01'"}},
        {"{'type':'string','format':'time'}",
         {"'23:59:59Z'", "'00:00:00.5+01:30'"},
         {"'24:00:00Z'", "'23:59:59'", "'23:59:59.Z'"}},
        {"{'type':'string','format':'duration'}",
         {"'P1Y2M3DT4H5M6S'", "'P2W'", "'PT36H'"},
         {"'P'", "'PT'", "'P1W2D'", "'P1S'", "'P1YT'"}},
        {"{'type':'string','format':'uuid'}",
         {"'2eb8aa08-aa98-11ea-b4aa-73b441d16380'"},
         {"'2eb8aa08aa9811eab4aa73b441d16380'"}},
        {"{'type':'string','format':'ipv4'}", {"'192.168.0.1'"}, {"'256.1.1.1'", "'01.1.1.1'"}},
        {"{'type':'string','format':'date-time','maxLength':2048}",
         {"'2024-02-29T12:00:00Z'"},
         {"'2024-02-30T12:00:00Z'"}},
        {"{'format':'email','maxLength':254,'type':'string'}", {"'b@example.com'"}, {"'a@'"}},
        {"{'type':'string','pattern':'^ab*$','minLength':2,'maxLength':20000}",
         {"'ab'", "'abbbbbbbbbb'"},
         {"'a'", "'ba'"}},
        {"{'type':'string','format':'uri-reference'}",
         {"''", "'a'", "'//h/p'", "'/a/b?c#d'", "'./a:b'", "'a@b/c'", "'#'",
          "'http://b.example:80/x'"},
         {"':a'", "'a b'", "'1:a'", "'%2'", "'\\u00e9'"}},
        {"{'type':'string','format':'json-pointer'}",
         {"''", "'/'", "'/a/0/~0~1'", "'/\xc3\xa9\\n\\''"},
         {"'a'", "'/~'", "'/~2'", "'#/a'", "'/\\u0061'"}},
        {"{'type':'string','format':'relative-json-pointer'}",
         {"'0'", "'1#'", "'12/a~1b'"},
         {"''", "'-1'", "'01'", "'1a'", "'/a'"}},
        {"{'type':'string','format':'ipv6'}",
         {"'::'", "'::1'", "'1:2:3:4:5:6:7:8'", "'1::8'", "'::ffff:1.2.3.4'", "'1:2:3:4:5:6:7::'"},
         {"':1'", "'1:2:3:4:5:6:7'", "'1::2::3'", "'12345::'", "'1:2:3:4:5:6:7:8:9'"}},
        {"{'type':'string','format':'email'}",
         {"'a.b+c@example.com'"},
         {"'a'", "'a@'", "'.a@b.c'", "'a..b@c.d'", "'a@-b.c'"}},
        {"{'type':'string','format':'hostname'}",
         {"'a-b.c1'"},
         {"'-a'", "'a-'", "'a..b'", "'a_b'"}},
        {"{'type':'string','format':'uri'}",
         {"'https://b.example:80/c?d=e#f'", "'mailto:x@y.example'", "'urn:a:b'"},
         {"'//a/b'", "'a b'", "'http://a.example/ b'", "'%:x'", "'http://a.example/%zz'"}},
    };
    CHECK(table);
}

static void numbers_are_within_their_bounds(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'integer'}",
         {"0", "-7", "123456789012345678"},
         {"01", "1.0", "1e3", "+1", "--1"}},
        {"{'type':'number'}",
         {"0", "-0.5", "1e5", "1.5E-7", "1e+16"},
         {".5", "1.", "01", "1e", "10e5", "1e400"}},
        {"{'type':'integer','minimum':-12,'maximum':105}",
         {"-12", "-1", "0", "9", "99", "100", "105"},
         {"-13", "-20", "106", "110", "200", "1000", "-100", "00", "-0"}},
        {"{'type':'integer','exclusiveMinimum':9,'exclusiveMaximum':100}",
         {"10", "99"},
         {"9", "100", "0", "-10"}},
        {"{'type':'integer','minimum':9007199254740993,'maximum':9007199254740993}",
         {"9007199254740993"},
         {"9007199254740992", "9007199254740994"}},
        {"{'type':'integer','minimum':1.5,'maximum':3.5}", {"2", "3"}, {"1", "4", "2.0"}},
        {"{'type':'number','minimum':-0.25,'exclusiveMaximum':1.5}",
         {"-0.25", "-0.2499", "0", "1", "1.49", "0.250"},
         {"-0.26", "-0.3", "-1", "1.5", "1.50", "1.51", "2", "1e0", "1.4999999999999999999"}},
        {"{'type':'number','exclusiveMinimum':0}", {"1", "0.001"}, {"0", "0.0", "-1", "-0"}},
        {"{'type':'number','maximum':-10}", {"-10", "-10.0", "-11.5", "-100"}, {"-9.9", "10", "0"}},
        {"{'type':'integer','multipleOf':7,'minimum':0}",
         {"0", "7", "21", "700"},
         {"1", "8", "-7"}},
        {"{'type':'number','multipleOf':0.05}", {"0.05", "1.1", "-0.150", "3"}, {"0.01", "0.051"}},
        {"{'type':'number','multipleOf':100}", {"0", "300", "-1200"}, {"150", "100.0"}},
        {"{'enum':[1.0,2.5,1e20]}", {"1", "2.5", "1e20"}, {"1.0", "2"}},
        {"{'type':'number','not':{'const':1}}", {"0", "1.5", "-1"}, {"1", "1.0"}},
        {"{'type':'number','not':{'type':'integer'}}", {"0.5", "-1.25"}, {"1", "1.0", "0"}},
    };
    CHECK(table);
}

static void arrays_are_counted(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'array','items':{'const':1},'minItems':1,'maxItems':3}",
         {"[1]", "[1, 1, 1]"},
         {"[]", "[1, 1, 1, 1]", "[2]", "[1,1]", "[1, ]"}},
        {"{'type':'array','prefixItems':[{'const':1},{'const':2}],'items':{'const':3}}",
         {"[]", "[1]", "[1, 2]", "[1, 2, 3, 3]"},
         {"[2]", "[1, 3]", "[1, 2, 2]"}},
        {"{'type':'array','items':[{'const':1}],'additionalItems':false,'minItems':1}",
         {"[1]"},
         {"[]", "[1, 1]"}},
        {"{'type':'array','items':{'enum':['a','b','c']},'uniqueItems':true,'minItems':2}",
         {"['a', 'b']", "['c', 'a', 'b']"},
         {"['a']", "['a', 'a']", "['a', 'b', 'a']"}},
        {"{'type':'array','items':{'enum':['rock','jazz','rock']},'uniqueItems':true}",
         {"[]", "['rock', 'jazz']", "['jazz', 'rock']"},
         {"['rock', 'rock']", "['rock', 'jazz', 'rock']"}},
        {"{'type':'array','items':{'enum':[1,1.0,0,-0.0,100,1e2,'1']},'uniqueItems':true}",
         {"[1, 0, 100]", "[1, '1']"},
         {"[1, 1]", "[0, 0]", "[100, 100]", "[1, 0, 100, '1', 1]"}},
        {"{'type':'array','items':{'type':'integer','enum':[1,2,1.0]},'uniqueItems':true}",
         {"[1, 2]", "[2, 1]"},
         {"[1, 1]", "[1, 2, 1]"}},
        {"{'type':'array','items':{'anyOf':[{'const':1},{'enum':['a',null,true]},{'const':1.0},"
         "{'enum':[true,'a']}]},'uniqueItems':true}",
         {"[1, 'a', null, true]"},
         {"[1, 1]", "['a', 'a']", "[null, null]", "[true, true]"}},
        {"{'type':'array','items':{'enum':[1,1,2,2,3,3,4,4,'a','a','a']},'uniqueItems':true}",
         {"[4, 3, 2, 1, 'a']"},
         {"[1, 1]", "['a', 'a']"}},
        {"{'type':'array','items':{'enum':[1,2,3]},'contains':{'const':2},'maxContains':1}",
         {"[2]", "[1, 2, 3]", "[3, 3, 2]"},
         {"[]", "[1]", "[2, 2]"}},
        {"{'type':'array','contains':{'const':2},'minContains':2,'maxItems':3}",
         {"[2, 2]", "[2, 'x', 2]", "[[], 2, 2]"},
         {"[2]", "[1, 2]", "[2, 1, 1, 2]"}},
        {"{'type':'array','items':{'const':1},'maxItems':0}", {"[]"}, {"[1]"}},
        {"{'type':'array','items':false}", {"[]"}, {"[1]"}},
    };
    CHECK(table);
}

static void schemas_combine(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'anyOf':[{'type':'null'},{'type':'integer','minimum':5}]}", {"null", "5"}, {"4", "'5'"}},
        {"{'allOf':[{'type':['integer','string']},{'minimum':5},{'maxLength':1}]}",
         {"5", "'a'"},
         {"4", "'ab'", "null"}},
        {"{'oneOf':[{'type':'integer'},{'type':'number','minimum':2}]}",
         {"1", "2.5"},
         {"2", "3", "1.5"}},
        {"{'oneOf':[{'properties':{'k':{'const':'a'},'x':{'type':'null'}},'required':['k','x']},"
         "{'properties':{'k':{'const':'b'}},'required':['k']}],'type':'object'}",
         {"{'k': 'a', 'x': null}", "{'k': 'b'}", "{'k': 'b', 'x': 7}"},
         {"{'k': 'a'}", "{'k': 'a', 'x': 7}", "{'k': 'c'}", "{}"}},
        {"{'not':{'type':['object','array','string']}}", {"1", "null"}, {"'a'", "{}"}},
        {"{'type':'object','properties':{'a':{'enum':[1,2]},'b':{'type':'integer'}},"
         "'required':['a'],'additionalProperties':false,'if':{'properties':{'a':{'const':1}}},"
         "'then':{'required':['b']},'else':{'properties':{'b':false}}}",
         {"{'a': 1, 'b': 7}", "{'a': 2}"},
         {"{'a': 1}", "{'a': 2, 'b': 7}", "{'a': 3}"}},
        {"{'$ref':'#/$defs/tree','$defs':{'tree':{'type':'object','properties':{"
         "'left':{'$ref':'#/$defs/tree'},'v':{'$ref':'#v'}},'required':['v'],"
         "'additionalProperties':false},'value':{'$anchor':'v','type':'integer'}}}",
         {"{'v': 1}", "{'left': {'left': {'v': 1}, 'v': 2}, 'v': 3}"},
         {"{'left': {}, 'v': 3}", "{'left': 1, 'v': 3}"}},
        {"{'type':'array','items':{'$ref':'#'}}", {"[]", "[[], [[]]]"}, {"[1]", "{}"}},
        {"{}",
         {"1", "'a'", "[1, {'a': null}]", "{'a': [], '': {}}"},
         {"", "[1,2]", "{'a':1}", "{a: 1}", "nul", "[1, ]"}},
        {"{'description':'x','default':1,'$schema':'y','const':1}", {"1"}, {"2"}},
        {"{'dependentSchemas':{'a':{'required':['b']}},'type':'object','properties':{'a':{},"
         "'b':{}},'additionalProperties':false}",
         {"{}", "{'b': 1}", "{'a': 1, 'b': 1}"},
         {"{'a': 1}"}},
    };
    CHECK(table);
}

static void what_cannot_be_enforced_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        enum error_code code;
        const char *words[3];
    } cases[] = {
        {"{'properties':{'a':{'minimun':1}}}", ERROR_UNSUPPORTED, {"#/properties/a", "'minimun'"}},
        {"{'name':'p','strict':true,'schema':{'type':'object'}}",
         ERROR_UNSUPPORTED,
         {"'schema' is no keyword: the schema within is expected"}},
        {"{'type':'json_schema','json_schema':{'schema':{}}}", ERROR_UNSUPPORTED, {"within"}},
        {"{'properties':{'a':{'type':['str']}}}",
         ERROR_UNSUPPORTED,
         {"#/properties/a", "'type' may not be [\"str\"]: expected null, boolean"}},
        {"{'items':{'minLength':'3'}}",
         ERROR_UNSUPPORTED,
         {"#/items: 'minLength' may not be \"3\""}},
        {"{'oneOf':[{'const':'http://[::1]/','format':'uri'},{'type':'string'}]}",
         ERROR_UNSUPPORTED,
         {"#/oneOf/0: 'format' cannot be enforced where it must fail"}},
        {"{'items':{'type':'string','format':'email','minLength':100}}",
         ERROR_UNSUPPORTED,
         {"#/items: its lengths cannot be enforced beside", "or one of them alone"}},
        {"{'type':'string','format':'REGEX'}", ERROR_UNSUPPORTED, {"did you mean 'regex'?"}},
        {"{'unevaluatedProperties':false}", ERROR_UNSUPPORTED, {"'unevaluatedProperties'"}},
        {"{'items':{'unevaluatedItems':{}}}", ERROR_UNSUPPORTED, {"#/items", "'unevaluatedItems'"}},
        {"{'properties':{'a/~b':{'unevaluatedItems':{}}}}",
         ERROR_UNSUPPORTED,
         {"schema #/properties/a~1~0b: 'unevaluatedItems'"}},
        {"{'$dynamicRef':'#a'}", ERROR_UNSUPPORTED, {"'$dynamicRef'"}},
        {"{'items':{'$ref':'http://a.example/'}}",
         ERROR_UNSUPPORTED,
         {"#/items", "'$ref'", "another document"}},
        {"{'$ref':'#/$defs/x'}", ERROR_UNSUPPORTED, {"'$ref'", "'#/$defs/x'"}},
        {"{'$ref':'#'}", ERROR_UNSUPPORTED, {"'$ref'", "itself"}},
        {"{'$defs':{'a':{'anyOf':[{'type':'null'},{'$ref':'#/$defs/a'}]}},'$ref':'#/$defs/a'}",
         ERROR_UNSUPPORTED,
         {"itself"}},
        {"{'properties':{'a':{'$id':'http://a.example/','items':{'$ref':'#'}}}}",
         ERROR_UNSUPPORTED,
         {"#/properties/a:", "'$id'", "references"}},
        {"{'properties':{'a':{'id':'/a','$ref':'#/properties/b'},'b':{}}}",
         ERROR_UNSUPPORTED,
         {"#/properties/a:", "'id'", "references"}},
        {"{'$ref':'#/$defs/a/items','$defs':{'a':{'id':'a','items':{},'not':{'$ref':'#'}}}}",
         ERROR_UNSUPPORTED,
         {"'$ref'", "'#/$defs/a/items'", "an id of its own"}},
        {"{'items':{'extends':{'type':'null'}}}", ERROR_UNSUPPORTED, {"#/items", "'extends'"}},
        {"{'disallow':'null'}", ERROR_UNSUPPORTED, {"'disallow'"}},
        {"{'divisibleBy':2}", ERROR_UNSUPPORTED, {"'divisibleBy'"}},
        {"{'$recursiveRef':'#'}", ERROR_UNSUPPORTED, {"'$recursiveRef'"}},
        {"{'type':'string','pattern':'(?=a)'}", ERROR_UNSUPPORTED, {"'pattern'"}},
        {"{'type':'string','pattern':'('}", ERROR_UNSUPPORTED, {"'pattern'"}},
        {"{'items':{'format':'iri-reference'}}",
         ERROR_UNSUPPORTED,
         {"#/items", "'format'", "'iri-reference' is none that can be enforced"}},
        {"{'not':{'format':'date'}}", ERROR_UNSUPPORTED, {"#/not", "'format'", "must fail"}},
        {"{'type':'array','uniqueItems':true}", ERROR_UNSUPPORTED, {"schema #", "'uniqueItems'"}},
        {"{'items':{'anyOf':[{'enum':[1,2,3,4]},{'enum':['1','2','3','4']}]},'uniqueItems':true}",
         ERROR_UNSUPPORTED,
         {"schema #", "'uniqueItems'", "at most 7 different values"}},
        {"{'type':'strnig'}", ERROR_UNSUPPORTED, {"'type'"}},
        {"{'minLength':'2'}", ERROR_UNSUPPORTED, {"'minLength'"}},
        {"{'multipleOf':0}", ERROR_UNSUPPORTED, {"'multipleOf'"}},
        {"{'not':{'uniqueItems':true}}", ERROR_UNSUPPORTED, {"#/not", "'uniqueItems'"}},
        {"{'minProperties':3,'type':'object'}", ERROR_UNSUPPORTED, {"minProperties"}},
        {"{'items':7}", ERROR_FORMAT, {"no object"}},
        {"7", ERROR_FORMAT, {"no object"}},
        {"false", ERROR_USAGE, {"no value"}},
        {"{'type':'integer','minimum':3,'maximum':2}", ERROR_USAGE, {"no value"}},
        {"{'allOf':[{'type':'string'},{'type':'null'}]}", ERROR_USAGE, {"no value"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {0};
        struct grammar *g = compile(cases[i].schema, &e);
        if (g != NULL || e.code != cases[i].code) {
            fail_msg("%s: %d %s", cases[i].schema, e.code, e.text);
        }
        for (size_t k = 0; k < 3 && cases[i].words[k] != NULL; k++) {
            if (strstr(e.text, cases[i].words[k]) == NULL) {
                fail_msg("%s: no %s in: %s", cases[i].schema, cases[i].words[k], e.text);
            }
        }
    }
}

/* A schema of n parts: head, then part with its number in place of %, then tail. */
static json_t *repeated(const char *head, const char *part, size_t n, const char *tail)
{
    struct buf text;
    buf_init(&text, 64 << 20);
    assert_true(buf_append(&text, str_from(head), NULL));
    for (size_t i = 0; i < n; i++) {
        for (const char *p = part; *p != '\0'; p++) {
            if (*p == '%') {
                assert_true(buf_printf(&text, NULL, "%zu", i));
            } else if (*p == '+') {
                assert_true(buf_printf(&text, NULL, "%zu", i + 1));
            } else {
                assert_true(buf_append_byte(&text, *p, NULL));
            }
        }
    }
    assert_true(buf_append(&text, str_from(tail), NULL));
    assert_true(buf_append_byte(&text, '\0', NULL));
    json_t *value = parse(text.data);
    buf_finish(&text);
    return value;
}

/* Takes the schema. */
static void check_slip(json_t *schema, const char *name, const char *meant)
{
    char hint[100];
    struct error e = {0};
    struct grammar *g = schema_compile(schema, NULL, &e);
    snprintf(hint, sizeof hint, "did you mean '%s'?", meant != NULL ? meant : "");
    if ((g != NULL) != (meant == NULL) ||
        (meant != NULL && (e.code != ERROR_UNSUPPORTED || strstr(e.text, hint) == NULL ||
                           strstr(e.text, name) == NULL))) {
        fail_msg("'%s': %s", name, e.text);
    }
    grammar_destroy(g);
    json_decref(schema);
}

static void slips_of_keywords_that_restrict_are_refused_with_what_may_be_meant(void **state)
{
    (void)state;
    static const struct {
        const char *name, *meant; /* NULL: it is another word */
    } keywords[] = {
        {"minimun", "minimum"},
        {"Minimum", "minimum"},
        {"minimum ", "minimum"},
        {"min_length", "minLength"},
        {"maxlenght", "maxLength"},
        {"requierd", "required"},
        {"additonalProperties", "additionalProperties"},
        {"additional_properties", "additionalProperties"},
        {"item", "items"},
        {"ENUM", "enum"},
        {"Type", "type"},
        {"IF", "if"},
        {"Then", "then"},
        {"maxContain", "maxContains"},
        {"$allOf", "allOf"},
        {"anyof", "anyOf"},
        {"$Ref", "$ref"},
        {"unevaluatedproperties", "unevaluatedProperties"},
        {"id", NULL},
        {"types", NULL},
        {"ref", NULL},
        {"no", NULL},
        {"items2", NULL},
        {"stems", NULL},
        {"readonly", NULL},
        {"descripton", NULL},
        {"_format", NULL},
        {"__items", NULL},
        {"x-items", NULL},
        {"x_items", NULL},
        {"^x-items", NULL},
        {"tiems", "items"},
        {"itesm", "items"},
        {"imtes", NULL},
        {"", NULL},
    };
    static const struct {
        const char *name, *meant;
    } formats[] = {
        {"datetime", "date-time"},
        {"date_time", "date-time"},
        {"Date-Time", "date-time"},
        {"DateTime", "date-time"},
        {"host-name", "hostname"},
        {"emails", "email"},
        {"tiem", "time"},
        {"URI", "uri"},
        {"ip4", "ipv4"},
        {"urn", NULL},
        {"url", NULL},
        {"guid", NULL},
        {"uuid4", NULL},
        {"mime", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        check_slip(json_pack("{s:{s:{s:s}}}", "properties", "a", keywords[i].name, "x"),
                   keywords[i].name, keywords[i].meant);
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        check_slip(json_pack("{s:{s:{s:s}}}", "properties", "a", "format", formats[i].name),
                   formats[i].name, formats[i].meant);
    }
}

static void too_many_alternatives_are_named_with_their_keyword(void **state)
{
    (void)state;
    static const struct {
        const char *head, *tail, *words;
    } cases[] = {
        {"{'properties':{'a':{'anyOf':[", "true]}}}",
         "schema #/properties/a: 'anyOf': more than 256 alternatives for one value: try fewer"},
        {"{'not':{'allOf':[", "true]}}", "schema #/not: 'allOf': more than 256 alternatives"},
        {"{'items':{'enum':[1,", "2]}}", "schema #/items: 'enum': more than 256 alternatives"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e = {0};
        json_t *schema = repeated(cases[i].head, "{'minimum':%},", 300, cases[i].tail);
        assert_null(schema_compile(schema, NULL, &e));
        if (e.code != ERROR_UNSUPPORTED || strstr(e.text, cases[i].words) == NULL) {
            fail_msg("no %s in: %s", cases[i].words, e.text);
        }
        json_decref(schema);
    }
}

static void a_place_is_shown_as_far_as_it_fits(void **state)
{
    (void)state;
    enum { DEEPEST = 250 };
    struct error e = {0};
    json_t *schema = repeated("{'properties':{'", "\xc3\xa9", 5000, "':{'$dynamicRef':'#a'}}}");
    assert_null(schema_compile(schema, NULL, &e));
    assert_non_null(strstr(e.text, "schema #/properties/\xc3\xa9"));
    assert_non_null(strstr(e.text, "\xc3\xa9...: '$dynamicRef'"));
    assert_true(strlen(e.text) < 300);
    json_decref(schema);
    schema = parse("{'$dynamicRef':'#a'}");
    for (int i = 0; i < DEEPEST; i++) {
        schema = json_pack("{s:o}", "items", schema);
    }
    assert_null(schema_compile(schema, NULL, &e));
    assert_non_null(strstr(e.text, "schema #/...: '$dynamicRef'"));
    json_decref(schema);
}

static struct schema_remarks remarks_of(json_t *schema)
{
    struct schema_remarks remarks = {0};
    struct error e = {0};
    struct grammar *g = schema_compile(schema, &remarks, &e);
    if (g == NULL) {
        fail_msg("%s", e.text);
    }
    grammar_destroy(g);
    json_decref(schema);
    return remarks;
}

static void names_that_have_no_effect_are_told_once_with_their_first_place(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *remarks[4];
    } cases[] = {
        {"{'faker':1,'type':'string'}",
         {"schema #: 'faker' is no keyword of JSON Schema and has no effect"}},
        {"{'properties':{'a/b':{'x-a':1,'nullable':true},'~':{'nullable':true,'x-a':[]},"
         "'c':{'x-a':1}}}",
         {"schema #/properties/a~1b: 'x-a' is no keyword of JSON Schema and has no effect (3 "
          "places)",
          "schema #/properties/a~1b: 'nullable' is no keyword of JSON Schema and has no effect (2 "
          "places)"}},
        {"{'items':{'type':'integer','format':'int32'},'contains':{'format':'url','not':"
         "{'format':'url','type':'string'}}}",
         {"schema #/items: 'format' 'int32' is no format of JSON Schema and has no effect",
          "schema #/contains: 'format' 'url' is no format of JSON Schema and has no effect (2 "
          "places)"}},
        {"{'prefixItems':[{'$ref':'#/$defs/a'},{'$ref':'#/$defs/a'}],'anyOf':[{'$ref':'#/$defs/b'},"
         "{'$ref':'#/$defs/b'}],'$defs':{'a':{'one':1},'b':{'format':'one'},'c':{'not used':1}}}",
         {"schema #/$defs/b: 'format' 'one' is no format of JSON Schema and has no effect",
          "schema #/$defs/a: 'one' is no keyword of JSON Schema and has no effect"}},
        {"{'$id':'http://a.example/','id':'http://a.example/','$schema':'x','$comment':'x','xml':1,"
         "'discriminator':{},'externalDocs':{},'example':1,'examples':[],'title':'x','default':1,"
         "'unevaluatedProperties':true,'$recursiveAnchor':true,'deprecated':true,'properties':{"
         "'id':{'id':'/properties/id'},'$id':{'$id':'#/properties/b'},'c':{'$id':'http://b.example/"
         "',"
         "'properties':{'$ref':{'type':'null'}}},'unknown':true},'enum':[{'unknown':1}],'const':{"
         "'unknown':1}}",
         {NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct schema_remarks made = remarks_of(parse(cases[i].schema));
        size_t n = 0;
        for (; n < 4 && cases[i].remarks[n] != NULL; n++) {
            if (n >= made.n || strcmp(made.text[n], cases[i].remarks[n]) != 0) {
                fail_msg("%s: remark %zu is not %s but %s", cases[i].schema, n, cases[i].remarks[n],
                         n < made.n ? made.text[n] : "missing");
            }
        }
        if (made.n != n) {
            fail_msg("%s: %s", cases[i].schema, made.text[n]);
        }
    }
}

static void names_that_have_no_effect_change_no_text(void **state)
{
    (void)state;
    static const struct texts table[] = {
        {"{'type':'integer','faker':{'minimum':5},'x-b':{'$ref':'nowhere'}}", {"1"}, {"'a'"}},
        {"{'type':['string','null'],'format':'color'}", {"'a'", "null", "''"}, {"1"}},
        {"{'type':['string','null'],'not':{'type':'string','format':'color'}}",
         {"null"},
         {"'a'", "''"}},
        {"{'type':'integer','format':'datetime'}", {"1"}, {"'a'"}},
        {"{'oneOf':[{'type':'string','format':'color','maxLength':1},{'type':'string','minLength':"
         "1,"
         "'format':'color'}]}",
         {"''", "'ab'"},
         {"'a'"}},
        {"{'$ref':'#/properties/a/items','properties':{'a':{'$id':'http://a.example/','items':{"
         "'type':'null'}}}}",
         {"null"},
         {"1"}},
    };
    CHECK(table);
}

static void remarks_are_bounded(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct schema_remarks made = remarks_of(
        repeated("{'items':{'k0':0,'k3':0},'properties':{'x':{", "'k%':1,", N, "'k':1}}}"));
    assert_int_equal(made.n, SCHEMA_MAX_REMARKS + 1);
    assert_string_equal(
        made.text[0],
        "schema #/items: 'k0' is no keyword of JSON Schema and has no effect (2 places)");
    assert_non_null(strstr(made.text[15], "'k15'"));
    assert_string_equal(
        made.text[SCHEMA_MAX_REMARKS],
        "other keywords and formats that are none of JSON Schema have no effect, in 4985 places");

    /* two schemas whose remarks are for the same answer */
    struct error e = {0};
    json_t *first = parse("{'a1':1,'a2':1,'a3':1,'properties':{'p':{'a3':1}}}");
    struct schema_remarks all = {.next_source = 7};
    for (size_t i = 0; i < 6; i++) {
        struct grammar *g = schema_compile(first, &all, &e);
        assert_non_null(g);
        grammar_destroy(g);
        assert_int_equal(all.n, i < 5 ? 3 * (i + 1) : SCHEMA_MAX_REMARKS + 1);
        assert_int_equal(all.source[3 * i], 7 + i);
        all.next_source++;
    }
    assert_non_null(strstr(all.text[16], "in 3 places"));
    json_decref(first);

    /* a name that is cut is cut between characters; the whole has room */
    made = remarks_of(repeated("{'properties':{'x", "\xf0\x9f\xa6\x99", 100,
                               "':{'a\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99"
                               "\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99"
                               "\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99"
                               "\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99"
                               "\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99\xf0\x9f\xa6\x99':1}}}"));
    assert_int_equal(made.n, 1);
    assert_non_null(strstr(made.text[0], "\xf0\x9f\xa6\x99...: 'a\xf0\x9f\xa6\x99"));
    assert_non_null(strstr(made.text[0], "\xf0\x9f\xa6\x99' is no keyword"));
    json_t *text = json_string(made.text[0]); /* NULL when it is no UTF-8 */
    assert_non_null(text);
    json_decref(text);
}

static void hostile_schemas_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *head, *part;
        size_t n;
        const char *tail;
    } cases[] = {
        {"{'enum':[", "%,", 1000000, "0]}"},
        {"{'enum':[", "'value %',", 100000, "0]}"},
        {"{'allOf':[", "{'anyOf':[{'required':['a%']},{'required':['b%']}]},", 40, "{}]}"},
        {"{'$ref':'#/$defs/d0','$defs':{", "'d%':{'$ref':'#/$defs/d+'},", 5000, "'d5000':{}}}"},
        {"{'$ref':'#/$defs/d0','$defs':{",
         "'d%':{'type':'object','properties':{'x':{'$ref':'#/$defs/d+'}},'required':['x']},", 5000,
         "'d5000':{}}}"},
        {"{'properties':{", "'p%':{},", 20000, "'x':{}}}"},
        {"{'prefixItems':[", "{},", 20000, "{}]}"},
        {"{'items':{'id':'x','items':{'id':'x','enum':[", "[0],", 300000, "{'$ref':'#'}]}}}"},
        {"{'oneOf':[", "{'required':['a%','b%']},", 60, "{'type':'null'}]}"},
        {"{'oneOf':[", "{'const':%},", 5000, "{'type':'null'}]}"},
        {"{'patternProperties':{", "'x.*y%':{},", 20, "'z':{}}}"},
        {"{'type':'object','properties':{", "'p%':{},", 400, "'x':{}},'minProperties':200}"},
        {"{'type':'string','pattern':'[ab]*a[ab]{40}", "", 0, "'}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *schema = repeated(cases[i].head, cases[i].part, cases[i].n, cases[i].tail);
        struct error e = {0};
        struct grammar *g = schema_compile(schema, NULL, &e);
        if (g != NULL || e.code != ERROR_UNSUPPORTED) {
            fail_msg("%s: %d %s", cases[i].head, e.code, e.text);
        }
        json_decref(schema);
    }
}

/* Each by the other value by value, these would take all steps, and 64 comparisons a step. */
static void long_lists_are_compared_in_few_steps(void **state)
{
    (void)state;
    static const char *const parts[] = {"%,", "'value %',"};
    for (size_t i = 0; i < 2; i++) {
        json_t *list = repeated("{'enum':[", parts[i], 3999, "0.5]}"), *all = json_array();
        for (int n = 0; n < 12; n++) {
            json_array_append(all, list);
        }
        json_t *schema = json_pack("{s:o}", "allOf", all);
        struct error e = {0};
        struct grammar *g = schema_compile(schema, NULL, &e);
        if (g == NULL) {
            fail_msg("%s", e.text);
        }
        struct reader r = reader_of(g);
        assert_true(reader_has(&r, i == 0 ? "3998" : "'value 3998'"));
        assert_true(reader_has(&r, "0.5"));
        assert_false(reader_has(&r, i == 0 ? "3999" : "'value 3999'"));
        reader_finish(&r);
        grammar_destroy(g);
        json_decref(schema);
        json_decref(list);
    }
}

static void a_schema_is_part_of_a_larger_grammar(void **state)
{
    (void)state;
    struct error e = {0};
    json_t *schema = parse("{'type':'object','properties':{'a':{'type':'integer'}},"
                           "'required':['a'],'additionalProperties':false}");
    struct grammar_builder *b = grammar_builder_create(&e);
    uint32_t inner = GRAMMAR_NONE;
    assert_true(schema_compile_into(b, schema, &inner, NULL, &e));
    uint32_t parts[] = {grammar_bytes(b, STR("<call>")), inner, grammar_bytes(b, STR("</call>"))};
    struct grammar *g = grammar_compile(b, grammar_sequence(b, parts, 3), &e);
    assert_non_null(g);
    struct reader r = reader_of(g);
    assert_true(reader_has(&r, "<call>{'a': 12}</call>"));
    assert_false(reader_has(&r, "<call>{}</call>"));
    reader_finish(&r);
    grammar_destroy(g);
    grammar_builder_destroy(b);
    json_decref(schema);
}

static void any_object_is_an_object(void **state)
{
    (void)state;
    struct grammar *g = schema_compile_any_object(NULL);
    assert_non_null(g);
    struct reader r = reader_of(g);
    assert_true(reader_has(&r, "{}"));
    assert_true(reader_has(&r, "{'a': [1, {'b': null}], 'c': 1.5e7}"));
    assert_false(reader_has(&r, "[]"));
    assert_false(reader_has(&r, "null"));
    reader_finish(&r);
    grammar_destroy(g);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    json_t *schema =
        parse("{'type':'object','properties':{'a':{'type':'integer','multipleOf':3,'minimum':2},"
              "'b':{'oneOf':[{'type':'string','pattern':'x','maxLength':5},{'enum':[1,[2],null]}]},"
              "'c':{'type':'array','items':{'$ref':'#'},'contains':{'required':['a']}}},"
              "'patternProperties':{'^z':{'format':'date','faker':1}},'minProperties':1}");
    struct grammar *g = NULL;
    struct schema_remarks remarks = {0};
    size_t n_failed = 0;
    for (size_t n = 1; g == NULL && n < 100000; n++) {
        struct error e = {0};
        mem_fail_nth(n);
        remarks.n = 0;
        g = schema_compile(schema, &remarks, &e);
        mem_fail_nth(0);
        if (g == NULL) {
            assert_int_equal(e.code, ERROR_MEMORY);
            n_failed++;
        }
    }
    assert_non_null(g);
    assert_true(n_failed > 50);
    assert_int_equal(remarks.n, 1);
    grammar_destroy(g);
    json_decref(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_have_their_members_in_the_order_of_the_schema),
        cmocka_unit_test(strings_are_free_in_spelling_until_something_is_said_of_them),
        cmocka_unit_test(numbers_are_within_their_bounds),
        cmocka_unit_test(arrays_are_counted),
        cmocka_unit_test(schemas_combine),
        cmocka_unit_test(what_cannot_be_enforced_is_named),
        cmocka_unit_test(slips_of_keywords_that_restrict_are_refused_with_what_may_be_meant),
        cmocka_unit_test(too_many_alternatives_are_named_with_their_keyword),
        cmocka_unit_test(a_place_is_shown_as_far_as_it_fits),
        cmocka_unit_test(names_that_have_no_effect_are_told_once_with_their_first_place),
        cmocka_unit_test(names_that_have_no_effect_change_no_text),
        cmocka_unit_test(remarks_are_bounded),
        cmocka_unit_test(hostile_schemas_are_refused),
        cmocka_unit_test(long_lists_are_compared_in_few_steps),
        cmocka_unit_test(a_schema_is_part_of_a_larger_grammar),
        cmocka_unit_test(any_object_is_an_object),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
