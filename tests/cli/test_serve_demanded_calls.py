"""Calls that are demanded, and arguments that are held to their schemas, in every form that a model may be taught. Random
weights would write none by chance; what a model says by itself is written in advance (scripted_model.py)."""
import contextlib
import functools
import json
import pathlib
import re
import tempfile

import jsonschema
import openai
import pytest

from puna_server import PUNA, serving
from scripted_model import scripted_model

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
FORMS = ["llama3-json", "pythonic", "function-tag", "hermes"]
HELLO = [{"role": "user", "content": "What is the weather in Rome?"}]
PARAMETERS = {
    "get_weather": {"type": "object", "properties": {
        "city": {"enum": ["Rome", "a \"}{\" </function> </tool_call>", "東京"]}, "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "units": {"type": ["string", "null"], "enum": ["C", "F", None]}}, "required": ["city", "days"], "additionalProperties": False},
    "get_time": {"type": "object", "properties": {"zone": {"type": "string", "pattern": "^[A-Z]{3}$"}}, "required": ["zone"],
                 "additionalProperties": False},
    "ping": {"type": "object", "properties": {}, "additionalProperties": False},
}
FUNCTIONS = [{"name": name, "description": f"Does {name}.", "parameters": schema} for name, schema in PARAMETERS.items()]
TOOLS = [{"type": "function", "function": f} for f in FUNCTIONS]
STRICT = [{"type": "function", "function": f | {"strict": True}} for f in FUNCTIONS]
TIME_ALONE = {"type": "function", "function": {"name": "get_time"}}
SOME = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TIME_ALONE, {"type": "function", "function": {"name": "ping"}}]}}


@functools.lru_cache
def server_of(form):
    return stack.enter_context(serving(TINY, "-t", 1, "-c", 2048, "--tool-format", form))


@functools.lru_cache
def said_by(script):
    """A server whose model says one thing."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder) / "tiny.gguf"
    scripted_model(path, {1: script}, "llama3", twins=True)
    return stack.enter_context(serving(path, "-t", "1"))


@pytest.fixture(scope="module", autouse=True)
def all_servers():
    global stack
    with contextlib.ExitStack() as stack:
        yield
        server_of.cache_clear()
        said_by.cache_clear()


def create(server, **options):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=300) as client:
        answer = client.chat.completions.create(**{"model": "tiny", "messages": HELLO, "max_tokens": 200, "temperature": 1.2, "seed": 4} | options)
        return list(answer) if options.get("stream") else answer


def parts(answer):
    """Of each choice: content, calls [name, arguments] and reason; of a stream what its pieces add up to."""
    if hasattr(answer, "choices"):
        return [(c.message.content or "", [[t.function.name, t.function.arguments] for t in c.message.tool_calls or []], c.finish_reason)
                for c in answer.choices]
    found = {}
    for c in (c for chunk in answer for c in chunk.choices):
        content, calls, reason = found.get(c.index, ("", [], None))
        for t in c.delta.tool_calls or []:
            if t.index == len(calls):
                calls.append([t.function.name, ""])
            calls[t.index][1] += t.function.arguments or ""
        found[c.index] = content + (c.delta.content or ""), calls, c.finish_reason or reason
    return [found[i] for i in sorted(found)]


def check_calls(calls, reason, names=PARAMETERS):
    """All of them, but for the last of an answer that was cut."""
    assert all(name in names for name, _ in calls)
    for name, arguments in calls if reason != "length" else calls[:-1]:
        jsonschema.validate(json.loads(arguments), PARAMETERS[name], jsonschema.Draft202012Validator)


class Head(str):
    """What comes in front of arguments: any name of a tool in the place of NAME."""

    def startswith(self, text):
        before, _, after = self.partition("NAME")
        return any((before + name + after).startswith(text) for name in PARAMETERS)


HEADS = {"llama3-json": Head('; {"name": "NAME", "parameters": '), "pythonic": Head('; {"name": "NAME", "parameters": '),
         "function-tag": Head("<function=NAME>"), "hermes": Head('<tool_call>\n{"name": "NAME", "arguments": ')}
SEPARATORS = {"llama3-json": ";", "pythonic": ";", "function-tag": "\n", "hermes": "\n"}


def bias_of(form, byte):
    (token,) = server_of(form).post("/tokenize", {"content": byte})["tokens"]
    return str(token)


# --- demanded

@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("choice, names", [("required", list(PARAMETERS)), (TIME_ALONE, ["get_time"]), (SOME, ["get_time", "ping"])],
                         ids=["required", "named", "some"])
@pytest.mark.parametrize("form", FORMS)
def test_a_demanded_call_is_made_and_its_arguments_are_valid(form, choice, names, strict):
    options = {"tools": STRICT if strict else TOOLS, "tool_choice": choice, "n": 4}
    whole = create(server_of(form), parallel_tool_calls=False, **options)
    assert not hasattr(whole, "warnings")
    found = parts(whole)
    assert parts(create(server_of(form), parallel_tool_calls=False, stream=True, **options)) == found
    for content, calls, reason in found:
        assert (content, len(calls), reason) == ("", 1, "tool_calls")
        check_calls(calls, reason, names)


@pytest.mark.parametrize("form", FORMS)
def test_several_calls_may_come_and_what_is_cut_ends_by_length(form):
    """What stands between two calls can be said to come wherever it may, and nothing else needs it."""
    more = {bias_of(form, SEPARATORS[form]): 100}
    for stream in (False, True):
        for bias in ({}, more):
            for content, calls, reason in parts(create(server_of(form), tools=TOOLS, tool_choice="required", n=8, stream=stream, logit_bias=bias)):
                assert calls and reason in ("tool_calls", "length")
                check_calls(calls, reason)
                assert content == "" or (reason == "length" and HEADS[form].startswith(content.lstrip()))  # where it was cut is no call yet
                assert not bias or (len(calls) > 1 and reason == "length")
    ((_, calls, reason),) = parts(create(server_of(form), tools=TOOLS, tool_choice=TIME_ALONE, max_tokens=3))
    assert reason == "length" and len(calls) <= 1


@pytest.mark.parametrize("form", FORMS)
def test_a_demanded_function_of_old_is_one_call(form):
    for stream in (False, True):
        answer = create(server_of(form), functions=FUNCTIONS, function_call={"name": "get_time"}, stream=stream)
        if stream:
            deltas = [c.delta.function_call for chunk in answer for c in chunk.choices if c.delta.function_call]
            name, arguments = "".join(d.name or "" for d in deltas), "".join(d.arguments or "" for d in deltas)
            reason = answer[-1].choices[0].finish_reason
        else:
            (choice,) = answer.choices
            name, arguments, reason = choice.message.function_call.name, choice.message.function_call.arguments, choice.finish_reason
            assert choice.message.content is None
        assert (name, reason) == ("get_time", "function_call")
        check_calls([[name, arguments]], reason)


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}],
                         ids=json.dumps)
@pytest.mark.parametrize("form", FORMS)
def test_arguments_without_a_schema_are_an_object(form, parameters):
    """Without members where there is no schema at all, or an empty one."""
    function = {"name": "f"} | ({} if parameters is None else {"parameters": parameters})
    answer = create(server_of(form), tools=[{"type": "function", "function": function}], tool_choice="required",
                    parallel_tool_calls=False, n=4, max_tokens=60)
    for _, calls, reason in parts(answer):
        ((name, arguments),) = calls
        assert name == "f" and (reason == "length" or isinstance(json.loads(arguments), dict))
        assert parameters or arguments == "{}"


def test_a_server_that_listens_for_no_calls_cannot_be_asked_for_one():
    with serving(TINY, "-t", 1, "-c", 512, "--tool-format", "none") as server:
        for options in ({"tool_choice": "required"}, {"tool_choice": TIME_ALONE}, {"tool_choice": SOME}, {"tools": STRICT}):
            with pytest.raises(openai.BadRequestError) as caught:
                create(server, **{"tools": TOOLS} | options)
            assert caught.value.param == ("tools" if "tools" in options else "tool_choice")
            assert caught.value.code == "unsupported_value"


def test_a_prompt_that_is_too_long_is_refused_before_schemas_are_compiled():
    odd = {"type": "function", "function": {"name": "odd", "strict": True, "parameters": {"unevaluatedProperties": False}}}
    for messages, code in ((HELLO, "unsupported_value"), ([{"role": "user", "content": "a b " * 4096}], "context_length_exceeded")):
        with pytest.raises(openai.BadRequestError) as caught:
            create(server_of("hermes"), tools=[odd], tool_choice="required", messages=messages)
        assert caught.value.code == code


# --- strict, where the model chooses

WRONG = '{"name": "get_weather", "parameters": {"city": "Paris", "days": 30}}'
RIGHT = '{"name": "get_weather", "parameters": {"city": "Rome", "days": 3}}'


def test_what_a_model_says_rightly_is_no_other_when_it_is_strict():
    for text in (RIGHT, "It is warm [1] in Rome: 3 {degrees}.", RIGHT + "; " + RIGHT):
        loose, strict = (parts(create(said_by(text), tools=tools, temperature=0)) for tools in (TOOLS, STRICT))
        assert loose == strict and (len(loose[0][1]) > 0) == text.startswith("{")


def test_arguments_that_a_model_gets_wrong_are_right_when_it_is_strict():
    for stream in (False, True):
        ((_, ((name, arguments),), _),) = parts(create(said_by(WRONG), tools=TOOLS, temperature=0, stream=stream))
        assert json.loads(arguments) == {"city": "Paris", "days": 30}
        ((content, calls, reason),) = parts(create(said_by(WRONG), tools=STRICT, temperature=0, stream=stream))
        assert content == "" and [name for name, _ in calls[:1]] == ["get_weather"]
        check_calls(calls, reason)


@pytest.mark.parametrize("form", FORMS)
def test_strict_tools_leave_a_random_model_its_words(form):
    """Nothing in them is a call, or it is a valid one."""
    for content, calls, reason in parts(create(server_of(form), tools=STRICT, n=8, temperature=2, max_tokens=60)):
        check_calls(calls, reason)
        assert content or calls


# --- a format beside tools

ANSWER = {"type": "object", "properties": {"degrees": {"type": "integer", "minimum": -50, "maximum": 60}}, "required": ["degrees"],
          "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER}}


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_a_call_or_what_the_format_says(form):
    kinds = set()
    for stream in (False, True):
        for bias in (-100, 0, 100):
            for content, calls, reason in parts(create(server_of(form), tools=TOOLS, response_format=FORMAT, n=8, temperature=2,
                                                       parallel_tool_calls=False, stream=stream,
                                                       logit_bias={bias_of(form, "<" if form in ("function-tag", "hermes") else "n"): bias})):
                assert reason in ("stop", "tool_calls") and (not calls or not content)
                check_calls(calls, reason)
                if not calls:
                    jsonschema.validate(json.loads(content), ANSWER, jsonschema.Draft202012Validator)
                kinds.add(reason)
    assert kinds == {"stop", "tool_calls"}


@pytest.mark.parametrize("format, name", [({"guided_regex": "[a-c]{3}"}, "pattern"), ({"response_format": {"type": "json_object"}}, "object")])
def test_other_formats_beside_tools(format, name):
    for content, calls, reason in parts(create(server_of("hermes"), tools=TOOLS, n=8, temperature=2, max_tokens=60, extra_body=format)):
        check_calls(calls, reason)
        if not calls and reason == "stop":
            assert re.fullmatch("[a-c]{3}", content) if name == "pattern" else isinstance(json.loads(content), dict)


def closed(**properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


ANY = {"type": "string", "maxLength": 9}
FORMATS = [  # and whether a text of theirs could be taken for a call
    ({"response_format": FORMAT}, False), ({"guided_json": closed(name=ANY, age=ANY)}, False),
    ({"guided_json": {"$ref": "#/$defs/a", "$defs": {"a": closed(age=ANY)}}}, False),
    ({"response_format": {"type": "json_object"}}, True), ({"guided_regex": ".*"}, True), ({"guided_json": True}, True),
    ({"guided_json": {"type": "array"}}, True), ({"guided_json": closed(name=ANY)}, True), ({"guided_json": closed(name=ANY, type=ANY)}, True),
    ({"guided_json": closed(age=ANY, parameters={"type": "object"})}, True), ({"guided_json": closed(age=ANY) | {"required": []}}, True),
    ({"guided_json": {k: v for k, v in closed(age=ANY).items() if k != "additionalProperties"}}, True),
    ({"guided_json": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}}, True),
]


@pytest.mark.parametrize("format, is_like_a_call", FORMATS, ids=lambda v: json.dumps(v)[:60])
def test_no_text_of_a_format_is_a_call_that_strict_tools_forbid(format, is_like_a_call):
    """Said by a model that would like to make one."""
    options = {"tools": STRICT, "temperature": 0, "extra_body": format}
    if is_like_a_call:
        with pytest.raises(openai.BadRequestError) as caught:
            create(said_by(WRONG), **options)
        assert caught.value.param.startswith(next(iter(format))) and caught.value.code == "unsupported_value"
    else:
        ((_, calls, reason),) = parts(create(said_by(WRONG), **options))
        check_calls(calls, reason)


def test_a_demanded_call_wins_over_a_format():
    """The format is of what is said, and nothing is."""
    ((content, calls, reason),) = parts(create(server_of("hermes"), tools=TOOLS, tool_choice=TIME_ALONE, response_format=FORMAT,
                                               parallel_tool_calls=False))
    assert (content, calls[0][0], reason) == ("", "get_time", "tool_calls")


@pytest.mark.parametrize("name, value", [("guided_choice", ["a"]), ("grammar", 'root ::= "a"')])
def test_formats_that_do_not_go_with_tools_are_named(name, value):
    with pytest.raises(openai.BadRequestError) as caught:
        create(server_of("hermes"), tools=TOOLS, extra_body={name: value})
    assert caught.value.param == name and "tool_choice 'none'" in caught.value.message
    ((content, calls, reason),) = parts(create(server_of("hermes"), tools=TOOLS, tool_choice="none", extra_body={name: value}))
    assert (content, calls, reason) == ("a", [], "stop")


# --- the same bytes

def test_demanded_calls_are_the_same_with_other_threads_and_guesses():
    options = {"tools": STRICT, "tool_choice": "required", "n": 3}
    expected = parts(create(server_of("llama3-json"), **options))
    for more in (("-t", 2), ("-t", 1, "--draft-max", 0)):
        with serving(TINY, "-c", 2048, "--tool-format", "llama3-json", *more) as server:
            assert parts(create(server, **options)) == expected
