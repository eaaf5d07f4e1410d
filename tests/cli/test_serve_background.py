"""Requests with much to do before the engine has them: others do not wait for it."""
import concurrent.futures
import json
import os
import random
import re
import subprocess

import pytest

from puna_server import DATA, ENDING, PUNA, Server, serving, wait_until

NAME = "SmolLM2-135M-Instruct.Q4_1"
MODEL = os.environ.get("PUNA_TEST_MODEL") or f"{DATA}/puna/models/{NAME}.gguf"
# Letters without spaces are one piece to a vocabulary of byte pairs: a second of work or more.
LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=3_900_000))
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
    return server.metric("puna_requests_tokenizing") > 0


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


def test_a_long_chat_is_answered_as_in_the_program(server):
    text = "The first of many sentences is short. " * 500  # above what is done where it arrives
    body = {**CHAT, "messages": [{"role": "user", "content": text}]}
    assert len(json.dumps(body)) > 16384
    template = server.post("/apply-template", {"messages": body["messages"]})
    answer = server.post("/v1/chat/completions", body)
    assert answer["usage"]["prompt_tokens"] == len(template["tokens"])
    same = server.post("/v1/completions", {"model": NAME, "prompt": template["tokens"], "max_tokens": 4, "temperature": 0})
    assert same["choices"][0]["text"] == answer["choices"][0]["message"]["content"] != ""


def test_a_client_that_leaves_is_let_go():
    path, body, _ = SLOW["tokenize"]
    text = json.dumps(body)
    s = Server("--log", "text", MODEL)
    clients = []
    for i in range(3):
        clients.append(s.connect())
        clients[i].sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        wait_until(lambda i=i: s.metric("puna_requests_tokenizing") == i + 1)
    for c in clients[1:]:
        c.close()
    wait_until(lambda: s.metric("puna_requests_tokenizing") == 1)  # those that only waited are gone at once
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


def test_but_no_longer_than_it_waits_for_others(beside):
    s = Server("--drain-timeout", 0, MODEL)
    slow = beside.submit(s.ask, "POST", *SLOW["tokenize"][:2])
    wait_until(lambda: is_busy(s))
    code, _ = s.stop()
    status, document = slow.result()
    assert code == 0 and (status, document["error"]["message"]) == (503, "the server is shutting down")
