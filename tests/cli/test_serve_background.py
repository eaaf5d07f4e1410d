"""Requests with much to do before the engine has them: others do not wait for it."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import time

import pytest

from puna_server import DATA, ENDING, PUNA, Server, serving, wait_until

NAME = "SmolLM2-135M-Instruct.Q4_1"
MODEL = os.environ.get("PUNA_TEST_MODEL") or f"{DATA}/puna/models/{NAME}.gguf"
# Letters without spaces are one piece to a vocabulary of byte pairs: a second of work or more.
LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=8_000_000))
# More than is made ready where it arrives, and few tokens.
LINES = ("-" * 64 + "\n") * 260
CHAT = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "temperature": 0}
SLOW = {"tokenize": ("/tokenize", {"content": LONG}, 200),
        "template": ("/apply-template", {"messages": [{"role": "user", "content": LONG}]}, 200),
        "chat": ("/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": LONG}], "truncation": "auto"}, 400)}

if not os.path.exists(MODEL):
    pytest.skip(f"{MODEL} is not there", allow_module_level=True)


@pytest.fixture(scope="module")
def server():
    with serving(MODEL) as s:
        yield s


@pytest.fixture
def beside():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        yield pool


def is_busy(server):
    return server.metric("puna_requests_preparing") > 0


@pytest.mark.parametrize("path, body, status", SLOW.values(), ids=SLOW)
def test_others_are_answered_meanwhile(server, beside, path, body, status):
    alone = server.post("/v1/chat/completions", CHAT)["choices"]
    slow = beside.submit(server.ask, "POST", path, body)
    wait_until(lambda: is_busy(server))
    assert server.ask("GET", "/health") == (200, {"status": "ok"})
    meanwhile = server.post("/v1/chat/completions", CHAT)["choices"]
    assert is_busy(server) and not slow.done()
    assert meanwhile == alone
    got, document = slow.result()
    assert got == status, document
    assert not is_busy(server)


def test_ids_are_those_of_the_program(server):
    texts = [LONG[:100_000], "Ein Satz. " * 3000]
    for text in texts:
        done = subprocess.run([PUNA, "tokenize", "--json", MODEL], input=text.encode(), capture_output=True, check=True)
        assert server.post("/tokenize", {"content": text})["tokens"] == json.loads(done.stdout)["ids"]


def test_a_long_chat_has_the_tokens_of_its_template(server):
    body = {**CHAT, "messages": [{"role": "user", "content": LINES}], "max_tokens": 1}
    assert len(json.dumps(body)) > 16384
    tokens = server.post("/apply-template", {"messages": body["messages"]})["tokens"]
    assert server.post("/v1/chat/completions", body)["usage"]["prompt_tokens"] == len(tokens)
    assert server.post("/v1/completions", {"model": NAME, "prompt": tokens, "max_tokens": 1})["usage"]["prompt_tokens"] == len(tokens)
    assert server.post("/detokenize", {"tokens": tokens})["content"].count(LINES) == 1


def test_a_long_input_has_the_vector_of_its_tokens(server):
    tokens = server.post("/tokenize", {"content": LINES})["tokens"]
    of_text, of_tokens = (server.post("/v1/embeddings", {"model": NAME, "input": i}) for i in (LINES, tokens))
    assert of_text["data"] == of_tokens["data"] and of_text["usage"]["prompt_tokens"] == len(tokens)


def test_the_first_thing_that_is_wrong_is_told(server):
    """In the order of small requests, though a model is asked for last."""
    chat = {**CHAT, "messages": [{"role": "user", "content": "word " * 200_000}]}
    assert server.ask("POST", "/v1/chat/completions", chat)[1]["error"]["code"] == "context_length_exceeded"
    for more, code, param in (({"model": "other"}, "model_not_found", "model"), ({"model": "other", "top_p": 2}, None, "top_p")):
        status, document = server.ask("POST", "/v1/chat/completions", chat | more)
        assert (status >= 400, document["error"]["param"]) == (True, param)
        assert code is None or document["error"]["code"] == code
    assert server.ask("POST", "/v1/embeddings", {"model": NAME, "input": 7 * [["x"]] * 9000})[0] == 400


def test_no_more_than_half_of_the_places_are_one_clients(server, beside):
    path, body, _ = SLOW["tokenize"]
    slow = beside.submit(server.ask, "POST", path, body)
    wait_until(lambda: is_busy(server))
    text = json.dumps({"content": "x " * 10_000})
    clients = []
    for i in range(31):
        clients.append(server.connect())
        clients[i].sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    wait_until(lambda: server.metric("puna_requests_preparing") == 32)
    with contextlib.closing(http.client.HTTPConnection(*server.address, timeout=60)) as c:
        c.request("POST", "/tokenize", text)
        answer = c.getresponse()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["code"]) == (429, "rate_limit_exceeded")
    assert error["message"] == "32 requests are being made ready for the same key or address, the most that may at once"
    assert int(answer.headers["retry-after"]) >= 1
    assert server.post("/tokenize", {"content": "Hi"})["tokens"]  # a small one needs no place
    for c in clients:
        c.close()
    assert slow.result()[0] == 200


GRAMMAR = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["a", "b"]}}}}


def test_a_grammar_is_compiled_beside_and_its_wait_counts(server, beside):
    path, body, _ = SLOW["tokenize"]
    before = server.metric("puna_queue_seconds_sum")
    slow = beside.submit(server.ask, "POST", path, body)
    wait_until(lambda: is_busy(server))
    begin = time.monotonic()
    held = beside.submit(server.post, "/v1/chat/completions", CHAT | GRAMMAR)
    assert slow.result()[0] == 200
    waited_s = time.monotonic() - begin
    assert held.result()["choices"][0]["message"]["content"] in ('"a"', '"b"')
    assert server.metric("puna_queue_seconds_sum") - before > 0.3 * waited_s


def test_small_requests_are_refused_by_the_queue_alone(server, beside):
    slow = beside.submit(server.ask, "POST", *SLOW["tokenize"][:2])
    wait_until(lambda: is_busy(server))
    with concurrent.futures.ThreadPoolExecutor(40) as pool:  # more than there are places for one
        chats = [pool.submit(server.ask, "POST", "/v1/chat/completions", CHAT | GRAMMAR) for _ in range(40)]
        assert {chat.result()[0] for chat in chats} == {200}
    assert slow.result()[0] == 200


def test_a_client_that_leaves_is_let_go():
    path, body, _ = SLOW["tokenize"]
    text = json.dumps(body)
    s = Server("--log", "text", MODEL)
    clients = []
    for i in range(3):
        clients.append(s.connect())
        clients[i].sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        wait_until(lambda i=i: s.metric("puna_requests_preparing") == i + 1)
    for c in clients[1:]:
        c.close()
    wait_until(lambda: s.metric("puna_requests_preparing") == 1)  # those that only waited are gone at once
    clients[0].close()
    wait_until(s.is_idle)
    assert s.post("/tokenize", {"content": "Hi"})["tokens"]
    code, log = s.stop()
    assert code == 0 and len(re.findall(rf"POST {path} 499 ", log)) == 3, log


def test_a_server_that_ends_waits_for_it(beside):
    s = Server(MODEL)
    slow = beside.submit(s.ask, "POST", *SLOW["tokenize"][:2])
    wait_until(lambda: is_busy(s))
    code, said = s.stop()
    assert (code, said) == (0, ENDING.format("1 client is", 30))
    assert slow.result()[0] == 200


def test_but_tells_it_when_others_are_told(beside):
    s = Server("--drain-timeout", 0, MODEL)
    slow = beside.submit(s.ask, "POST", *SLOW["tokenize"][:2])
    wait_until(lambda: is_busy(s))
    code, _ = s.stop()
    status, document = slow.result()
    assert code == 0 and (status, document["error"]["message"]) == (503, "the server is shutting down")
