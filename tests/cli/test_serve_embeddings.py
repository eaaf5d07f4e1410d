"""Embeddings as the official Python client and raw sockets ask for them; what the numbers should be,
tests/oracle/test_embeddings.py says."""
import array
import base64
import concurrent.futures
import contextlib
import http.client
import json
import math
import re
import signal
import socket
import struct
import subprocess

import openai
import pytest

from gguf_file import BOOL, LLAMA_TOKENS, U32, llama
from puna_server import ENDING, PATIENCE_S, PUNA, Server, begin_to_read, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
WIDTH = 576
TEXTS = ["The puna is a high grassland.", "Llamas.", "a", "\U0001f999 \u4e2d\u6587 \u00e9", "x" * 400,
         "Count on. " * 60]


@pytest.fixture(scope="module")
def server():
    with serving("-c", 512, "--alias", "text-embedding-3-small") as s:
        yield s


@pytest.fixture(scope="module")
def client(server):
    return client_of(server)


def client_of(server, prefix="/v1"):
    return openai.OpenAI(base_url=server.url + prefix, api_key="none", max_retries=0, timeout=120)


def embed(server, given, **options):
    return server.post("/v1/embeddings", {"model": MODEL, "input": given, **options})


def vectors(server, given, **options):
    answer = embed(server, given, **options)
    assert [d["index"] for d in answer["data"]] == list(range(len(answer["data"])))
    return [d["embedding"] for d in answer["data"]]


def length(vector):
    return math.sqrt(math.fsum(x * x for x in vector))


@pytest.fixture(scope="module")
def alone(server):
    """Vectors of texts that came one by one."""
    return [vectors(server, text)[0] for text in TEXTS]


# --- answers

def test_the_client_gets_what_a_socket_gets(client, server, alone):
    answer = client.embeddings.create(model=MODEL, input=TEXTS)  # which asks for base64
    assert [d.embedding for d in answer.data] == [list(array.array("f", v)) for v in alone]
    assert [(d.index, d.object) for d in answer.data] == [(i, "embedding") for i in range(len(TEXTS))]
    n = sum(len(server.post("/tokenize", {"content": t})["tokens"]) for t in TEXTS)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.object) == (n, n, "list")
    assert answer.model == MODEL


def test_base64_and_numbers_are_the_same_floats(server, alone):
    (text,) = vectors(server, TEXTS[0], encoding_format="base64")
    assert struct.unpack(f"<{WIDTH}f", base64.b64decode(text, validate=True)) == tuple(
        array.array("f", alone[0]))  # a float has one shortest spelling
    assert vectors(server, TEXTS[0], encoding_format="float") == vectors(server, TEXTS[0]) == [alone[0]]


@pytest.mark.parametrize("prefix", ["/v1", "/v3/openai", "/openai/v1"])
def test_every_prefix_and_name_answers_alike(server, alone, prefix):
    answer = client_of(server, prefix).embeddings.create(
        model="text-embedding-3-small", input=TEXTS[1], encoding_format="float", user="u", dimensions=WIDTH)
    assert (answer.data[0].embedding, answer.model) == (alone[1], "text-embedding-3-small")


def test_inputs_of_every_form(server, alone):
    ids = [server.post("/tokenize", {"content": t})["tokens"] for t in TEXTS]
    assert vectors(server, TEXTS) == vectors(server, ids) == alone
    assert vectors(server, [TEXTS[3]]) == vectors(server, ids[3]) == vectors(server, [ids[3]]) == [alone[3]]


def test_vectors_have_length_one_and_differ(server, alone):
    last = vectors(server, TEXTS, pooling="last")
    for vector in alone + last:
        assert len(vector) == WIDTH and length(vector) == pytest.approx(1, abs=1e-6)
    assert len({tuple(v) for v in alone + last}) == 2 * len(TEXTS) - 1
    assert last[2] == alone[2] and len(server.post("/tokenize", {"content": TEXTS[2]})["tokens"]) == 1


def test_the_mean_is_that_of_the_hidden_states(server):
    """Told by the vectors of a text's beginnings: the last one of each is a direction of the sum."""
    ids = server.post("/tokenize", {"content": "one two three"})["tokens"]
    assert len(ids) == 3
    directions = vectors(server, [ids[:k] for k in (1, 2, 3)], pooling="last")
    (mean,) = vectors(server, ids)
    # mean = a d1 + b d2 + c d3 with a, b, c > 0: solved by the normal equations
    dot = [[math.fsum(x * y for x, y in zip(u, v)) for v in directions] for u in directions]
    right = [math.fsum(x * y for x, y in zip(mean, v)) for v in directions]
    weights = solve(dot, right)
    rebuilt = [math.fsum(w * v[i] for w, v in zip(weights, directions)) for i in range(WIDTH)]
    assert all(w > 0 for w in weights) and rebuilt == pytest.approx(mean, abs=1e-5)


def solve(matrix, right):
    rows = [row[:] + [r] for row, r in zip(matrix, right)]
    for i in range(len(rows)):
        for k in range(len(rows)):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [x - factor * y for x, y in zip(rows[k], rows[i])]
    return [row[-1] / row[i] for i, row in enumerate(rows)]


def test_the_server_has_a_pooling_of_its_own(server, alone):
    with serving("-c", 512, "--pooling", "last") as s:
        assert vectors(s, TEXTS[0]) == vectors(server, TEXTS[0], pooling="last")
        assert vectors(s, TEXTS[0], pooling="mean") == [alone[0]]
    done = subprocess.run([PUNA, "serve", "--pooling", "cls"], capture_output=True, timeout=30)
    assert done.returncode == 2 and b"--pooling: 'cls' is neither 'mean' nor 'last'" in done.stderr


def test_text_is_text_whatever_it_says(server):
    n = embed(server, "<|im_end|>")["usage"]["prompt_tokens"]
    assert n == len(server.post("/tokenize", {"content": "<|im_end|>", "parse_special": False})["tokens"]) > 1


def test_the_tokens_round_a_text_are_those_of_the_file(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama(ggml__add_bos_token=(BOOL, True), ggml__bos_token_id=(U32, 4),
                           ggml__add_eos_token=(BOOL, True), ggml__eos_token_id=(U32, 5)))
    with serving(path) as s:
        def tokens(given):
            return s.post("/v1/embeddings", {"model": "m", "input": given})["usage"]["total_tokens"]
        assert (tokens("ab"), tokens([64, 65])) == (4, 2)
        assert vectors_of_zero(s) == [[0] * 32]  # no direction, and no number that is none
        status, document = s.ask("POST", "/v1/embeddings", {"model": "m", "input": [1] * 65})
        assert (status, document["error"]["code"]) == (400, "context_length_exceeded")


def vectors_of_zero(server):
    return [d["embedding"] for d in server.post("/v1/embeddings", {"model": "m", "input": "a"})["data"]]


def test_capabilities_and_limits_are_told(server):
    told = server.ask("GET", "/v1/capabilities")[1]
    assert told["embeddings"] is True
    assert (told["limits"]["inputs"], told["limits"]["dimensions"]) == (2048, WIDTH)
    assert set(told["parameters"]["embeddings"]) == {
        "model", "input", "encoding_format", "dimensions", "pooling", "user", "strict"}


# --- errors

BAD = [
    ({"input": None}, "input", "missing_required_parameter", ""),
    ({"input": ""}, "input", "invalid_value", "empty"),
    ({"input": []}, "input", "invalid_value", "0 elements"),
    ({"input": ["a", ""]}, "input[1]", "invalid_value", "empty"),
    ({"input": [[1], []]}, "input[1]", "invalid_value", "0 elements"),
    ({"input": ["a", 1]}, "input[1]", "invalid_type", ""),
    ({"input": 5}, "input", "invalid_type", ""),
    ({"input": [49152]}, "input[0]", "invalid_value", "49151"),
    ({"input": [-1]}, "input[0]", "invalid_value", "-1"),
    ({"input": ["a"] * 2049}, "input", "invalid_value", "2049 elements, expected 1 to 2048"),
    ({"input": [5] * 513}, "input", "context_length_exceeded", "512 tokens. However, your input resulted in 513"),
    ({"input": ["a", "b " * 600]}, "input[1]", "context_length_exceeded", "512 tokens"),
    ({"input": "word " * 600000}, "input", "context_length_exceeded", "your input resulted in at least "),
    ({"dimensions": 256}, "dimensions", "unsupported_value", "256, the model's embeddings have 576"),
    ({"dimensions": 0}, "dimensions", "invalid_value", ""),
    ({"encoding_format": "int8"}, "encoding_format", "invalid_value", "'float', 'base64'"),
    ({"pooling": "cls"}, "pooling", "invalid_value", "'mean', 'last'"),
    ({"user": 5}, "user", "invalid_type", ""),
    ({"temperature": 0}, "temperature", "unknown_parameter", ""),
    ({"model": None}, "model", "missing_required_parameter", ""),
]


@pytest.mark.parametrize("change, param, code, message", BAD, ids=[json.dumps(b[0])[:40] for b in BAD])
def test_bad_requests_are_named(server, change, param, code, message):
    status, document = server.ask("POST", "/v1/embeddings", {"model": MODEL, "input": "a"} | change)
    error = document["error"]
    assert (status, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error" and message in error["message"]


def test_the_client_raises_what_it_should(client):
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="gpt-4o", input="a")
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input="word " * 600)
    assert caught.value.code == "context_length_exceeded"


def test_a_model_whose_hidden_states_are_no_numbers_is_an_error(tmp_path):
    path = tmp_path / "m.gguf"
    n = len(LLAMA_TOKENS)
    row = struct.pack("<32f", 1, *[0] * 31)  # at length sqrt(32), times the weight of the norm
    path.write_bytes(llama(tensors=[("token_embd.weight", "F32", [32, n], row * n),
                                    ("output_norm.weight", "F32", [32], struct.pack("<32f", *[3e38] * 32))]))
    with serving(path) as s:
        status, document = s.ask("POST", "/v1/embeddings", {"model": "m", "input": ["a", "b"]})
        assert status == 500 and "hidden state after 1 tokens is" in document["error"]["message"]
        for ask, given in ((client_of(s).embeddings.create, "input"), (client_of(s).completions.create, "prompt")):
            with pytest.raises(openai.InternalServerError) as caught:
                ask(model="m", **{given: "a"})
            assert caught.value.response.headers["x-should-retry"] == "false"
        wait_until(s.is_idle)


# --- promises

@pytest.mark.parametrize("options", [["--threads", 1], ["--threads", 2, "-b", 16], ["--parallel", 1],
                                     ["--kv-size", "13M", "--parallel", 6], ["--no-prefix-cache"]], ids=str)
def test_the_same_bytes_however_they_are_computed(alone, options):
    with serving("-c", 512, *options) as s:
        assert vectors(s, TEXTS) == alone
        assert vectors(s, TEXTS[::-1]) == alone[::-1]


def test_the_same_bytes_beside_others(server, alone):
    def noise(i):
        return server.post("/v1/chat/completions", {
            "model": MODEL, "max_tokens": 30, "seed": i, "ignore_eos": True,
            "messages": [{"role": "user", "content": TEXTS[i % len(TEXTS)]}]})
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        others = [pool.submit(noise, i) for i in range(6)]
        mine = [pool.submit(vectors, server, TEXTS) for _ in range(4)]
        assert [m.result() for m in mine] == [alone] * 4
        assert all(o.result() for o in others)


def test_a_list_as_long_as_allowed_comes_in_order(server):
    """Twelve different ids, again and again."""
    different = vectors(server, [[i] for i in range(12)])
    assert vectors(server, [[i % 12] for i in range(2048)]) == [different[i % 12] for i in range(2048)]


def test_texts_leave_the_prefix_cache_alone():
    with serving("-c", 512) as s:
        ask = {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": TEXTS[4]}]}
        s.post("/v1/chat/completions", ask)
        wait_until(s.is_idle)
        n = s.metric("puna_kv_pages_cached")
        assert n > 0 and s.metric("puna_prompt_tokens_cached_total") == 0
        vectors(s, TEXTS)
        wait_until(s.is_idle)
        assert s.metric("puna_kv_pages_cached") == n and s.metric("puna_prompt_tokens_cached_total") == 0


def test_who_leaves_is_not_computed_for(server):
    body = json.dumps({"model": MODEL, "input": ["a b c d e f g " * 60] * 2000}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    before = server.metric("puna_prompt_tokens_total")
    with server.connect() as c:
        c.sendall(head + body)
        wait_until(lambda: server.metric("puna_prompt_tokens_total") > before)
    wait_until(server.is_idle)
    n = len(server.post("/tokenize", {"content": "a b c d e f g " * 60})["tokens"])
    assert server.metric("puna_prompt_tokens_total") - before < 1000 * n


def test_shutting_down_is_told_to_who_waits():
    s = Server("--parallel", 1, "-c", 512)
    connection = http.client.HTTPConnection(*s.address, timeout=60)
    connection.request("POST", "/v1/embeddings", json.dumps({"model": MODEL, "input": ["word " * 100] * 3}))
    wait_until(lambda: s.metric("puna_requests_running") > 0)
    code, errors = s.stop()  # what runs is finished
    assert code == 0 and errors in ("", ENDING.format("1 client is", 30))
    answer = connection.getresponse()
    assert (answer.status, len(json.loads(answer.read())["data"])) == (200, 3)


def test_who_waits_too_long_for_the_end_is_told():
    s = Server("--parallel", 1, "-c", 512, "--drain-timeout", 0)
    connection = http.client.HTTPConnection(*s.address, timeout=60)
    connection.request("POST", "/v1/embeddings", json.dumps({"model": MODEL, "input": ["word " * 300] * 1000}))
    wait_until(lambda: s.metric("puna_requests_running") > 0)
    s.stop()
    answer = connection.getresponse()
    assert answer.status == 503 and "shutting down" in json.loads(answer.read())["error"]["message"]


def test_the_log_counts_the_tokens():
    s = Server("--log", "json", "-c", 512)
    embed(s, [[1, 2, 3], [4]])
    s.ask("POST", "/v1/embeddings", {})
    code, text = s.stop()
    entries = [json.loads(line) for line in text.splitlines()]
    assert code == 0 and [(e["path"], e["status"]) for e in entries] == [("/v1/embeddings", n) for n in (200, 400)]
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    assert [entries[0][n] for n in names] == [4, 0, 0] and names[0] not in entries[1]


def test_who_has_no_time_is_refused_at_once(server, client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.embeddings.create(model=MODEL, input=["word " * 300] * 50,
                                 extra_headers={"x-stainless-read-timeout": "0.001"})
    assert "its client waits 0.0" in caught.value.message
    wait_until(server.is_idle)


# --- memory

WIDE = 8192  # as the widest models


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model whose vectors have so many numbers, and no weights."""
    n = len(LLAMA_TOKENS)
    path = tmp_path_factory.mktemp("embeddings") / "m.gguf"
    names = [("attn_norm", [WIDE]), ("ffn_norm", [WIDE]), ("attn_q", [WIDE, 256]), ("attn_k", [WIDE, 256]),
             ("attn_v", [WIDE, 256]), ("attn_output", [256, WIDE]), ("ffn_gate", [WIDE, 32]),
             ("ffn_up", [WIDE, 32]), ("ffn_down", [32, WIDE])]
    tensors = [("token_embd.weight", "F32", [WIDE, n], struct.pack(f"<{WIDE}f", *[1] * WIDE) * n),
               ("output_norm.weight", "F32", [WIDE], struct.pack(f"<{WIDE}f", *[1] * WIDE))]
    path.write_bytes(llama(tensors=tensors + [(f"blk.0.{name}.weight", "F32", dims) for name, dims in names],
                           llama__embedding_length=(U32, WIDE), llama__attention__key_length=(U32, 128),
                           llama__attention__value_length=(U32, 128)))
    return path


def test_the_numbers_of_an_answer_are_bounded(wide):
    """Fewer inputs than usual are taken of such a model, and the numbers are named."""
    with serving(wide) as s:
        status, document = s.ask("POST", "/v1/embeddings", {"model": "m", "input": ["a"] * 1025})
        assert status == 400 and document["error"]["param"] == "input"
        assert "has 1025 elements, at most 1024 are allowed of a model whose embeddings have 8192 numbers" in (
            document["error"]["message"])
        assert s.ask("GET", "/v1/capabilities")[1]["limits"]["inputs"] == 1024
        answer = s.post("/v1/embeddings", {"model": "m", "input": ["a"] * 3, "encoding_format": "base64"})
        (vector,) = {d["embedding"] for d in answer["data"]}
        assert length(struct.unpack(f"<{WIDE}f", base64.b64decode(vector))) == pytest.approx(1, abs=1e-6)


def send(server, document):
    """A socket on which the request was sent, and which takes nearly nothing of the answer by itself."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(PATIENCE_S)
    s.connect(server.address)
    body = json.dumps(document).encode()
    s.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return s


def peak_bytes(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return 1024 * int(re.search(r"^VmHWM:\s*(\d+) kB$", f.read(), re.MULTILINE)[1])


def test_the_numbers_of_all_answers_together_are_bounded(wide):
    """However many clients ask, and none of them reads. What is refused is not computed, and who is let in is
    answered in full. In text the vectors would take three times as much."""
    one = {"model": "m", "input": ["a"] * 1024}
    with serving(wide) as s, contextlib.ExitStack() as stack:
        small = {"model": "m", "input": "a"}
        s.post("/v1/embeddings", small)
        before = peak_bytes(s)
        clients = [stack.enter_context(send(s, one)) for _ in range(4)]
        wait_until(lambda: s.metric("puna_prompt_tokens_total") == 1 + 4 * 1024)
        wait_until(s.is_idle)
        assert peak_bytes(s) - before < 448 << 20
        for _ in range(3):
            with send(s, one) as refused:
                text = refused.recv(10000).decode()
            assert text.startswith("HTTP/1.1 429 ") and "\r\nRetry-After: 1\r\n" in text
            assert "8388608 numbers beside 33554432 of other answers" in text and "at most 33554432" in text
        assert s.ask("POST", "/v1/embeddings", small)[0] == 429
        clients[0].close()
        wait_until(lambda: s.ask("POST", "/v1/embeddings", small)[0] == 200)
        begin_to_read(clients[1])
        answer = http.client.HTTPResponse(clients[1])
        answer.begin()
        data = json.loads(answer.read())["data"]
        assert [d["index"] for d in data] == list(range(1024))
        assert all(len(d["embedding"]) == WIDE and d["embedding"] == data[0]["embedding"] for d in data)
        assert s.post("/v1/embeddings", one)["usage"]["prompt_tokens"] == 1024
        clients[2].shutdown(socket.SHUT_RDWR)


def test_an_answer_that_is_being_read_outlasts_the_signal(wide):
    s = Server(wide)
    with send(s, {"model": "m", "input": ["a"] * 100}) as client:
        wait_until(lambda: s.metric("puna_prompt_tokens_total") == 100)
        s.process.send_signal(signal.SIGTERM)
        begin_to_read(client)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert len(json.loads(answer.read())["data"]) == 100
        assert s.process.wait(60) == 0
    assert s.process.communicate() == ("", ENDING.format("1 client is", 30))
