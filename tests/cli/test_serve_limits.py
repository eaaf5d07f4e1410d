"""Every limit of `puna serve`: what meets it is refused and says so, what stays just below passes, and the server serves
on. Times are compared by what happens first, not by a clock. What a limit says in docs/OPERATIONS.md is held against
--help."""
import contextlib
import json
import os
import pathlib
import re
import select
import socket
import subprocess
import time

import pytest

from gguf_file import LLAMA_TOKENS, STRING, U32, llama
from puna_server import NO_STORE, PATIENCE_S, PUNA, begin_to_read, serving, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
TIMEOUT_S = 5  # of each kind; what must be faster takes a fifth of it
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A model of no weight: all of its tokens are equally probable, and it never ends by itself."""
    path = tmp_path_factory.mktemp("limits") / "quick.gguf"
    path.write_bytes(llama(llama__context_length=(U32, 32768)))
    return path


def head_of(method, path, n_body=None, *fields):
    length = [] if n_body is None else [f"Content-Length: {n_body}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *length, *fields, "", ""]).encode()


def post(path, document, *fields):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return head_of("POST", path, len(body), *fields) + body


def read_all(s):
    """To the end of the connection; one that is reset ends too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            data += piece
    return data


def send(server, data):
    """Of a connection of its own: status and document (or text), as http.client would have them."""
    with server.connect() as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n", 1))
        return answer_of(read_all(s))


def answer_of(data):
    head, _, text = data.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 "), data
    return int(head.split()[1]), json.loads(text) if "application/json" in head else text


def assert_refused(answer, status, *texts, code=None, param=None):
    assert answer[0] == status, answer
    error = answer[1]["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert all(text in error["message"] for text in texts), error


def is_well(server):
    return server.ask("GET", "/health")[0] == 200


# --- connections

def test_connections_in_all(quick):
    with serving("--max-connections", 3, "--max-connections-per-address", 3, quick) as s, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(s.connect()) for _ in range(3)]
        for c in clients:
            c.sendall(HEALTH)
            assert c.recv(1000).startswith(b"HTTP/1.1 200 ")
        with s.connect() as c:
            c.sendall(HEALTH)
            data = read_all(c)
            assert_refused(answer_of(data), 503, "too many connections: 3 at once", code="server_is_overloaded")
            assert b"Retry-After: 1\r\n" in data
        clients[0].sendall(HEALTH)
        assert clients[0].recv(1000).startswith(b"HTTP/1.1 200 ")
        clients[1].close()
        wait_until(lambda: send(s, HEALTH)[0] == 200)


@pytest.mark.parametrize("args, most", [(["--max-connections-per-address", 2], 2), (["--max-connections", 6], 3)])
def test_connections_of_an_address(quick, args, most):
    """By default it may have half of them."""
    with serving(*args, quick) as s, contextlib.ExitStack() as stack:
        for _ in range(most):
            c = stack.enter_context(s.connect())
            c.sendall(HEALTH)
            assert c.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert_refused(send(s, HEALTH), 503, f"from one address: {most} at once", code="server_is_overloaded")
        other = stack.enter_context(socket.create_connection(s.address, PATIENCE_S, source_address=("127.0.0.2", 0)))
        other.sendall(HEALTH)
        assert other.recv(1000).startswith(b"HTTP/1.1 200 ")
        c.close()
        wait_until(lambda: send(s, HEALTH)[0] == 200)


# --- bytes

@pytest.fixture(scope="module")
def narrow(quick):
    with serving("--max-header", "1K", "--max-body", "1K", "--max-answer", "64K", "-c", 8192, quick) as s:
        yield s


def test_bytes_of_a_header(narrow):
    def padded(n):
        head = head_of("GET", "/health", None, "Connection: close", "X: ")
        return head[:-4] + b"x" * (n - len(head)) + head[-4:]
    for n in (1024, 1025):
        with narrow.connect() as s:
            s.sendall(padded(n))
            answer = answer_of(read_all(s))
        if n == 1024:
            assert answer[0] == 200
        else:
            assert_refused(answer, 431, "header fields are too large: 1024 bytes")
    assert_refused(send(narrow, head_of("GET", "/" + "x" * 2000)), 414, "request line is too long: 1024 bytes")
    assert is_well(narrow)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_bytes_of_a_body(narrow, is_chunked):
    def padded(n):
        body = b'{"content":"a"' + b" " * (n - 15) + b"}"
        if not is_chunked:
            return post("/tokenize", body)
        head = head_of("POST", "/tokenize", None, "Transfer-Encoding: chunked")
        return head + b"200\r\n" + body[:512] + b"\r\n%x\r\n" % (n - 512) + body[512:] + b"\r\n0\r\n\r\n"
    assert send(narrow, padded(1024)) == (200, {"tokens": [ord("a") - 33]})
    assert_refused(send(narrow, padded(1025)), 413, "the body is too large: 1024 bytes at most")
    assert is_well(narrow)


def test_bytes_of_all_bodies(narrow):
    """Of 16 as long as one may be."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(narrow.connect()) for _ in range(16)]
        for c in clients:
            c.sendall(post("/tokenize", b'{"content":"a"' + b" " * 985 + b"}")[:-1])
            assert is_well(narrow)  # what was sent before is read
        small = post("/tokenize", {"content": "a"})
        assert_refused(send(narrow, small), 503, "too much memory: 16384 bytes at most", code="server_is_overloaded")
        for c in clients:
            c.sendall(b"}")
            assert c.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert send(narrow, small)[0] == 200


# --- an answer in memory

def test_bytes_of_an_answer_without_stream(narrow):
    """Before it is computed, by the 16 bytes that a token takes at most, or so."""
    request = {"model": "quick", "prompt": "a", "max_tokens": 4097}
    assert_refused(narrow.ask("POST", "/v1/completions", request), 400, "65552 bytes", "65536", code="invalid_value",
                   param="max_tokens")
    assert narrow.post("/v1/completions", request | {"max_tokens": 4096})["usage"]["completion_tokens"] == 4096
    assert narrow.ask("POST", "/v1/completions", request | {"stream": True})[1].endswith("data: [DONE]\n\n")


def test_bytes_of_an_answer_count_what_best_of_chooses_from(narrow):
    request = {"model": "quick", "prompt": "a", "best_of": 4, "max_tokens": 1025}
    assert_refused(narrow.ask("POST", "/v1/completions", request), 400, "65600 bytes", code="invalid_value", param="max_tokens")
    assert narrow.post("/v1/completions", request | {"max_tokens": 1024})["usage"]["completion_tokens"] == 4096


def test_best_of_keeps_no_logprobs_that_nobody_asked_for(quick):
    def most_kilobytes():
        text = pathlib.Path(f"/proc/{s.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)[1])
    with serving("-c", 4096, "--parallel", 16, quick) as s:
        request = {"model": "quick", "prompt": "a", "n": 16, "max_tokens": 2000}
        s.post("/v1/completions", request)
        before = most_kilobytes()
        s.post("/v1/completions", request | {"n": 1, "best_of": 16})
        assert most_kilobytes() < before + 11000  # what the entries of all tokens take


def test_bytes_of_an_answer_of_tokens(quick):
    with serving("--max-answer", "64K", quick) as s:
        status, document = s.ask("POST", "/tokenize", {"content": "z" * 21000})  # three bytes each
        assert (status, len(document["tokens"])) == (200, 21000)
        answer = s.ask("POST", "/tokenize", {"content": "z" * 22000})
        assert_refused(answer, 400, "more than 65536 bytes", code="invalid_value", param="content")
        assert is_well(s)


def test_bytes_of_an_answer_whose_tokens_are_longer_than_most(tmp_path):
    """That is seen when it was computed."""
    path = tmp_path / "long.gguf"
    path.write_bytes(llama(llama__context_length=(U32, 8192), ggml__tokens=(STRING, [c * 64 for c in LLAMA_TOKENS])))
    with serving("--max-answer", "64K", path) as s:
        request = {"model": "long", "prompt": [5], "max_tokens": 1100}
        answer = s.ask("POST", "/v1/completions", request)
        assert_refused(answer, 400, "the answer takes more than 65536 bytes", code="invalid_value")
        assert len(s.post("/v1/completions", request | {"max_tokens": 900})["choices"][0]["text"]) == 57600
        assert s.ask("POST", "/v1/completions", request | {"stream": True})[1].endswith("data: [DONE]\n\n")


def start(server, document, key=None):
    """Sends, and has little room for what comes."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(PATIENCE_S)
    s.connect(server.address)
    s.sendall(post("/v1/completions", document, *([] if key is None else [f"Authorization: Bearer {key}"]),
                   "Connection: close"))
    return s


# Megabytes, if somebody read them.
ENDLESS = {"model": "quick", "prompt": "a", "max_tokens": 30000, "logprobs": 5, "stream": True}


def test_bytes_of_a_stream_in_memory(quick):
    """Below the limit all of it is there when its client comes to read. What is written though there is no more room is
    a unit test's: a server that waits for readers does not come so far."""
    def echo(n):
        return ENDLESS | {"logprobs": None, "echo": True, "prompt": ["a" * n] * 2, "n": 16, "max_tokens": 1}
    with serving("--max-output", "1M", "--write-timeout", 600, "-c", 32768, "--parallel", 32, quick) as s:
        with start(s, echo(30000)) as c:
            wait_until(lambda: s.metric("puna_generation_tokens_total") == 32 and s.is_idle())
            begin_to_read(c)
            data = read_all(c)
            assert data.startswith(b"HTTP/1.1 200 ") and b"data: [DONE]" in data and 960000 < len(data) < 1 << 20
        assert_refused(s.ask("POST", "/v1/completions", echo(32000)), 400, "1056768 bytes", "1048576", code="invalid_value",
                       param="echo")
        quotes = echo(16000) | {"prompt": ['"' * 16000] * 2}  # two bytes each
        assert_refused(s.ask("POST", "/v1/completions", quotes), 400, "1056768 bytes", code="invalid_value", param="echo")
        assert is_well(s)


# --- times

@pytest.fixture(scope="module")
def hasty(quick):
    with serving("--header-timeout", TIMEOUT_S, "--body-timeout", TIMEOUT_S, quick) as s:
        yield s


@pytest.fixture(scope="module")
def idle(quick):
    """Its time of a header is long, but less than the defaults of the other two."""
    with serving("--header-timeout", 4 * TIMEOUT_S, "--idle-timeout", TIMEOUT_S, "--write-timeout", TIMEOUT_S, "-c", 32768,
                 quick) as s:
        yield s


@contextlib.contextmanager
def before_a_header_is_late(server):
    with server.connect() as witness:
        witness.sendall(HEALTH[:10])
        yield
        assert not is_readable(witness, 0)


def is_readable(s, seconds):
    return bool(select.select([s], [], [], seconds)[0])


def test_time_of_a_header(hasty):
    with hasty.connect() as stalled, hasty.connect() as slow:
        for s in (stalled, slow):
            s.sendall(HEALTH[:10])
        time.sleep(TIMEOUT_S / 5)
        slow.sendall(HEALTH[10:])
        assert slow.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert_refused(answer_of(read_all(stalled)), 408, f"head did not come in time: {TIMEOUT_S} seconds at most")
    assert is_well(hasty)


def test_time_of_a_body(hasty):
    """A body that comes piece by piece may take longer than the time of a piece: it begins before one that stalls, and
    ends after that was refused."""
    head = head_of("POST", "/tokenize", None, "Transfer-Encoding: chunked", "Connection: close")
    piece = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
    with hasty.connect() as slow, hasty.connect() as stalled:
        slow.sendall(head + b'E\r\n{"content":"a"\r\n')
        time.sleep(0.1)
        stalled.sendall(head + b'E\r\n{"content":"a"\r\n')
        while not is_readable(stalled, TIMEOUT_S / 10):
            slow.sendall(piece)
        assert_refused(answer_of(read_all(stalled)), 408, f"body did not come in time: {TIMEOUT_S} seconds for every 256 KiB")
        slow.sendall(b"1\r\n}\r\n0\r\n\r\n")
        assert answer_of(read_all(slow)) == (200, {"tokens": [ord("a") - 33]})


def test_time_between_requests(idle):
    with before_a_header_is_late(idle), idle.connect() as left, idle.connect() as busy:
        for s in (left, busy):
            s.sendall(HEALTH)
            assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
        while not is_readable(left, TIMEOUT_S / 10):
            busy.sendall(HEALTH)
            assert busy.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert left.recv(1000) == b""
        busy.sendall(HEALTH)
        assert busy.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_time_of_a_reader(idle):
    """Who takes a little now and then gets everything, long after one who takes nothing was left."""
    with start(idle, ENDLESS | {"max_tokens": 8000}) as slow:
        data = slow.recv(2048)
        with before_a_header_is_late(idle), start(idle, ENDLESS) as stalled:
            wait_until(lambda: idle.metric("puna_requests_running") == 2)
            while idle.metric("puna_requests_running") == 2:
                data += slow.recv(2048)
                time.sleep(0.05)
            assert idle.metric("puna_requests_running") == 1
            assert b"[DONE]" not in read_all(stalled)
        begin_to_read(slow)
        data += read_all(slow)
    assert data.startswith(b"HTTP/1.1 200 ") and b"data: [DONE]" in data
    wait_until(idle.is_idle)


# --- the queue

def waiting(stack, server, key=None):
    s = stack.enter_context(start(server, ENDLESS | {"max_tokens": 2}, key))
    assert s.recv(15) == b"HTTP/1.1 200 OK"
    return s


def held(stack, server, key=None):
    """A stream that has the only place for as long as it is open, as it is not read."""
    s = stack.enter_context(start(server, ENDLESS, key))
    wait_until(lambda: server.metric("puna_requests_running") == 1 and server.metric("puna_generation_tokens_total") > 0)
    return s


def test_requests_that_wait(quick):
    with serving("--queue", 2, "--parallel", 1, "--write-timeout", 600, "-c", 32768, quick) as s, contextlib.ExitStack() as stack:
        place = held(stack, s)
        others = [waiting(stack, s) for _ in range(2)]
        for stream in (True, False):
            answer = s.ask("POST", "/v1/completions", ENDLESS | {"stream": stream, "max_tokens": 2})
            assert_refused(answer, 429, "2 requests are waiting already", code="rate_limit_exceeded")
        place.close()
        assert all(b"data: [DONE]" in read_all(other) for other in others)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


def add_key(store, *args):
    done = subprocess.run([PUNA, "keys", "--store", store, "add", *args], capture_output=True, text=True,
                          env=os.environ | NO_STORE, timeout=PATIENCE_S, check=True)
    return done.stdout.strip()


@contextlib.contextmanager
def guarded(store, *args):
    """With one place; its metrics are asked for with a key of their own."""
    key = add_key(store, "--scope", "metrics")
    with serving("--store", store, "--parallel", 1, "--write-timeout", 600, "-c", 32768, *args) as s:
        s.metric = lambda name: float(re.search(rf"^{name} (\S+)$", s.ask("GET", "/metrics", key=key)[1], re.MULTILINE)[1])
        yield s


def test_requests_of_a_key_that_wait(quick, store):
    """Requests of another key have their part of the queue all the same."""
    one, other = add_key(store), add_key(store)
    with guarded(store, "--queue", 3, "--queue-per-key", 2, quick) as s, contextlib.ExitStack() as stack:
        place = held(stack, s, one)
        streams = [waiting(stack, s, one) for _ in range(2)]
        short = ENDLESS | {"max_tokens": 2}
        assert_refused(s.ask("POST", "/v1/completions", short, key=one), 429, "2 requests of this key are waiting already",
                       code="rate_limit_exceeded")
        streams.append(waiting(stack, s, other))
        assert_refused(s.ask("POST", "/v1/completions", short, key=other), 429, "3 requests are waiting already",
                       code="rate_limit_exceeded")
        place.close()
        assert all(b"data: [DONE]" in read_all(stream) for stream in streams)
        assert s.ask("POST", "/v1/completions", short, key=one)[1].endswith("data: [DONE]\n\n")


def test_keys_that_fill_the_queue_make_room_for_others(quick, store):
    """The newest of them is refused as if it came now: by its status, or within a stream that has one already."""
    one, two, third, fourth = (add_key(store) for _ in range(4))
    short, text = ENDLESS | {"max_tokens": 2}, "4 requests are waiting already, the most that may"
    with guarded(store, "--queue", 4, quick) as s, contextlib.ExitStack() as stack:
        place = held(stack, s, one)
        streams = [waiting(stack, s, one), waiting(stack, s, two)]
        newest_stream = waiting(stack, s, one)
        newest = stack.enter_context(start(s, short | {"stream": False}, two))
        wait_until(lambda: s.metric("puna_requests_waiting") == 4)
        streams.append(waiting(stack, s, third))
        data = read_all(newest)
        assert_refused(answer_of(data), 429, text, code="rate_limit_exceeded")
        assert 1 <= int(re.search(rb"\r\nRetry-After: (\d+)\r\n", data)[1]) <= 60
        assert s.metric("puna_requests_waiting") == 4
        assert_refused(s.ask("POST", "/v1/completions", short, key=third), 429, text, code="rate_limit_exceeded")
        streams.append(waiting(stack, s, fourth))
        data = read_all(newest_stream).decode()
        assert text in data and '"rate_limit_exceeded"' in data and "[DONE]" not in data and '"text"' not in data
        place.close()
        assert all(b"data: [DONE]" in read_all(stream) for stream in streams)
        wait_until(lambda: s.metric("puna_requests_running") == s.metric("puna_requests_waiting") == 0)


def test_keys_of_a_low_class_that_fill_the_queue_make_room_for_better_ones(quick, store):
    low, other, high, normal, last = (add_key(store, "--priority", c) for c in ("low", "low", "high", "normal", "low"))
    short, text = ENDLESS | {"max_tokens": 2}, "2 requests are waiting already, the most that may"
    with guarded(store, "--queue", 2, "--queue-per-key", 2, quick) as s, contextlib.ExitStack() as stack:
        place = held(stack, s, low)
        displaced = [waiting(stack, s, low), waiting(stack, s, other)]
        streams = []
        for key, stream in ((high, displaced[1]), (normal, displaced[0])):
            streams.append(waiting(stack, s, key))
            assert text.encode() in read_all(stream)
        for key in (low, last, normal):
            assert_refused(s.ask("POST", "/v1/completions", short, key=key), 429, text, code="rate_limit_exceeded")
        place.close()
        assert all(b"data: [DONE]" in read_all(stream) for stream in streams)
        wait_until(lambda: s.metric("puna_requests_running") == s.metric("puna_requests_waiting") == 0)


# --- what a request may have

N_CTX = 96
LIMITS = {"max-json-depth": 5, "max-json-objects": 24, "max-json-values": 96, "max-schema-values": 48, "max-messages": 6, "max-tokens": 20,
          "max-stop": 6, "max-logit-bias": 8, "max-n": 3}


@pytest.fixture(scope="module")
def strict():
    options = [x for name, n in LIMITS.items() for x in (f"--{name}", n)]
    with serving(*options, "-c", N_CTX, "--parallel", 4, TINY) as s:
        yield s


def chat(n_messages=1, **more):
    return {"model": "tiny", "messages": [{"role": "user", "content": ""}] * n_messages, "max_tokens": 1} | more


def text(**more):
    return {"model": "tiny", "prompt": [5], "max_tokens": 1} | more


def of_parts(*texts):
    return chat(messages=[{"role": "user", "content": [{"type": "text", "text": t} for t in texts]}])


def of_values(n):
    """Elements and members: as many as brackets that open, and commas, in a text that has neither."""
    def count(document):
        return sum(json.dumps(document).count(c) for c in "[{,")
    return text(prompt=[5] * (n - count(text()) + 1))


def of_enum(n):
    """Values as above, but for those of the prompt, of which there are more."""
    def request(n_values):
        return text(prompt=[5] * 40, stop="},{", response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {
            "enum": list(range(n_values))}}})
    counted = json.dumps(request(1) | {"prompt": 0, "stop": ""})
    return request(n + 1 - sum(counted.count(c) for c in "[{,"))


# name: what is just below, what is beyond, and what the refusal says: status 400, code, param, numbers
REQUESTS = {
    "depth": (of_parts("a"), of_parts(["a"]), None, None, "nests 6", "at most 5"),
    "objects": (of_parts(*["a"] * 20), of_parts(*["a"] * 21), None, None, "25 arrays and objects", "at most 24"),
    "values": (of_values(96), of_values(97), None, None, "97 elements and members", "at most 96"),
    "values of a schema": (of_enum(48), of_enum(49), None, None, "49 elements and members beside its texts and tokens", "at most 48"),
    "messages": (chat(6), chat(7), "invalid_value", "messages", "7 elements", "1 to 6"),
    "tokens": (text(max_tokens=20), text(max_tokens=21), "invalid_value", "max_tokens", "21", "this server allows 20"),
    "tokens of a chat": (chat(max_tokens=20), chat(max_tokens=21), "invalid_value", "max_tokens", "21", "allows 20"),
    "tokens, by the newer name": (chat(max_tokens=None, max_completion_tokens=20),
                                  chat(max_tokens=None, max_completion_tokens=21), "invalid_value",
                                  "max_completion_tokens", "21", "allows 20"),
    "least tokens": (chat(max_tokens=None, min_tokens=20), chat(max_tokens=None, min_tokens=21), "invalid_value",
                     "min_tokens", "21", "20 tokens at most"),
    "context": (text(prompt=[5] * (N_CTX - 1)), text(prompt=[5] * N_CTX), "context_length_exceeded", "prompt", f"{N_CTX} tokens"),
    "stop": (text(stop=list("abcdef")), text(stop=list("abcdefg")), "invalid_value", "stop", "7 elements", "0 to 6"),
    "logit_bias": (text(logit_bias={str(i): 1 for i in range(8)}), text(logit_bias={str(i): 1 for i in range(9)}),
                   "invalid_value", "logit_bias", "9 entries", "at most 8"),
    "n": (text(n=3), text(n=4), "invalid_value", "n", "is 4", "1 to 3"),
    "best_of": (text(best_of=3), text(best_of=4), "invalid_value", "best_of", "is 4", "1 to 3"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_a_request_may_have(strict, name):
    below, beyond, code, param, *texts = REQUESTS[name]
    if name == "context":  # of which values are no part
        with serving("-c", N_CTX, TINY) as s:
            assert s.ask("POST", "/v1/completions", below)[0] == 200
            assert_refused(s.ask("POST", "/v1/completions", beyond), 400, *texts, code=code, param=param)
            assert s.ask("POST", "/v1/completions", below)[0] == 200
        return
    path = "/v1/chat/completions" if "messages" in below else "/v1/completions"
    for _ in range(2):
        status, document = strict.ask("POST", path, below)
        assert status == 200, document
        for stream in (False, True):
            answer = strict.ask("POST", path, beyond if not stream or name.startswith("values") else beyond | {"stream": True})
            assert_refused(answer, 400, *texts, code=code, param=param)


def test_an_answer_whose_length_is_open_has_as_many_tokens_as_it_may(strict):
    """Or as the context has room for."""
    usage = strict.post("/v1/chat/completions", chat(max_tokens=None, ignore_eos=True))
    assert (usage["usage"]["completion_tokens"], usage["choices"][0]["finish_reason"]) == (20, "length")
    with serving("--max-tokens", 20, "-c", N_CTX, TINY) as s:
        request = chat(max_tokens=None, ignore_eos=True)
        n_around = s.post("/v1/chat/completions", request)["usage"]["prompt_tokens"]
        text = [t for t in ("a" * n for n in range(1, 200))
                if n_around + len(s.post("/tokenize", {"content": t})["tokens"]) == N_CTX - 7][0]
        usage = s.post("/v1/chat/completions", request | {"messages": [{"role": "user", "content": text}]})["usage"]
        assert usage["prompt_tokens"] + usage["completion_tokens"] == N_CTX and usage["completion_tokens"] < 20
        few = s.post("/v1/completions", {"model": "tiny", "prompt": "a", "ignore_eos": True})
        assert few["usage"]["completion_tokens"] == 16
    with serving("--max-tokens", 3, TINY) as s:
        assert s.post("/v1/completions", {"model": "tiny", "prompt": "a", "ignore_eos": True})["usage"]["completion_tokens"] == 3


def test_limits_can_be_raised_to_what_help_says():
    most = {"max-json-depth": 1024, "max-messages": 65536, "max-stop": 16, "max-logit-bias": 1024, "max-n": 128}
    with serving(*[x for name, n in most.items() for x in (f"--{name}", n)], "--parallel", 8, TINY) as s:
        assert len(s.post("/v1/completions", text(n=128))["choices"]) == 128
        assert s.post("/v1/completions", text(stop=[chr(65 + i) for i in range(16)]))
        assert s.ask("POST", "/v1/chat/completions", chat(5000))[1]["error"]["code"] == "context_length_exceeded"
        deep = json.dumps(text()).replace("[5]", "[" * 1023 + "]" * 1023)
        assert_refused(s.ask("POST", "/v1/completions", deep), 400, "prompt", code="invalid_type", param="prompt[0][0]")
        assert_refused(s.ask("POST", "/v1/completions", deep.replace("[[", "[[[").replace("]]", "]]]")), 400, "at most 1024")


def test_clients_can_ask_what_the_limits_are(strict):
    told = strict.ask("GET", "/v1/capabilities")[1]["limits"]
    assert {name: told[name] for name in ("json_depth", "json_objects", "json_values", "schema_values", "schema_bytes", "messages", "max_tokens",
                                          "stop", "logit_bias", "n", "context_length", "body_bytes", "answer_bytes")} == {
        "json_depth": 5, "json_objects": 24, "json_values": 96, "schema_values": 48, "schema_bytes": 4 << 20, "messages": 6,
        "max_tokens": 20, "stop": 6, "logit_bias": 8, "n": 3, "context_length": N_CTX, "body_bytes": 16 << 20, "answer_bytes": 64 << 20}


def test_the_description_of_the_api_has_every_limit(strict):
    answer = strict.ask("GET", "/openapi.json")[1]["paths"]["/v1/capabilities"]["get"]["responses"]["200"]
    described = answer["content"]["application/json"]["schema"]["properties"]["limits"]["properties"]
    assert described.keys() == strict.ask("GET", "/v1/capabilities")[1]["limits"].keys()


# --- options

@pytest.mark.parametrize("args, message", [
    (["--max-connections", "0"], "option --max-connections: '0' is not a whole number from 1 to 65536"),
    (["--max-connections-per-address", "5", "--max-connections", "4"],
     "option --max-connections-per-address: 5 is more than the 4 of --max-connections"),
    (["--max-header", "1023"], "option --max-header: '1023' is not from 1K to 1M"),
    (["--max-header", "2M"], "option --max-header: '2M' is not from 1K to 1M"),
    (["--max-body", "1023"], "option --max-body: '1023' is not from 1K to 4G"),
    (["--max-body", "5G"], "option --max-body: '5G' is not from 1K to 4G"), (["--max-body", "x"], "option --max-body: 'x' is no"),
    (["--max-output", "1023K"], "option --max-output: '1023K' is not from 1M to 1G"),
    (["--max-answer", "2G"], "option --max-answer: '2G' is not from 64K to 1G"),
    (["--header-timeout", "0"], "option --header-timeout: '0' is not a whole number from 1 to 86400"),
    (["--body-timeout", "0"], "option --body-timeout: '0' is not"), (["--idle-timeout", "0"], "option --idle-timeout: '0' is not"),
    (["--write-timeout", "86401"], "option --write-timeout: '86401' is not"),
    (["--queue", "0"], "option --queue: '0' is not"), (["--queue-per-key", "65"], "option --queue-per-key: 65 is more than the 64 of --queue"),
    (["--max-json-depth", "1025"], "option --max-json-depth: '1025' is not a whole number from 4 to 1024"),
    (["--max-json-objects", "3"], "option --max-json-objects: '3' is not"), (["--max-json-values", "15"], "option --max-json-values: '15' is not"),
    (["--max-schema-values", "15"], "option --max-schema-values: '15' is not"),
    (["--max-schema-values", "97", "--max-json-values", "96"], "option --max-schema-values: 97 is more than the 96 of --max-json-values"),
    (["--max-messages", "65537"], "option --max-messages: '65537' is not"), (["--max-tokens", "0"], "option --max-tokens: '0' is not"),
    (["--max-stop", "17"], "option --max-stop: '17' is not a whole number from 1 to 16"),
    (["--max-logit-bias", "1025"], "option --max-logit-bias: '1025' is not a whole number from 0 to 1024"),
    (["--max-n", "129"], "option --max-n: '129' is not a whole number from 1 to 128"),
])
def test_bad_options_are_named(quick, args, message):
    done = subprocess.run([PUNA, "serve", *args, quick], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2 and done.stderr.startswith(f"puna serve: {message}") and done.stderr.count("\n") == 1


def test_the_page_has_every_limit_and_its_default():
    """docs/OPERATIONS.md."""
    text = subprocess.run([PUNA, "serve", "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    part = re.search(r"\nLimits of clients and their requests:\n(.*?)\n\n", text, re.DOTALL)[1]
    options = dict(re.findall(r"^ +--([\w-]+)=[^(]*\(default: ([^)]*)\)", part, re.MULTILINE))
    page = (ROOT / "docs/OPERATIONS.md").read_text()
    rows = dict(re.findall(r"^\| [^|]+ \| `--([\w-]+)` \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE))
    assert rows == options and len(options) == len(re.findall(r"^ +--", part, re.MULTILINE))
