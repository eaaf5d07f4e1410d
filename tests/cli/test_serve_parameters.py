"""Every parameter that the official Python client has, taken from its own signatures and types: it works
here, or is refused with an error that names it, or the answer has a warning that names it. A client that
learns a new one fails these tests. The model has zero weights, so that all its tokens are equally
probable: the greedy choice is the first one, '!', and what changes that can be told by hand."""
import base64
import collections
import inspect
import pathlib
import re
import struct
import typing

import openai
import openai.types
import openai.types.chat
import pytest

from gguf_file import I32, LLAMA_TOKENS, STRING, U32, llama
from puna_server import serving

TOKENS = [*LLAMA_TOKENS, "\u010a", "<|im_start|>", "<|im_end|>"]
N, N_EMBD = len(TOKENS), 32
CLIENT_ONLY = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}  # no part of the body
HELLO = [{"role": "user", "content": "a"}]
FUNCTION = {"name": "f", "parameters": {}}
TOOL = {"type": "function", "function": FUNCTION}
STRICT = {"type": "function", "function": FUNCTION | {"strict": True}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("parameters") / "even.gguf"
    path.write_bytes(llama(rows=N, llama__context_length=(U32, 1024), ggml__tokens=(STRING, TOKENS),
                           ggml__token_type=(I32, [1] * (N - 2) + [3, 3]), ggml__eos_token_id=(U32, N - 1)))
    with serving("--alias", "other", path) as s:
        yield s


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


Endpoint = collections.namedtuple("Endpoint", "create asynchronous parameters schema base")
ENDPOINTS = {
    "chat": Endpoint(lambda c: c.chat.completions.create, openai.resources.chat.completions.AsyncCompletions,
                     [openai.types.chat.completion_create_params.CompletionCreateParamsNonStreaming,
                      openai.types.chat.completion_create_params.CompletionCreateParamsStreaming], "ChatRequest",
                     {"model": "even", "messages": HELLO, "temperature": 0, "max_tokens": 4}),
    "completion": Endpoint(lambda c: c.completions.create, openai.resources.completions.AsyncCompletions,
                           [openai.types.completion_create_params.CompletionCreateParamsNonStreaming,
                            openai.types.completion_create_params.CompletionCreateParamsStreaming], "CompletionRequest",
                           {"model": "even", "prompt": "a", "temperature": 0, "max_tokens": 4}),
    "embedding": Endpoint(lambda c: c.embeddings.create, openai.resources.embeddings.AsyncEmbeddings,
                          [openai.types.EmbeddingCreateParams], "EmbeddingRequest", {"model": "even", "input": "a"}),
}


# --- what becomes of a value

Case = collections.namedtuple("Case", "value check others warns error", defaults=(None, {}, False, None))


def works(value, check, **others):
    """check(answer, plain): the answer, and that of the request without the parameter."""
    return Case(value, check, others)


def same(value, **others):
    """It asks for what is done anyway."""
    return Case(value, lambda answer, plain: texts(answer) == texts(plain) != [], others)


def warns(value, check=lambda answer, plain: texts(answer) == texts(plain), **others):
    return Case(value, check, others, warns=True)


def refused(value, code="unsupported_parameter", at="", kind=openai.BadRequestError):
    return Case(value, error=(code, at, kind))


def texts(answer):
    if hasattr(answer, "data"):
        return [d.embedding for d in answer.data]
    return [c.text if hasattr(c, "text") else c.message.content for c in answer.choices]


def text(expected):
    return lambda answer, plain: texts(answer) == [expected] and texts(plain) != [expected]


def begins(expected):
    return lambda answer, plain: texts(answer)[0].startswith(expected) and not texts(plain)[0].startswith(expected)


def calls(answer, plain):
    message = answer.choices[0].message
    return (message.function_call or message.tool_calls[0].function).name == "f" and texts(plain) != [None]


def is_sampled(answer, plain):
    (sampled,) = texts(answer)
    return len(sampled) > 1 and set(sampled) != {"!"}


def is_streamed(answer, plain):
    chunks = list(answer)
    pieces = [c.choices[0].text if hasattr(c.choices[0], "text") else c.choices[0].delta.content or "" for c in chunks]
    return len(chunks) > 1 and ["".join(pieces)] == texts(plain)


def tells_usage(answer, plain):
    *chunks, last = answer
    return last.choices == [] and last.usage == plain.usage and all(c.usage is None for c in chunks)


def same_of_seed(answer, plain):
    return answer.repeated is not None and texts(answer) == texts(answer.repeated) and is_sampled(answer, plain)


SAMPLED = {"temperature": 1, "max_tokens": 30}
SHARED = {
    "frequency_penalty": [works(1, text('!"#$'))],
    "presence_penalty": [works(1, text('!"#$'))],
    "logit_bias": [works({"2": 1}, text("####"))],
    "model": [works("other", lambda answer, plain: answer.model == "other"),
              refused("gpt-4o", "model_not_found", kind=openai.NotFoundError)],
    "n": [works(2, lambda answer, plain: texts(answer) == texts(plain) * 2)],
    "seed": [works(5, same_of_seed, **SAMPLED)],
    "stop": [works("!!!", text("")), works(["?", "!!"], text(""))],
    "stream": [works(True, is_streamed), same(False)],
    "stream_options": [
        works({"include_usage": True}, tells_usage, stream=True),
        warns({"include_obfuscation": True}, is_streamed, stream=True),
        works({"include_obfuscation": False}, is_streamed, stream=True)],
    "temperature": [works(1, is_sampled, max_tokens=30, seed=5)],
    # '&' has a probability of e^5 / (e^5 + e^4.9 + N - 2), more than 0.3, and '\'' nearly as much
    "top_p": [works(0.3, text("&" * 30), logit_bias={5: 5, 6: 4.9}, **SAMPLED)],
    "user": [warns("u")],
}
TABLES = {
    "chat": SHARED | {
        "messages": [works([{"role": "user", "content": "ab"}],
                           lambda answer, plain: answer.usage.prompt_tokens == plain.usage.prompt_tokens + 1)],
        "audio": [refused({"format": "wav", "voice": "alloy"})],
        "function_call": [same("none", functions=[FUNCTION]), same("auto", functions=[FUNCTION]), works({"name": "f"}, calls, functions=[FUNCTION], max_tokens=60),
                          refused({"name": "f"}, "invalid_value"),
                          refused("auto", "invalid_value")],
        "functions": [same([]), same([FUNCTION])],  # the model calls none
        "logprobs": [works(True, lambda answer, plain: len(answer.choices[0].logprobs.content) == 4)],
        "max_completion_tokens": [works(2, text("!!"), max_tokens=None)],
        "max_tokens": [works(2, text("!!")), warns(3, text("!!"), max_completion_tokens=2)],
        "metadata": [same({}), warns({"a": "b"})],
        "modalities": [same(["text"]), refused(["text", "audio"], "unsupported_value", "[1]")],
        "moderation": [refused({"model": "omni-moderation-latest"})],
        "parallel_tool_calls": [same(True, tools=[TOOL]), same(False, tools=[TOOL]), refused(True, "invalid_value")],
        "prediction": [warns({"type": "content", "content": "!!"})],
        "prompt_cache_key": [warns("k")],
        "prompt_cache_options": [same({}), same({"mode": "implicit"}), warns({"mode": "explicit"}), warns({"ttl": "30m"})],
        "prompt_cache_retention": [same("in_memory"), warns("24h")],
        "reasoning_effort": [same("none"), *map(warns, ("minimal", "low", "medium", "high", "xhigh", "max"))],
        "response_format": [
            same({"type": "text"}), works({"type": "json_object"}, begins("{")),
            works({"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [7]}}}, text("7")),
            refused({"type": "json_schema", "json_schema": {"name": "n", "schema": {"minimun": 7}}}, "unsupported_value",
                    ".json_schema.schema")],
        "safety_identifier": [warns("u")],
        "service_tier": [*(works(tier, lambda answer, plain: answer.service_tier == "default") for tier in ("auto", "default")),
                         *(warns(tier, lambda answer, plain: answer.service_tier == "default")
                           for tier in ("flex", "scale", "priority", "fast"))],
        "store": [same(False), refused(True, "unsupported_value")],
        "tool_choice": [same("none", tools=[TOOL]), same("auto", tools=[TOOL]), refused("auto", "invalid_value"),
                        works("required", calls, tools=[TOOL], parallel_tool_calls=False, max_tokens=60),
                        works({"type": "function", "function": {"name": "f"}}, calls, tools=[TOOL], parallel_tool_calls=False, max_tokens=60),
                        refused({"type": "function", "function": {"name": "f"}}, "invalid_value"),
                        works(ALLOWED, calls, tools=[TOOL], parallel_tool_calls=False, max_tokens=60),
                        refused(ALLOWED, "invalid_value")],
        "tools": [same([]), same([TOOL]), same([STRICT]),
                  refused([{"type": "custom", "custom": {"name": "f"}}], "invalid_value", "[0].type")],
        "top_logprobs": [works(2, lambda answer, plain: {len(t.top_logprobs) for t in answer.choices[0].logprobs.content} == {2},
                               logprobs=True)],
        "verbosity": [same("medium"), warns("low"), warns("high")],
        "web_search_options": [refused({})],
    },
    "completion": SHARED | {
        "prompt": [works("ab", lambda answer, plain: answer.usage.prompt_tokens == plain.usage.prompt_tokens + 1)],
        "best_of": [works(3, lambda answer, plain: len(answer.choices) == 1 and answer.usage.completion_tokens == 12)],
        "echo": [works(True, text("a!!!!"))],
        "logprobs": [works(2, lambda answer, plain: [len(t) for t in answer.choices[0].logprobs.top_logprobs] == [2] * 4)],
        "max_tokens": [works(2, text("!!"))],
        "suffix": [refused("b")],
    },
    "embedding": {
        "input": [works(["a", "b"], lambda answer, plain: len(answer.data) == 2)],
        "model": SHARED["model"],
        "dimensions": [same(N_EMBD), refused(16, "unsupported_value")],
        "encoding_format": [same("float"), works("base64", lambda answer, plain: list(
            struct.unpack(f"<{N_EMBD}f", base64.b64decode(answer.data[0].embedding))) == plain.data[0].embedding)],
        "user": SHARED["user"],
    },
}
ALL = [pytest.param(endpoint, name, case, id=f"{endpoint} {name} {str(case.value)[:40]}")
       for endpoint, table in TABLES.items() for name, cases in table.items() for case in cases]


def ask(client, endpoint, **options):
    return endpoint.create(client)(**endpoint.base | options)


def warnings(answer):
    """Of a stream they are in the first chunk, and nowhere else."""
    first, *chunks = answer if isinstance(answer, list) else [answer]
    assert not any(hasattr(c, "warnings") for c in chunks)
    return getattr(first, "warnings", [])


# --- the tests

@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_parameter_of_the_client_is_in_the_tables(client, name):
    endpoint = ENDPOINTS[name]
    for create in (endpoint.create(client), endpoint.asynchronous.create):
        assert set(inspect.signature(create).parameters) - CLIENT_ONLY == TABLES[name].keys()
    for parameters in endpoint.parameters:
        assert typing.get_type_hints(parameters).keys() == TABLES[name].keys()


@pytest.mark.parametrize("endpoint, name, case", ALL)
def test_a_parameter_works_or_is_named(client, endpoint, name, case):
    endpoint = ENDPOINTS[endpoint]
    options = case.others | {name: case.value}
    if case.error is not None:
        code, at, kind = case.error
        with pytest.raises(kind) as e:
            ask(client, endpoint, **options)
        assert (e.value.code, e.value.param, e.value.type) == (code, name + at, "invalid_request_error")
        assert name + at in e.value.message
        if code == "unsupported_parameter":  # and says why
            assert re.fullmatch(rf"{re.escape(name + at)} is not (supported yet|offered by this server: .+)", e.value.body["message"])
        return
    answer, plain = ask(client, endpoint, **options), ask(client, endpoint)
    if name == "seed":
        answer.repeated = ask(client, endpoint, **options)
    if options.get("stream"):
        answer = list(answer)
    assert case.check(answer, plain)
    told = warnings(answer)
    assert [w["param"].partition(".")[0] for w in told] == [name] * case.warns
    assert all("effect" in w["message"] or "'default'" in w["message"] for w in told)


@pytest.mark.parametrize("endpoint, name, case", [p for p in ALL if p.values[2].warns])
def test_a_warning_is_an_error_when_the_request_is_strict(client, endpoint, name, case):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, ENDPOINTS[endpoint], **case.others, **{name: case.value}, extra_body={"strict": True})
    assert e.value.code == "unsupported_parameter" and e.value.param.partition(".")[0] == name


@pytest.mark.parametrize("endpoint, name", [(e, name) for e, table in TABLES.items() for name in table])
def test_a_value_of_another_type_is_named_and_none_is_not_given(client, endpoint, name):
    endpoint = ENDPOINTS[endpoint]
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, endpoint, **{name: {"x": [{}]}})
    assert e.value.param.startswith(name) and e.value.code is not None
    if name in ("model", "messages", "prompt", "input"):
        with pytest.raises(openai.BadRequestError) as e:
            ask(client, endpoint, **{name: None})
        assert (e.value.param, e.value.code) == (name, "missing_required_parameter")
    elif name == "temperature":
        assert texts(ask(client, endpoint, temperature=None, seed=5)) == texts(ask(client, endpoint, temperature=1, seed=5))
    elif name == "max_tokens":  # of a chat: to the end of the context
        n = ask(client, endpoint, max_tokens=None).usage.total_tokens
        assert n == (1024 if "messages" in endpoint.base else 1 + 16)
    else:
        assert texts(ask(client, endpoint, **{name: None})) == texts(ask(client, endpoint))


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_description_says_the_same(server, name):
    schema = server.ask("GET", "/openapi.json")[1]["components"]["schemas"][ENDPOINTS[name].schema]
    for parameter, cases in TABLES[name].items():
        if all(c.error is not None for c in cases):
            assert parameter not in schema["properties"] and parameter in schema["description"]
        else:
            assert parameter in schema["properties"]
        if any(c.warns for c in cases) and parameter not in ("max_tokens", "stream_options"):
            assert "warning" in schema["properties"][parameter]["description"]


def test_the_page_says_the_same():
    """docs/API.md: a row for each thing that becomes of parameters, a column for each endpoint."""
    text = (pathlib.Path(__file__).parents[2] / "docs/API.md").read_text()
    (table,) = re.findall(r"^\| what becomes of it .*\n\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = {cells[0]: cells[1:] for cells in (line.strip("|").split("|") for line in table.splitlines())}
    works, harmless, warned, refusals = rows.values()
    for i, cases in enumerate(TABLES.values()):
        told = [re.findall(r"`(\w+)`", row[i]) for row in (works, harmless, warned, refusals)]
        assert sorted(sum(told, [])) == sorted(cases)
        assert {n for n, c in cases.items() if any(x.warns for x in c)} - {"max_tokens", "stream_options"} == set(told[2])
        assert {n for n, c in cases.items() if all(x.error is not None for x in c)} == set(told[3])


# --- messages and their parts

chat_types = openai.types.chat
WARNS, REFUSED, WORKS = "warns", "refused", "works"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER = {"role": "tool", "tool_call_id": "c", "content": "a"}
CALLING = {"tool": {"role": "assistant", "tool_calls": [CALL]}, "function": {"role": "assistant", "function_call": CALL["function"]}}


def with_calls(message):
    """The message with what must be in front of it or behind."""
    role = message.get("role") or ("tool" if "tool_call_id" in message else "function" if "name" in message else None)
    return [CALLING[k] for k in CALLING if k == role] + [message] + [ANSWER] * ("tool_calls" in message)


# What a message of the type must have; what else it may have, and what becomes of that.
MESSAGES = [
    (chat_types.ChatCompletionDeveloperMessageParam, {"role": "developer", "content": "a"}, {"name": ("n", WARNS)}),
    (chat_types.ChatCompletionSystemMessageParam, {"role": "system", "content": "a"}, {"name": ("n", WARNS)}),
    (chat_types.ChatCompletionUserMessageParam, {"role": "user", "content": "a"}, {"name": ("n", WARNS)}),
    (chat_types.ChatCompletionAssistantMessageParam, {"role": "assistant", "content": "a"}, {
        "name": ("n", WARNS), "refusal": ("no", WARNS), "audio": ({"id": "a"}, REFUSED),
        "function_call": ({"name": "f", "arguments": "{}"}, WORKS), "tool_calls": ([CALL], WORKS)}),
    (chat_types.ChatCompletionToolMessageParam, {"role": "tool", "content": "a", "tool_call_id": "c"}, {}),
    (chat_types.ChatCompletionFunctionMessageParam, {"role": "function", "content": "a", "name": "f"}, {}),
]
TEXT = {"type": "text", "text": "a"}
PARTS = [
    (chat_types.ChatCompletionContentPartTextParam, TEXT, {"prompt_cache_breakpoint": ({}, WARNS)}),
    (chat_types.ChatCompletionContentPartRefusalParam, {"type": "refusal", "refusal": "a"}, {}),
]
UNREAD_PARTS = [
    (chat_types.ChatCompletionContentPartImageParam, {"type": "image_url", "image_url": {"url": "data:,"}}),
    (chat_types.ChatCompletionContentPartInputAudioParam, {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
    (chat_types.chat_completion_content_part_param.File, {"type": "file", "file": {"file_id": "f"}}),
]


def test_all_types_of_messages_and_parts_are_in_the_tables():
    known = {t for t, *_ in MESSAGES}
    assert known == set(typing.get_args(chat_types.ChatCompletionMessageParam))
    assert {t for t, *_ in PARTS[:1] + UNREAD_PARTS} == set(typing.get_args(chat_types.ChatCompletionContentPartParam))
    for kind, must, may in MESSAGES + PARTS:
        assert typing.get_type_hints(kind).keys() == must.keys() | may.keys()


@pytest.mark.parametrize("must, may, place, wrap", [
    *((must, may, f"messages[{int(must['role'] in CALLING)}]", with_calls) for _, must, may in MESSAGES),
    *((must, may, "messages[0].content[0]", lambda p: [{"role": "assistant", "content": [p]}]) for _, must, may in PARTS)])
def test_a_member_of_a_message_works_or_is_named(client, must, may, place, wrap):
    def ask_with(value):
        return ask(client, ENDPOINTS["chat"], messages=wrap(value))
    assert warnings(ask_with(must)) == []
    for name in must:
        with pytest.raises(openai.BadRequestError) as e:
            ask_with({k: v for k, v in must.items() if k != name})
        assert (e.value.param, e.value.code) == (f"{place}.{name}", "missing_required_parameter")
    for name, (value, outcome) in may.items():
        if outcome == WARNS:
            assert [w["param"] for w in warnings(ask_with(must | {name: value}))] == [f"{place}.{name}"]
        elif outcome == WORKS:
            assert warnings(ask_with(must | {name: value})) == []
        else:
            with pytest.raises(openai.BadRequestError) as e:
                ask_with(must | {name: value})
            assert (e.value.param, e.value.code) == (f"{place}.{name}", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as e:
        ask_with(must | {"frobnicate": 1})
    assert (e.value.param, e.value.code) == (f"{place}.frobnicate", "unknown_parameter")


def test_what_the_model_cannot_read_is_refused_by_its_type(client):
    for _, part in UNREAD_PARTS:
        with pytest.raises(openai.BadRequestError) as e:
            ask(client, ENDPOINTS["chat"], messages=[{"role": "user", "content": [TEXT, part]}])
        assert (e.value.param, e.value.code) == ("messages[0].content[1].type", "unsupported_value")
        assert part["type"] in e.value.message


# --- what the clients send beside the body

@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_extra_query_is_refused_by_its_name(client, name):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, ENDPOINTS[name], extra_query={"api-version": "2024-10-21"})
    assert (e.value.param, e.value.code) == ("api-version", "unknown_parameter") and "api-version" in e.value.message


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_extra_body_is_refused_by_its_name_where_it_is_unknown(client, name):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, ENDPOINTS[name], extra_body={"frobnicate": None})
    assert (e.value.param, e.value.code) == ("frobnicate", "unknown_parameter")
    for known in ("bad_words", "mirostat", "chat_template", "prompt_logprobs"):
        with pytest.raises(openai.BadRequestError, match=f"{known} is not offered by this server: .") as e:
            ask(client, ENDPOINTS[name], extra_body={known: "x"})
        assert (e.value.param, e.value.code) == (known, "unsupported_parameter")
