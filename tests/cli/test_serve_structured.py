"""Answers that are held to a format, as the official client meets them: every way to ask for one, on the default
model and on one of random weights, whose answers would be no format's by chance. Finished texts are parsed and judged
by Python's own json, re and jsonschema; texts that max_tokens cuts are beginnings of what may be."""
import concurrent.futures
import contextlib
import functools
import json
import pathlib
import re

import jiter
import jsonschema
import openai
import pytest
import regex

from puna_server import PUNA, serving, wait_until

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
MODELS = {"tiny": (TINY, "-c", 1024, "-t", 1), "SmolLM2-135M-Instruct.Q4_1": ("-c", 1024, "-t", 2)}
SMOL = "SmolLM2-135M-Instruct.Q4_1"
HELLO = [{"role": "user", "content": "Describe Bob and where he lives."}]
SCHEMA = {"type": "object", "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
    "pets": {"type": "array", "items": {"enum": ["llama", "cat"]}, "maxItems": 2},
    "home": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/place"}]}},
    "required": ["name", "age", "pets"], "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[A-Z][a-z]{1,4}$"}},
                        "required": ["city"], "additionalProperties": False}}}
PATTERN, WORDS = r"[A-Z][a-zé]{1,5}-[0-9]{3}", ["yes", "no", "maybe", "peut-être"]
GRAMMAR = 'root ::= "<" word ("," word){0,2} ">"\nword ::= [a-f]{1,3} | "é"'
GRAMMAR_RE = r"<([a-f]{1,3}|é)(,([a-f]{1,3}|é)){0,2}>"


def schema_format(schema, **more):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}}


class Of:
    """What a text has to be; `bounded`: every one of them fits into MOST tokens."""

    def __init__(self, pattern=None, schema=None, bounded=True):
        self.pattern, self.schema, self.bounded = pattern, schema, bounded

    def check_whole(self, text):
        if self.pattern is not None:
            assert re.fullmatch(self.pattern, text), text
        else:
            jsonschema.validate(json.loads(text), self.schema, jsonschema.Draft202012Validator)

    def check_cut(self, text):
        if self.pattern is not None:
            assert regex.fullmatch(self.pattern, text, partial=True), text
        elif text:
            jiter.from_json(text.encode(), partial_mode="trailing-strings")

    def check(self, text, reason):
        assert reason in ("stop", "length")
        (self.check_whole if reason == "stop" else self.check_cut)(text)
        assert reason == "stop" or not self.bounded


MOST = 120
IS_SCHEMA, IS_OBJECT, IS_PATTERN = Of(schema=SCHEMA), Of(schema={"type": "object"}, bounded=False), Of(PATTERN)
IS_WORD, IS_GRAMMAR = Of("|".join(WORDS)), Of(GRAMMAR_RE)
WAYS = {
    "json_schema": (schema_format(SCHEMA), IS_SCHEMA),
    "json_schema, strict": (schema_format(SCHEMA, strict=True, description="Somebody."), IS_SCHEMA),
    "json_schema without one": ({"response_format": {"type": "json_schema", "json_schema": {"name": "any"}}}, IS_OBJECT),
    "json_object": ({"response_format": {"type": "json_object"}}, IS_OBJECT),
    **{name: ({name: SCHEMA}, IS_SCHEMA) for name in ("json_schema alone", "guided_json")},
    "guided_json as text": ({"guided_json": json.dumps(SCHEMA)}, IS_SCHEMA),
    "guided_regex": ({"guided_regex": PATTERN}, IS_PATTERN),
    "guided_choice": ({"guided_choice": WORDS}, IS_WORD),
    **{name: ({name: GRAMMAR}, IS_GRAMMAR) for name in ("guided_grammar", "grammar")},
    **{f"structured_outputs.{name}": ({"structured_outputs": {name: value}}, of) for name, value, of in (
        ("json", SCHEMA, IS_SCHEMA), ("regex", PATTERN, IS_PATTERN), ("choice", WORDS, IS_WORD),
        ("grammar", GRAMMAR, IS_GRAMMAR), ("json_object", True, IS_OBJECT))},
}
WAYS["json_schema alone"] = ({"json_schema": SCHEMA}, IS_SCHEMA)


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return request.param


@functools.lru_cache
def server_of(model, *more):
    return stack.enter_context(serving(*MODELS[model], *more))


@functools.lru_cache
def client_of(model, *more):
    return stack.enter_context(openai.OpenAI(base_url=server_of(model, *more).url + "/v1", api_key="none", max_retries=0,
                                             timeout=300))


@pytest.fixture(scope="module", autouse=True)
def all_servers():
    global stack
    with contextlib.ExitStack() as stack:
        yield
        client_of.cache_clear()
        server_of.cache_clear()


def create(model, *more, **options):
    """By the client's own parameters where it has one, else in extra_body."""
    known = {k: options.pop(k) for k in list(options) if k in (
        "messages", "response_format", "max_tokens", "n", "seed", "temperature", "stream", "stop", "logit_bias", "logprobs",
        "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")}
    return client_of(model, *more).chat.completions.create(
        **{"model": model, "messages": HELLO, "max_tokens": MOST, "temperature": 0, "seed": 3} | known, extra_body=options)


def results(answer):
    """Text and reason of each choice; of a stream what its pieces add up to."""
    if hasattr(answer, "choices"):
        return [(c.message.content, c.finish_reason) for c in answer.choices]
    texts, reasons = {}, {}
    for chunk in answer:
        for c in chunk.choices:
            texts[c.index] = texts.get(c.index, "") + (c.delta.content or "")
            reasons.update({c.index: c.finish_reason} if c.finish_reason else {})
    return [(texts[i], reasons[i]) for i in sorted(texts)]


def together(*calls):
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(call) for call in calls]]


def refusal(model, **options):
    with pytest.raises(openai.BadRequestError) as caught:
        create(model, **options)
    error = caught.value
    assert error.type == "invalid_request_error" and "\n" not in error.message
    return error


# --- every way to ask

@pytest.mark.parametrize("temperature", [0, 2])
@pytest.mark.parametrize("way", WAYS)
def test_every_text_is_what_was_asked_for_whole_and_in_a_stream(model, way, temperature):
    options, of = WAYS[way]
    options = options | {"n": 2, "temperature": temperature, "max_tokens": MOST if of.bounded else 24}
    whole, streamed = together(*(lambda stream=stream: results(create(model, stream=stream, **options)) for stream in (False, True)))
    assert whole == streamed and len(whole) == 2
    for text, reason in whole:
        of.check(text, reason)


@pytest.mark.parametrize("way", WAYS)
def test_completions_have_formats_too(way):
    options, of = WAYS[way]
    body = {"model": "tiny", "prompt": ["A llama is", "B"], "n": 2, "temperature": 1.5, "seed": 1, "max_tokens": MOST} | options
    choices = server_of("tiny").post("/v1/completions", body)["choices"]
    assert len(choices) == 4
    for choice in choices:
        of.check(choice["text"], choice["finish_reason"])


def test_any_object_is_one_with_a_finished_text_too():
    """Random weights end few of them by themselves."""
    finished = 0
    for seed in range(6):
        for text, reason in results(create("tiny", response_format={"type": "json_object"}, n=8, temperature=1.5, seed=seed)):
            IS_OBJECT.check(text, reason)
            finished += reason == "stop"
    assert finished > 5


@pytest.mark.parametrize("max_tokens", [1, 2, 5, 9])
def test_what_max_tokens_cuts_is_the_beginning_of_an_answer_and_ends_by_length(model, max_tokens):
    ((whole, reason),) = results(create(model, **schema_format(SCHEMA)))
    ((text, cut),) = results(create(model, max_tokens=max_tokens, **schema_format(SCHEMA)))
    assert (reason, cut) == ("stop", "length") and whole.startswith(text) and text != whole
    IS_SCHEMA.check_cut(text)


def test_a_text_that_is_complete_ends_whatever_else_was_asked_for():
    for options in ({}, {"min_tokens": 50}, {"logit_bias": {"497": -100, "505": -100, "504": -100}},
                    {"frequency_penalty": 2, "presence_penalty": 2, "repetition_penalty": 5}, {"top_k": 1}, {"top_p": 0}, {"min_p": 1}):
        answer = create("tiny", guided_choice=["abc"], **options)
        assert results(answer) == [("abc", "stop")]
        assert [w["param"] for w in getattr(answer, "warnings", [])] == ["min_tokens"] * ("min_tokens" in options)
    ((text, reason),) = results(create("tiny", guided_regex="a{1,30}b?", min_tokens=20))
    assert reason == "stop" and re.fullmatch("a{1,30}b?", text)


# --- beside other parameters

def test_a_stop_string_cuts_a_format_as_it_cuts_any_text():
    for stream in (False, True):
        assert results(create("tiny", guided_regex="a{5}bb", stop="ab", stream=stream)) == [("aaaa", "stop")]
        assert results(create("tiny", guided_regex="a{5}bb", stop="bc", stream=stream)) == [("aaaaabb", "stop")]


def test_a_bias_chooses_among_what_the_format_allows_and_forbids_nothing_that_it_needs(model):
    """-100 makes a token come last, and where it is the only one it comes."""
    tokens = {w: server_of(model).post("/tokenize", {"content": w})["tokens"] for w in "xyz"}
    assert all(len(ids) == 1 for ids in tokens.values())
    for w, (token,) in tokens.items():
        assert results(create(model, guided_choice=list("xyz"), logit_bias={token: 100})) == [(w, "stop")]
        assert results(create(model, guided_choice=list("xyz"), temperature=2, logit_bias={token: -100}))[0][0] != w
        assert results(create(model, guided_choice=[w], logit_bias={token: -100})) == [(w, "stop")]


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_logprobs_are_the_models_own(model, temperature):
    """Those of the text without a format: completions score the same tokens behind the same prompt."""
    server = server_of(model)
    (token,) = server.post("/tokenize", {"content": "x"})["tokens"]
    prompt = server.post("/apply-template", {"messages": HELLO})["tokens"]
    (choice,) = create(model, guided_choice=["x"], logprobs=True, top_logprobs=3, temperature=temperature).choices
    (entry,) = choice.logprobs.content
    scored = server.post("/v1/completions", {"model": model, "prompt": [*prompt, token], "echo": True, "logprobs": 3, "max_tokens": 0})
    scores = scored["choices"][0]["logprobs"]
    assert entry.token == "x" and entry.logprob == scores["token_logprobs"][-1]
    others = [t.logprob for t in entry.top_logprobs]
    assert sorted(others) == sorted(sorted(scores["top_logprobs"][-1].values())[-3:])


@pytest.mark.parametrize("options, param", [
    ({"ignore_eos": True}, "ignore_eos"), ({"grammar": GRAMMAR}, "grammar"), ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice"),
    ({"min_tokens": 3, "strict": True}, "min_tokens"), ({"response_format": {"type": "json_object"}}, None),
])
def test_what_goes_with_no_format_is_named(options, param):
    error = refusal("tiny", guided_regex="a+", **options)
    assert param is None or error.param == param


# --- the same bytes

SAME = {name: WAYS[name][0] for name in ("json_schema", "json_object", "guided_regex", "guided_choice", "grammar")}


def ask_same(model, *more, **options):
    return {name: results(create(model, *more, n=2, temperature=1.2, seed=9, max_tokens=40, **way, **options))
            for name, way in SAME.items()}


@pytest.fixture(scope="module")
def alone(model):
    return ask_same(model)


def test_the_text_is_the_same_among_others(model, alone):
    def other(i):
        return lambda: results(create(model, n=2, seed=i, temperature=1, max_tokens=40,
                                      messages=[{"role": "user", "content": f"Tell me about {i}."}], **list([{}, *SAME.values()])[i % 6]))
    free = [other(i)() for i in (0, 6)]
    got, *others = together(lambda: ask_same(model), *(other(i) for i in range(7)))
    assert got == alone
    assert [others[0], others[6]] == free


def test_the_text_is_the_same_from_the_cache(model, alone):
    assert ask_same(model) == alone
    answer = create(model, n=2, temperature=1.2, seed=9, max_tokens=40, **SAME["json_schema"])
    assert answer.usage.cache["hit_tokens"] > 0 and results(answer) == alone["json_schema"]


@pytest.mark.parametrize("more", [("-t", 1), ("-t", 2), ("--draft-max", 0), ("--draft-max", 1), ("--batch-size", 5)], ids=lambda m: " ".join(map(str, m)))
def test_the_text_is_the_same_with_other_threads_and_guesses(model, alone, more):
    assert ask_same(model, *more) == alone
    client_of.cache_clear()


# --- schemas that cannot be enforced

def inside(schema, *path):
    """The schema as that of a member, and its pointer there."""
    return {"type": "object", "properties": {"a": {"type": "array", "items": schema}}}, "#/properties/a/items"


CANNOT = {
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "unevaluatedItems": {"type": "array", "unevaluatedItems": False},
    "$dynamicRef": {"$dynamicRef": "#meta"},
    "disallow": {"disallow": "string"},
    "additonalProperties": {"type": "object", "additonalProperties": False},
    "$ref": {"$ref": "https://schemas.example/one"},
    "format": {"type": "string", "format": "iri-reference"},
    "pattern": {"type": "string", "pattern": "(?=a)ab"},
}


@pytest.mark.parametrize("keyword", CANNOT)
def test_a_schema_that_cannot_be_enforced_is_refused_by_place_and_keyword(keyword):
    schema, pointer = inside(CANNOT[keyword])
    for options, param in ((schema_format(schema), "response_format.json_schema.schema"), ({"guided_json": schema}, "guided_json"),
                           ({"structured_outputs": {"json": json.dumps(schema)}}, "structured_outputs.json")):
        for stream in (False, True):
            error = refusal("tiny", stream=stream, **options)
            assert (error.param, error.code) == (param, "unsupported_value")
            assert pointer in error.message and f"'{keyword}'" in error.message


@pytest.mark.parametrize("keyword", CANNOT)
def test_a_strict_tool_whose_schema_cannot_be_enforced_is_refused_and_another_is_a_warning(keyword):
    schema, pointer = inside(CANNOT[keyword])
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    for choice in ("auto", "required", {"type": "function", "function": {"name": "f"}}):
        error = refusal("tiny", tools=[tool], tool_choice=choice)
        assert error.param == "tools" and "'f'" in error.message and pointer in error.message and f"'{keyword}'" in error.message
    del tool["function"]["strict"]
    answer = create("tiny", tools=[tool], tool_choice="required", max_tokens=30, temperature=1)
    assert answer.warnings[0]["param"] == "tools" and "'f'" in answer.warnings[0]["message"]
    error = refusal("tiny", tools=[tool], tool_choice="required", strict=True)
    assert error.param == "tools"


def test_one_warning_counts_all_tools_whose_schemas_cannot_be_enforced():
    tools = [{"type": "function", "function": {"name": name, "parameters": {"unevaluatedProperties": False}}} for name in "fgh"]
    for n, others in ((1, "'f' are"), (2, "'f' and of 1 other tool are"), (3, "'f' and of 2 other tools are")):
        answer = create("tiny", tools=tools[:n], tool_choice="required", max_tokens=30, temperature=1)
        (text,) = [w["message"] for w in answer.warnings if "held to no schema" in w["message"]]
        assert others in text


# --- names that JSON Schema does not define

FOREIGN = {"type": "object", "properties": {"a/b": {"type": "string", "maxLength": 3, "x-order": 1, "format": "color"}},
           "required": ["a/b"], "additionalProperties": False, "x-order": 2}
TOLD = ["schema #: 'x-order' is no keyword of JSON Schema and has no effect (2 places)",
        "schema #/properties/a~1b: 'format' 'color' is no format of JSON Schema and has no effect"]


def warnings_of(answer):
    """Of a stream they stand in the first chunk alone."""
    if hasattr(answer, "choices"):
        return [(w["param"], w["message"]) for w in getattr(answer, "warnings", [])]
    first, *others = list(answer)
    assert not any(hasattr(chunk, "warnings") for chunk in others)
    return [(w["param"], w["message"]) for w in getattr(first, "warnings", [])]


@pytest.mark.parametrize("options,param", [
    (schema_format(FOREIGN, strict=True), "response_format.json_schema.schema"), ({"json_schema": FOREIGN}, "json_schema"),
    ({"guided_json": json.dumps(FOREIGN)}, "guided_json"), ({"structured_outputs": {"json": FOREIGN}}, "structured_outputs.json"),
], ids=lambda p: p if isinstance(p, str) else "")
def test_a_name_that_json_schema_does_not_define_is_a_warning_and_with_strict_an_error(options, param):
    for stream in (False, True):
        assert warnings_of(create("tiny", stream=stream, **options)) == [(param, told) for told in TOLD]
        error = refusal("tiny", stream=stream, strict=True, **options)
        assert (error.param, error.code) == (param, "unsupported_parameter") and TOLD[0] in error.message
    text, reason = results(create("tiny", temperature=1, **options))[0]
    assert reason == "stop" and len(json.loads(text)["a/b"]) <= 3


def test_warnings_of_tools_name_the_tool_whether_they_are_strict_or_not():
    tools = [{"type": "function", "function": {"name": name, "parameters": schema, "strict": strict}} for name, schema, strict in (
        ("plain", {}, True), ("one", FOREIGN, True), ("two", FOREIGN, False))]
    expected = [(f"tools[{i}].function.parameters", f"parameters of '{name}': {told}") for i, name in ((1, "one"), (2, "two"))
                for told in TOLD]
    for stream in (False, True):
        for choice in ("auto", "required"):
            assert warnings_of(create("tiny", stream=stream, tools=tools, tool_choice=choice)) == expected
        assert refusal("tiny", stream=stream, tools=tools, strict=True).param == expected[0][0]
    two = {"type": "function", "function": {"name": "two"}}
    for choice in (two, {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [two]}}):
        assert warnings_of(create("tiny", tools=tools, tool_choice=choice)) == expected[2:]
    functions = [{"name": "one", "parameters": FOREIGN}]
    assert [param for param, _ in warnings_of(create("tiny", functions=functions, function_call={"name": "one"}))] == [
        "functions[0].parameters"] * 2
    both = warnings_of(create("tiny", tools=tools[:2], **schema_format(
        FOREIGN | {"properties": {"other": {"const": 1}}, "required": ["other"]})))
    assert both == expected[:2] + [("response_format.json_schema.schema", TOLD[0].replace(" (2 places)", ""))]


def test_warnings_of_schemas_are_bounded_whatever_is_in_them():
    many = {"type": "object", "properties": {"a": {f"name {i}": {"any": ["thing"] * 3} for i in range(3000)}}}
    tools = [{"type": "function", "function": {"name": f"f{i}", "parameters": {"x": 1, "y": 1, "z": 1}, "strict": True}} for i in range(6)]
    for options, n_places, param in ((schema_format(many), 2984, "response_format.json_schema.schema"), ({"tools": tools}, 2, "tools")):
        told = warnings_of(create("tiny", max_tokens=5, **options))
        assert len(told) == 17 and told[-1] == (
            param, f"other keywords and formats that are none of JSON Schema have no effect, in {n_places} places")


@pytest.mark.parametrize("schema", [False, {"type": "integer", "minimum": 3, "maximum": 2}, {"enum": []}, {"$ref": "#"}, {"type": "strin"},
                                    {"type": 5}, {"$ref": "#/$defs/none"}, {"type": "string", "maxLength": -1}, {"pattern": "((("},
                                    {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {}}],
                         ids=lambda s: json.dumps(s)[:50])
def test_a_schema_that_is_none_or_allows_nothing_is_refused(schema):
    error = refusal("tiny", **schema_format(schema))
    assert error.param == "response_format.json_schema.schema" and error.code in ("invalid_value", "unsupported_value")


# --- what is made to hurt

DEEP_ANY = functools.reduce(lambda s, _: {"anyOf": [s, {"type": "array", "items": s}]}, range(9), {"type": "null"})
HOSTILE = {
    "a million values": {"json_schema": {"enum": [f"value {i}" for i in range(200000)]}},
    "many values": {"json_schema": {"enum": [f"value {i}" for i in range(60000)]}},
    "every way of every part": {"json_schema": {"allOf": [{"anyOf": [{"properties": {f"p{i}": {"const": j}}} for j in range(5)]}
                                                          for i in range(14)]}},
    "parts in parts": {"json_schema": DEEP_ANY},
    "many tools": {"tools": [{"type": "function", "function": {"name": f"f{i}", "strict": True, "parameters": {
        "type": "object", "additionalProperties": False, "required": [f"p{j}" for j in range(100)],
        "properties": {f"p{j}": {"type": "integer"} for j in range(100)}}}} for i in range(20)], "tool_choice": "required"},
    "costly tools": {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"properties": {
        f"p{i}": {"type": "string", "pattern": "(a|b)*a(a|b){12}", "minLength": 300 + i} for i in range(6)}}}}], "tool_choice": "required"},
    "a reference to itself": {"json_schema": {"$ref": "#"}},
    "references that double": {"json_schema": {"$ref": "#/$defs/a0", "$defs": {
        **{f"a{i}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/a{i + 1}"}] * 2, "minItems": 2, "items": False} for i in range(40)},
        "a40": {"type": "null"}}}},
    "references in turn": {"json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]},
                                                                         "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}},
    "many items": {"json_schema": {"type": "array", "items": {"type": "integer"}, "minItems": 10**9}},
    "a long text": {"json_schema": {"type": "string", "minLength": 10**12}},
    "any order": {"json_schema": {"type": "object", "required": [f"p{i}" for i in range(40)]}},
    "repeated repetition": {"guided_regex": "((a{1,1000}){1,1000}){1,1000}"},
    "a pattern with many states": {"guided_regex": "(a|b)*a(a|b){30}"},
    "open parentheses": {"guided_regex": "(" * 100000},
    "nested parentheses": {"guided_regex": "(" * 50000 + "a" + ")" * 50000},
    "a grammar that calls itself first": {"grammar": 'root ::= root "a" | "b"'},
    "a grammar that ends nowhere": {"grammar": "root ::= a\na ::= b\nb ::= a"},
    "a deep grammar": {"grammar": "root ::= " + "(" * 50000 + '"a"' + ")" * 50000},
    "a grammar that doubles": {"grammar": "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1} r{i + 1}\n" for i in range(60)) + 'r60 ::= "a"'},
    "too many choices": {"guided_choice": [f"w{i}" for i in range(10001)]},
    "long choices": {"guided_choice": ["a" * (1 << 20)] * 8},
}
OTHER_PARAM = {"a million values": None, "many tools": "messages"}  # the body's, before it is read; the prompt is too long with them
NEVER = {"a million values", "many values", "many tools", "costly tools",
         "a reference to itself", "references in turn", "a long text", "open parentheses", "nested parentheses", "a deep grammar",
         "a grammar that calls itself first", "a grammar that ends nowhere", "too many choices"}  # the others are up to limits


def test_what_is_made_to_hurt_hurts_nobody_else():
    """Refused, or answered as asked; somebody else's answer is what it is without all that."""
    other = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 200, "seed": 5, "temperature": 1}
    expected = results(create("tiny", **other))

    def ask(name):
        status, document = server_of("tiny").ask("POST", "/v1/chat/completions", {
            "model": "tiny", "messages": HELLO, "max_tokens": 8, "seed": 1, **HOSTILE[name]})
        return name, status, document
    got = together(*(functools.partial(ask, name) for name in HOSTILE), *[lambda: results(create("tiny", stream=True, **other))] * 2)
    assert got[-2:] == [expected] * 2
    for name, status, document in got[:-2]:
        if status == 200:
            assert document["choices"][0]["message"]["content"] is not None, name
        else:
            param = OTHER_PARAM.get(name, next(iter(HOSTILE[name])))
            assert (status, document["error"]["param"]) == (400, param), (name, document)
            assert len(document["error"]["message"]) < 600
    assert NEVER <= {name for name, status, _ in got[:-2] if status == 400}
    wait_until(server_of("tiny").is_idle)
