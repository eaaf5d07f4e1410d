"""What goes wrong on other servers and must not on this one: the failures of docs/TRAPS.md that are no other
file's. Each was seen by users of a server that many run."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess

import openai
import pytest

from gguf_file import llama
from puna_server import PATIENCE_S, PUNA, Server, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
ROOT = pathlib.Path(__file__).resolve().parents[2]
HELLO = [{"role": "user", "content": "Tell me about llamas."}]
CHAT = {"model": MODEL, "messages": HELLO, "temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def server():
    with serving("-c", 1024) as s:
        yield s


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)


def chat(server, **options):
    return server.post("/v1/chat/completions", CHAT | options)


def events(server, **options):
    """Of a stream: its documents, and that it ended."""
    status, text = server.ask("POST", "/v1/chat/completions", CHAT | {"stream": True} | options)
    lines = [line for line in text.split("\n\n") if line and not line.startswith(":")]
    assert status == 200 and lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def refused(server, document, path="/v1/chat/completions"):
    """The error of a request that is refused; the server answers the next one as ever."""
    status, answer = server.ask("POST", path, document)
    assert status in (400, 404) and answer.keys() == {"error"}, (status, answer)
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error" and "\n" not in answer["error"]["message"]
    assert server.ask("GET", "/health")[0] == 200
    return answer["error"]


# --- crashes

FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
SCHEMAS = [{"type": 5}, {"$ref": "#"}, {"pattern": "((("}, {"type": "array", "items": {"$ref": "#/nowhere"}}, {"enum": []},
           {"anyOf": [{"$ref": "#/anyOf/0"}]}, {"type": "object", "properties": {"a": {"$dynamicRef": "#a"}}}]
KILLERS = {
    "a grammar without end": ({"grammar": "root ::= root"}, "grammar"),
    "a grammar that is none": ({"grammar": "root ::= \"\\x\" ::= ((("}, "grammar"),
    "an empty grammar": ({"grammar": ""}, "grammar"),
    **{f"schema {i}": ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}},
                       "response_format.json_schema.schema") for i, schema in enumerate(SCHEMAS)},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", KILLERS)
def test_grammars_and_schemas_that_kill_others_are_refused_by_name(server, name, stream):
    change, param = KILLERS[name]
    error = refused(server, CHAT | {"stream": stream} | change)
    assert error["param"] == param and error["code"] in ("invalid_value", "unsupported_value")


PARTS = [
    ({"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 2, "maxItems": 2, "$defs": {"a": {"enum": ["x"]}}}, r'\["x", "x"\]'),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"enum": [1, "b", None]}}}, '1|"b"|null'),
    ({"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": False}, r'\{"a": 1\}'),
    ({"properties": {"a": {"const": 1}}, "required": ["a"], "type": "object", "additionalProperties": {"const": 2}, "maxProperties": 1}, r'\{"a": 1\}'),
    ({"const": {"a": [True]}}, r'\{"a": \[true\]\}'),
]


@pytest.mark.parametrize("schema, pattern", PARTS, ids=lambda v: str(v)[:40])
def test_every_part_of_a_schema_counts(server, schema, pattern):
    for stream in (False, True):
        options = {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}, "max_tokens": 40, "n": 1}
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in events(server, **options)) if stream \
            else chat(server, **options)["choices"][0]["message"]["content"]
        assert re.fullmatch(pattern, text)


@pytest.mark.parametrize("stream", [False, True])
def test_tools_that_kill_others_are_text_and_so_is_half_a_call(server, stream):
    text = "{\"a\": [}]} <|python_tag|> root ::= \"\\\" \n\\u0000 %s %n \0"
    tool = {"type": "function", "function": FUNCTION | {"description": text}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": text})}}
    said = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": text}]
    body = CHAT | {"tools": [tool], "messages": HELLO + said}
    if stream:
        assert events(server, **body)[-1]["choices"][0]["finish_reason"] == "length"
    else:
        assert server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
    call["function"]["arguments"] = "{\"a\": "
    error = refused(server, body | {"stream": stream, "strict": True})
    assert error["param"] == "messages[1].tool_calls[0].function.arguments"
    if stream:
        assert events(server, **body)[-1]["choices"][0]["finish_reason"] == "length"
    else:
        (warning,) = server.post("/v1/chat/completions", body)["warnings"]
        assert warning["param"] == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize("path, change, answered", [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": ""}]}, True),
    ("/v1/chat/completions", {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]}, True),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": []}]}, False),
    ("/v1/chat/completions", {"messages": [{}]}, False), ("/v1/chat/completions", {"messages": []}, False),
    ("/v1/completions", {"prompt": ""}, True), ("/v1/completions", {"prompt": [""]}, True),
    ("/v1/completions", {"prompt": ["", "a"], "echo": True, "logprobs": 1}, True), ("/v1/completions", {"prompt": []}, False),
    ("/v1/completions", {"prompt": [[]]}, False), ("/v1/embeddings", {"input": ""}, False),
    ("/v1/embeddings", {"input": []}, False), ("/v1/embeddings", {"input": [[]]}, False),
])
def test_an_empty_prompt_is_answered_or_refused(server, path, change, answered):
    shape = {} if path == "/v1/embeddings" else {"max_tokens": 2}
    body = {"model": MODEL} | shape | change
    if answered:
        assert server.post(path, body)["usage"]["prompt_tokens"] >= 1
        assert server.ask("GET", "/health")[0] == 200
    else:
        assert refused(server, body, path)["param"].startswith(("messages", "prompt", "input"))


# --- bytes that are no UTF-8

@pytest.fixture(scope="module")
def fragment(server):
    """A token that is the first bytes of a code point and no whole one, and its bytes."""
    for piece in server.post("/tokenize", {"content": "\U0001f999\u4e2d\u9f98\U00010348", "with_pieces": True})["tokens"]:
        if isinstance(piece["piece"], list):
            return piece["id"], piece["piece"]
    pytest.fail("every token of the text is whole")


def test_half_a_code_point_in_an_answer_is_valid_json(server, fragment):
    """Every token is the same lonely fragment, so that no code point is ever whole."""
    token, data = fragment
    with pytest.raises(UnicodeDecodeError):
        bytes(data).decode()
    expected = bytes(5 * data).decode(errors="replace")
    options = {"logit_bias": {str(token): 100}, "max_tokens": 5, "logprobs": True}
    (choice,) = chat(server, **options)["choices"]
    assert choice["message"]["content"] == expected and choice["finish_reason"] == "length"
    entries = choice["logprobs"]["content"]
    assert [e["bytes"] for e in entries] == [data] * 5  # the bytes are told as they are
    chunks = events(server, **options)
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == expected
    assert [e for c in chunks for e in (c["choices"][0]["logprobs"] or {"content": []})["content"]] == entries


# --- the shape of a stream

def test_no_delta_has_null_where_programs_want_text(server):
    """First comes "" and not null, role comes once, and the usage is an event with no choices."""
    first, *middle, last, usage = events(server, n=1, stream_options={"include_usage": True})
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert middle and all(c["choices"][0]["delta"].keys() == {"content"} for c in middle)
    assert all(isinstance(c["choices"][0]["delta"]["content"], str) for c in middle)
    assert [c["choices"][0]["finish_reason"] for c in [first, *middle]] == [None] * (1 + len(middle))
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "length")
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12
    assert all("error" not in e and e["id"] == first["id"] for e in [*middle, last, usage])


def test_pages_may_read_streams_and_their_errors(server):
    for options, status in (({}, 200), ({"top_p": 2}, 400)):
        with contextlib.closing(http.client.HTTPConnection(*server.address, timeout=PATIENCE_S)) as c:
            c.request("POST", "/v1/chat/completions", json.dumps(CHAT | {"stream": True} | options),
                      {"Origin": "https://app.example"})
            answer = c.getresponse()
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, "https://app.example")
            assert "x-request-id" in answer.headers["access-control-expose-headers"]


def test_an_answer_has_what_the_api_says_and_nothing_else(server):
    """No half-made tool calls, no energy, nothing that an answer's reader could take for an offer."""
    document = chat(server)
    (choice,) = document["choices"]
    assert choice["message"] == {"role": "assistant", "content": choice["message"]["content"], "refusal": None}
    assert choice.keys() == {"index", "message", "logprobs", "finish_reason", "content_filter_results"}
    assert document["usage"].keys() == {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details",
                                        "completion_tokens_details", "cache"}
    assert document.keys() == {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}


# --- what is not offered

@pytest.mark.parametrize("name, value", [
    ("format", "json"), ("regex", "a"), ("ebnf", "root ::= \"a\""), ("guided_whitespace_pattern", " "), ("guided_decoding_backend", "auto"),
    ("logit_bias_bytes", {}), ("lora", []),
])
def test_constraints_that_cannot_be_kept_are_refused_and_never_dropped(server, name, value):
    error = refused(server, CHAT | {name: value})
    assert error["param"] == name and error["code"] in ("unsupported_parameter", "unknown_parameter")


def test_a_format_of_plain_text_is_no_constraint(client):
    for options in ({"response_format": {"type": "text"}}, {"tools": []}):
        assert client.chat.completions.create(**CHAT, **options).choices[0].message.content


@pytest.mark.parametrize("path", ["responses", "moderations", "messages", "rerank", "infill", "audio/speech", "batches",
                                  "images/generations", "files", "fine_tuning/jobs"])
def test_what_is_no_address_here_says_so(client, path):
    with pytest.raises(openai.NotFoundError) as caught:
        client.post(f"/{path}", body={"model": MODEL, "input": "a"}, cast_to=object)
    assert caught.value.code == "unknown_url" and f"POST /v1/{path}" in caught.value.message


@pytest.mark.parametrize("option", ["api-key", "api-keys", "ssl-key-file", "quota"])
def test_options_of_other_servers_for_keys_and_quotas_are_refused_by_name(option):
    done = subprocess.run([PUNA, "serve", f"--{option}", "x"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (2, "") and f"unknown option --{option} " in done.stderr


@pytest.mark.parametrize("change, param", [({"options": {"num_ctx": 8192}}, "options"), ({"num_ctx": 8192}, "num_ctx"),
                                           ({"n_ctx": 8192}, "n_ctx"), ({"keep_alive": 0}, "keep_alive"),
                                           ({"truncate_prompt_tokens": 10}, "truncate_prompt_tokens")])
def test_no_request_changes_the_context_or_loads_the_model_anew(server, change, param):
    before = server.ask("GET", "/v1/capabilities")
    assert before[1]["limits"]["context_length"] == 1024
    assert refused(server, CHAT | change)["param"] == param
    assert server.ask("GET", "/v1/capabilities") == before
    assert chat(server)["system_fingerprint"] == before[1]["system_fingerprint"]


# --- the context

@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_a_limit_ends_with_the_context(tmp_path, stream):
    """It neither goes on for ever nor becomes an error at its last token."""
    path = tmp_path / "endless.gguf"
    path.write_bytes(llama())
    with serving(path) as s:
        body = {"model": "endless", "prompt": "abc", "max_tokens": 61, "ignore_eos": True, "stream": stream}
        status, answer = s.ask("POST", "/v1/completions", body)
        end = re.findall(r'"finish_reason":"(\w+)"', answer if stream else json.dumps(answer, separators=(",", ":")))
        assert (status, end) == (200, ["length"])
        assert s.metric("puna_generation_tokens_total") == 61 and s.metric("puna_prompt_tokens_total") == 3
        error = refused(s, body | {"max_tokens": 62}, "/v1/completions")
        assert error["code"] == "context_length_exceeded" and "64 tokens" in error["message"]
    with serving("-c", 128) as s:
        text = s.ask("POST", "/v1/chat/completions", CHAT | {"max_tokens": None, "ignore_eos": True, "stream": stream})[1]
        (end,) = re.findall(r'"finish_reason": ?"(\w+)"', text if stream else json.dumps(text))
        total = s.metric("puna_generation_tokens_total") + s.metric("puna_prompt_tokens_total")
        assert (end, total) == ("length", 128)


# --- the prefix cache

def test_every_answer_says_how_much_of_its_prompt_was_cached_and_why_no_more(server):
    def usage(question, salt="verdict", **options):
        messages = [{"role": "system", "content": "You know llamas. " * 30}, {"role": "user", "content": question}]
        if options.get("stream"):
            return events(server, messages=messages, cache_salt=salt, stream_options={"include_usage": True})[-1]["usage"]
        return chat(server, messages=messages, cache_salt=salt, **options)["usage"]
    first, again = usage("What do they eat?"), usage("What do they eat?")
    other, another, streamed = usage("Where do they live?"), usage("What do they eat?", "b"), usage("What do they eat?", stream=True)
    told = [u["prompt_tokens_details"]["cached_tokens"] for u in (first, again, other, another, streamed)]
    assert told == [u["cache"]["hit_tokens"] for u in (first, again, other, another, streamed)]
    n = first["prompt_tokens"]
    assert (told[0], told[1], told[3], told[4]) == (0, n - 1, 0, n - 1) and 64 <= told[2] < n - 1
    assert [u["cache"]["miss_reason"] for u in (first, again, other, another)] == ["cold", "complete", "diverged", "cold"]


def test_the_next_turn_of_a_chat_is_found_in_the_cache(server):
    """What was said is written into the next prompt as it was sampled."""
    messages = [{"role": "user", "content": "Tell me about the llamas of the Andes, and about those who keep them. " * 4}]
    answer = chat(server, messages=messages, max_tokens=40)
    n = answer["usage"]["prompt_tokens"]
    messages += [answer["choices"][0]["message"], {"role": "user", "content": "Go on."}]
    assert chat(server, messages=messages)["usage"]["prompt_tokens_details"]["cached_tokens"] >= n + 30


def test_the_log_tells_what_was_cached_for_who_left():
    s = Server("--log", "json")
    chat(s)
    with s.connect() as c:
        body = json.dumps(CHAT | {"max_tokens": 4000, "ignore_eos": True, "stream": True}).encode()
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: s.metric("puna_generation_tokens_total") > 12)
    wait_until(s.is_idle)
    code, errors = s.stop()
    first, left = [e for e in map(json.loads, errors.splitlines()) if e["path"] == "/v1/chat/completions"]
    assert (code, first["status"], left["status"]) == (0, 200, 499)
    assert left["cached_tokens"] == left["prompt_tokens"] - 1 == first["prompt_tokens"] - 1 and first["cached_tokens"] == 0
    assert 0 < left["completion_tokens"] < 4000


# --- one long prompt

def test_a_long_prompt_holds_up_neither_answers_nor_health():
    """The other answer gets a token beside every part of the prompt."""
    n_words, batch = 3000, 64
    with serving("-t", 1, "-b", batch, "--parallel", 2) as s, contextlib.ExitStack() as stack:
        def start(document):
            c = stack.enter_context(contextlib.closing(http.client.HTTPConnection(*s.address, timeout=PATIENCE_S)))
            c.request("POST", "/v1/chat/completions", json.dumps(CHAT | {"stream": True, "ignore_eos": True} | document))
            return c.getresponse()
        running = start({"max_tokens": 4000})
        wait_until(lambda: s.metric("puna_generation_tokens_total") > 2)
        long = start({"messages": [{"role": "user", "content": "word " * n_words}], "max_tokens": 1})
        wait_until(lambda: s.metric("puna_requests_running") == 2)
        before = s.metric("puna_generation_tokens_total")
        assert s.ask("GET", "/health") == (200, {"status": "ok"})
        assert s.metric("puna_requests_running") == 2  # the prompt is still being computed
        while b"[DONE]" not in long.readline():
            pass
        assert s.metric("puna_generation_tokens_total") - before > n_words // batch // 2
        assert running.readline()


# --- the start

def test_a_server_that_loads_says_so(tmp_path):
    """Loading lasts for as long as the test wants: what would fetch the model waits."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("python3", 'case "$*" in *--version*) exit 0 ;; *) exec sleep 300 ;; esac'), ("curl", "exec sleep 300")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([PUNA, "serve", "--port", str(port), "--log", "none"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               start_new_session=True, env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)})
    try:
        s = Server.__new__(Server)
        s.address, s.context = ("127.0.0.1", port), None

        def answers():
            with contextlib.suppress(ConnectionRefusedError):
                return s.ask("GET", "/health") == (200, {"status": "ok"})
        wait_until(answers)
        for method, path, body in (("GET", "/ready", None), ("GET", "/v1/models", None), ("POST", "/v1/chat/completions", CHAT)):
            status, document = s.ask(method, path, body)
            assert status == 503 and document["error"]["message"] == "the model is being loaded"
        assert process.poll() is None
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


# --- the document

FORMS = {".py": r"^def {}\(", ".c": r"^        (?:cmocka_unit_test\w*|CACHE_TEST)\({}[,)]", ".mjs": r'^test\("{}",'}


def named_tests(row):
    return re.findall(r"`(tests/[\w./-]+)::([^`]+)`", row)


def test_every_row_of_the_document_names_tests_that_are_there():
    text = (ROOT / "docs/TRAPS.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 40))
    for number, row in rows:
        assert len(row.split(" | ")) == 3 and named_tests(row.split(" | ")[2]), f"row {number}"
        for path, name in named_tests(row):
            form = FORMS[pathlib.Path(path).suffix].format(re.escape(name))
            assert re.search(form, (ROOT / path).read_text(), re.MULTILINE), f"row {number}: {path}::{name}"
    here = pathlib.Path(__file__).resolve()
    mine = {name for path, name in named_tests(text) if (ROOT / path) == here}
    others = set(re.findall(r"^def (test_\w+)\(", here.read_text(), re.MULTILINE)) - mine
    assert others == {"test_every_row_of_the_document_names_tests_that_are_there"}
