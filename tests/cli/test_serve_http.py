"""`puna serve` as a socket meets it: the HTTP it speaks, its limits, CORS, signals. The models' part
of the API is another file's. What needs a handler of its own is in tests/unit/test_http.c."""
import contextlib
import json
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import time

import pytest

from gguf_file import llama
from puna_server import PUNA, Server, wait_until

ALIAS = "meta-llama/llama-3.3-70b-instruct"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "small.gguf"
    path.write_bytes(llama())
    return path


@pytest.fixture(scope="module")
def server(model):
    s = Server("--alias", ALIAS, "--alias", "x", model)
    yield s
    assert s.stop() == (0, "")


class Answer:
    def __init__(self, data):
        head, _, self.rest = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.fields = {}
        for field in fields:
            name, _, value = field.partition(": ")
            self.fields.setdefault(name.lower(), value)
        n = int(self.fields.get("content-length", 0))
        self.body, self.rest = self.rest[:n], self.rest[n:]

    @property
    def error(self):
        assert self.fields["content-type"] == "application/json"
        document = json.loads(self.body)
        assert list(document) == ["error"]
        assert set(document["error"]) == {"message", "type", "param", "code"}
        return document["error"]


def read_all(s):
    """To the end of the connection; one that is reset ends too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            data += piece
    return data


def request(method="GET", path="/health", *fields, version="HTTP/1.1", body=b"", close=True):
    lines = [f"{method} {path} {version}", "Host: a", *fields, *(["Connection: close"] if close else [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def send(server, data):
    """Sends, reads until the server closes: a list of answers."""
    with server.connect() as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data)
        rest, answers = read_all(s), []
    while rest:
        answers.append(Answer(rest))
        rest = answers[-1].rest
    return answers


def ask(server, *args, **options):
    answers = send(server, request(*args, **options))
    assert len(answers) == 1
    return answers[0]


# --- what is there

def test_the_line_names_the_address(server):
    assert server.line.startswith("listening on http://127.0.0.1:")


def test_health_and_ready(server):
    assert (ask(server).status, json.loads(ask(server).body)) == (200, {"status": "ok"})
    assert ask(server, path="/ready").status == 200
    assert b"Puna" in ask(server, path="/").body


@pytest.mark.parametrize("prefix", ["/v1", "/v3/openai", "/openai/v1"])
def test_models_have_the_files_name_and_the_aliases(server, model, prefix):
    document = json.loads(ask(server, path=f"{prefix}/models").body)
    created = int(model.stat().st_mtime)
    expected = [{"id": name, "object": "model", "created": created, "owned_by": "puna"}
                for name in ("small", ALIAS, "x")]
    assert document == {"object": "list", "data": expected}
    for entry in expected:
        for path in (entry["id"], entry["id"].replace("/", "%2F"), entry["id"] + "?"):
            assert json.loads(ask(server, path=f"{prefix}/models/{path}").body) == entry
    answer = ask(server, path=f"{prefix}/models/no/such%22")
    assert answer.status == 404
    assert answer.error == {"message": "The model 'no/such\"' does not exist; this server has 'small' "
                                       "(all its names: /v1/models)", "param": "model",
                            "type": "invalid_request_error", "code": "model_not_found"}


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v2/models", "/models", "/v1/models/", "//", "/v1/health"])
def test_unknown_addresses_are_404(server, path):
    for method in ("GET", "POST", "DELETE", "OPTIONS", "BREW"):
        answer = ask(server, method, path)
        assert answer.status == 404
        assert answer.error["code"] == "unknown_url" and f"{method} {path}" in answer.error["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "get", "TRACE"])
def test_a_wrong_method_is_405_and_says_the_right_ones(server, method):
    answer = ask(server, method, "/v1/models")
    assert (answer.status, answer.fields["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert answer.error["code"] == "method_not_supported"


@pytest.mark.parametrize("query, name", [
    ("api-version=2024-10-21", "api-version"), ("a=b&c", "a"), ("&&limit", "limit"), ("a%5Bb%5D+c=1", "a[b] c"), ("%zz", "%zz"),
    ("%C3%A9=", "\xe9"), ("%FF", "\ufffd"), ("a%22%5C%0A", 'a"\\\n'), ("=1", None), ("a" * 999, "a" * 127), ("?", "?")])
def test_a_query_is_refused_by_its_name(server, query, name):
    for method, path in (("GET", "/health"), ("GET", "/"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/v1/models"),
                         ("GET", "/v3/openai/models/x"), ("POST", "/v1/chat/completions"), ("POST", "/openai/v1/embeddings"),
                         ("POST", "/tokenize")):
        answer = ask(server, method, f"{path}?{query}")
        assert answer.status == 400
        assert answer.error == {"message": f"'{name or ''}' is no known query parameter: this address takes none",
                                "type": "invalid_request_error", "param": name, "code": "unknown_parameter"}
    head = ask(server, "HEAD", f"/health?{query}")
    assert (head.status, head.body) == (400, b"")


def test_a_query_of_no_parameter_is_none(server):
    for query in ("?", "?&", "?&&"):
        assert ask(server, path="/health" + query).status == 200
    assert ask(server, path="/nope?a").error["code"] == "unknown_url"
    assert ask(server, "DELETE", "/health?a").status == 405
    assert ask(server, "OPTIONS", "/health?a").status == 204


def test_a_query_is_refused_before_the_body_is_read(server):
    answers = send(server, request("POST", "/v1/completions?a=b", "Content-Length: 1000000", "Expect: 100-continue", close=False))
    assert [a.status for a in answers] == [400] and answers[0].fields["connection"] == "close"


def test_head_and_options(server):
    get, head = ask(server, path="/v1/models"), ask(server, "HEAD", "/v1/models")
    assert (head.status, head.body) == (200, b"")
    assert head.fields["content-length"] == get.fields["content-length"]
    missing = ask(server, "HEAD", "/nope")
    assert (missing.status, missing.body) == (404, b"")
    for path in ("/health", "*"):
        options = ask(server, "OPTIONS", path)
        assert options.status == 204 and "GET" in options.fields["allow"]
        assert "content-length" not in options.fields


# --- fields of every answer

EVERY_KIND = [request(), request(path="/nope"), request("POST"), request("OPTIONS"), request("HEAD"),
              b"nonsense\r\n\r\n", request(path="/" + "a" * 9000), request("POST", "/", "Content-Length: 99999999999"),
              request("OPTIONS", "/x", "Origin: https://a.example", "Access-Control-Request-Method: POST")]


@pytest.mark.parametrize("data", EVERY_KIND)
def test_every_answer_has_its_fields(server, data):
    (first,), (second,) = send(server, data), send(server, data)
    for answer in (first, second):
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.fields["x-request-id"])
        assert re.fullmatch(r"\d+", answer.fields["openai-processing-ms"])
        assert answer.fields["cache-control"] == "no-store"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.fields["date"])
        assert answer.fields["vary"] == "Origin"
    assert first.fields["x-request-id"] != second.fields["x-request-id"]


@pytest.mark.parametrize("name, kept", [("abc-1.2:3/4", True), ("a" * 128, True), ("a" * 129, False), ("a b", False),
                                        ("", False), ("\xe9", False), ('a"b', False)])
def test_a_clients_own_request_id_is_kept_when_it_is_sane(server, name, kept):
    for path in ("/health", "/nope"):
        assert (ask(server, "GET", path, f"X-Request-Id: {name}").fields["x-request-id"] == name) == kept


# --- CORS

PAGE = "https://app.example"
EXPOSED = {"x-request-id", "retry-after", "retry-after-ms", "x-should-retry", "openai-processing-ms",
           *(f"x-ratelimit-{a}-{b}" for a in ("limit", "remaining", "reset") for b in ("requests", "tokens"))}


@pytest.mark.parametrize("method, path", [("GET", "/health"), ("GET", "/nope"), ("POST", "/health"), ("HEAD", "/"),
                                          ("OPTIONS", "/health"), ("GET", "/a%"), ("GET", "/" + "a" * 8195)])
def test_pages_of_any_origin_may_read_any_answer(server, method, path):
    answer = ask(server, method, path, f"Origin: {PAGE}")
    assert answer.fields["access-control-allow-origin"] == PAGE
    assert set(answer.fields["access-control-expose-headers"].split(", ")) == EXPOSED
    assert "access-control-allow-credentials" not in answer.fields
    assert "access-control-allow-origin" not in ask(server, method, path).fields


METHODS = "GET, HEAD, POST, OPTIONS"


def test_only_methods_that_an_address_takes_are_told(server):
    paths = json.loads(ask(server, path="/openapi.json").body)["paths"].values()
    taken = {method.upper() for path in paths for method in path if method != "parameters"}
    assert set(METHODS.split(", ")) == taken | {"HEAD", "OPTIONS"}
    assert ask(server, "OPTIONS", "*").fields["allow"] == METHODS


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/health", "/nope"])
def test_a_preflight_is_204_whatever_it_asks_for(server, path):
    wanted = "authorization,content-type,x-stainless-os"
    ask_for = [f"Origin: {PAGE}", "Access-Control-Request-Method: POST"]
    answer = ask(server, "OPTIONS", path, *ask_for, f"Access-Control-Request-Headers: {wanted}")
    assert (answer.status, answer.body) == (204, b"")
    fields = {name[len("access-control-"):]: value for name, value in answer.fields.items()
              if name.startswith("access-control-")}
    del fields["expose-headers"]
    assert fields == {"allow-origin": PAGE, "allow-methods": METHODS,
                      "allow-headers": wanted, "max-age": "86400"}
    assert answer.fields["vary"] == "Origin"
    private = ask(server, "OPTIONS", path, *ask_for, "Access-Control-Request-Private-Network: true")
    assert private.fields["access-control-allow-private-network"] == "true"
    assert {"authorization", "content-type", "openai-organization", "openai-project", "x-stainless-retry-count"} <= set(
        private.fields["access-control-allow-headers"].split(", "))
    bad = ask(server, "OPTIONS", path, *ask_for, "Access-Control-Request-Headers: a:b")
    assert bad.fields["access-control-allow-headers"] == private.fields["access-control-allow-headers"]


def test_an_origin_that_is_none_is_not_given_back(server):
    for origin in ("a b", "\xe9", "x" * 600, ""):
        assert "access-control-allow-origin" not in ask(server, "GET", "/health", f"Origin: {origin}").fields


# --- messages that are not as they should be

HOST = "GET /health HTTP/1.1\r\nHost: a\r\n"
POST = "POST /health HTTP/1.1\r\nHost: a\r\n"
MALFORMED = {
    "bare line feeds": ("GET /health HTTP/1.1\nHost: a\n\n", 400),
    "bare carriage return": (HOST + "X: a\rb\r\n\r\n", 400),
    "NUL": (HOST + "X: a\0b\r\n\r\n", 400),
    "NUL in the target": ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "%00": ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "%00 in the query": ("GET /?%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "blank before the colon": (HOST + "X : a\r\n\r\n", 400),
    "folded line": (HOST + "X: a\r\n b\r\n\r\n", 400),
    "two hosts": (HOST + "Host: a\r\n\r\n", 400),
    "no host": ("GET /health HTTP/1.1\r\n\r\n", 400),
    "lengths that differ": (POST + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "equal lengths": (POST + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "list of lengths": (POST + "Content-Length: 1,1\r\n\r\na", 400),
    "signed length": (POST + "Content-Length: +1\r\n\r\na", 400),
    "length and coding": (POST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two codings": (POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "other coding": (POST + "Transfer-Encoding: gzip\r\n\r\n", 501),
    "coding in 1.0": ("POST /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no version": ("GET /health\r\n\r\n", 400),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": ("\x16\x03\x01\x02\0\x01", 400),
    "empty lines": ("\r\n\r\n\r\n", 400),
    "bad chunk": (HOST + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    "long chunk": (HOST + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    "long target": (f"GET /{'a' * 8200} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long field": (HOST + f"X: {'a' * 70000}\r\n\r\n", 431),
    "many fields": (HOST + "X: a\r\n" * 101 + "\r\n", 431),
    "large body": (HOST + "Content-Length: 16777217\r\n\r\n", 413),
    "large chunked body": (HOST + "Transfer-Encoding: chunked\r\n\r\n1000001\r\n", 413),
    "compressed body": (HOST + "Content-Length: 3\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", 415),
    "expectation": (HOST + "Content-Length: 1\r\nExpect: wonders\r\n\r\n", 417),
    "CONNECT": ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_and_ends_the_connection(server, name):
    text, status = MALFORMED[name]
    (answer,) = send(server, text.encode("latin-1") + request())
    assert answer.status == status and answer.fields["connection"] == "close"
    assert answer.error["type"] == "invalid_request_error" and answer.error["message"]


@pytest.mark.parametrize("field, coding", [
    ("gzip", "gzip"), ("identity, BR", "BR"), ("Identity", None), ("", None), (",", None)])
def test_a_compressed_body_is_refused_by_name_before_it_is_read(server, field, coding):
    head = request("POST", "/v1/tokenize", f"Content-Encoding: {field}", "Content-Length: 15")
    (answer,) = send(server, head if coding else head + b'{"content":"a"}')
    assert answer.status == (415 if coding else 200)
    assert coding is None or f"'{coding}'" in answer.error["message"] and answer.fields["accept-encoding"] == "identity"


def test_a_coding_of_nothing_is_none(server):
    (answer,) = send(server, request("GET", "/health", "Content-Encoding: gzip"))
    assert answer.status == 200


def test_random_bytes_do_no_harm(server):
    """Requests with a few bytes changed, cut or doubled: an answer or nothing, and the server lives."""
    rng = random.Random(1)
    seeds = [text.encode("latin-1") for text, _ in MALFORMED.values() if len(text) < 300] + [
        request("GET", "/health", "Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"),
        request("GET", "/v1/models/a%2fb?c", "Content-Length: 3", body=b"abc")]
    for _ in range(400):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) + 1)
            action = rng.randrange(4)
            if action == 0:
                data[at:at + 1] = bytes([rng.choice(b"\r\n\0 \t:;%0aA/") if rng.random() < .7 else rng.randrange(256)])
            elif action == 1:
                del data[at:at + rng.randint(1, 8)]
            elif action == 2:
                data[at:at] = data[at:at + rng.randint(1, 30)]
            else:
                data[at:at] = rng.choice((b"\r\n", b"\r\n\r\n", b" ", b"Content-Length: 2\r\n", b"%00"))
        with server.connect() as s:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            answer = read_all(s)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 "), bytes(data)
    assert ask(server).status == 200


# --- connections

def test_a_request_may_come_byte_by_byte(server):
    data = request("GET", "/health", "Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n")
    with server.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            time.sleep(0.0005)
        assert Answer(read_all(s)).status == 200


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(server):
    paths = ["/health", "/nope", "/v1/models/x", "/ready"] * 50
    data = b"".join(request(path=p, close=False) for p in paths) + request(path="/last")
    answers = send(server, data)
    assert [a.status for a in answers] == [200, 404, 200, 200] * 50 + [404]
    assert all("connection" not in a.fields for a in answers[:-1]) and answers[-1].fields["connection"] == "close"
    assert len({a.fields["x-request-id"] for a in answers}) == 201


def test_a_body_that_nobody_wants_does_not_become_a_request(server):
    data = request("GET", "/health", "Content-Length: 40", body=request(path="/nope")[:40], close=False)
    assert [a.status for a in send(server, data + request(path="/ready"))] == [200, 200]
    assert [a.status for a in send(server, request("POST", "/nope", "Content-Length: 40", close=False,
                                                   body=request(path="/x")[:40]) + request())] == [404]


def test_a_client_that_reads_late_gets_everything(server):
    n = 3000
    with server.connect() as s:
        s.settimeout(5)
        data = request(path="/v1/models", close=False) * n + request()
        sent = 0
        with contextlib.suppress(TimeoutError):  # the server does not take more than it may answer
            while sent < len(data):
                sent += s.send(data[sent:sent + 65536])
        received = b""
        while sent < len(data) or b"connection: close" not in received[-2000:].lower():
            readable, writable, _ = select.select([s], [s] if sent < len(data) else [], [], 30)
            assert readable or writable
            if readable:
                piece = s.recv(65536)
                assert piece
                received += piece
            if writable:
                sent += s.send(data[sent:sent + 65536])
        received += read_all(s)
    assert received.count(b"HTTP/1.1 200 OK\r\n") == n + 1


def test_http_1_0_closes_unless_it_is_asked_not_to(server):
    (answer,) = send(server, b"GET /health HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.fields["connection"]) == (200, "close")
    kept = b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answers = send(server, kept + b"GET /ready HTTP/1.0\r\n\r\n")
    assert [a.fields["connection"] for a in answers] == ["keep-alive", "close"]


def test_the_server_says_go_on_when_it_is_asked(server):
    with server.connect() as s:
        s.sendall(request("GET", "/health", "Content-Length: 3", "Expect: 100-continue"))
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"abc")
        assert Answer(read_all(s)).status == 200
    answers = send(server, request("GET", "/health", "Content-Length: 17000000", "Expect: 100-continue"))
    assert [a.status for a in answers] == [413]


def test_a_refusal_reaches_a_client_that_is_still_sending(server):
    body = b"x" * 20_000_000
    (answer,) = send(server, request("GET", "/health", f"Content-Length: {len(body)}", body=body))
    assert answer.status == 413


def test_a_client_that_is_done_sending_is_answered(server):
    with server.connect() as s:
        s.sendall(request(close=False) + request(path="/ready", close=False))
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("data", [b"", b"GET", request(close=False)[:-2], request("GET", "/", "Content-Length: 9"),
                                  request(path="/v1/models", close=False) * 100])
@pytest.mark.parametrize("reset", [False, True])
def test_clients_that_leave_do_no_harm(server, data, reset):
    for _ in range(20):
        with server.connect() as s:
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.sendall(data)
    assert ask(server).status == 200


def n_files(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_a_thousand_idle_connections_disturb_nobody(model):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip(f"this process may open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    # The usual soft limit is the server's to raise.
    server = Server(model, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)))
    before = n_files(server.process)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(1000)]
        for s in idle[::100]:
            s.sendall(request(close=False))
            assert s.recv(65536).startswith(b"HTTP/1.1 200")
        assert ask(server).status == 200
        assert n_files(server.process) >= before + 1000
    wait_until(lambda: n_files(server.process) == before)
    assert server.stop() == (0, "")


def test_the_server_outlives_a_lack_of_files(model):
    server = Server(model, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(60)]
        closed = [s for s in clients[45:] if s.recv(1) == b""]
        assert len(closed) == 15
    wait_until(lambda: [a.status for a in send(server, request())] == [200])
    assert server.stop() == (0, "")


# --- where it listens, and its end

def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6(model):
    server = Server("--host", "::1", model)
    assert server.line.startswith("listening on http://[::1]:")
    assert ask(server).status == 200
    assert server.stop() == (0, "")


def failure(*args):
    done = subprocess.run([PUNA, "serve", *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "" and done.stderr.count("\n") == 1
    return done.returncode, done.stderr


def test_a_port_in_use_is_named(server, model):
    port = server.address[1]
    assert failure("--port", port, model) == (
        4, f"puna serve: cannot listen on 127.0.0.1, port {port}: Address already in use\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_host_that_others_reach_must_be_meant(model, host):
    code, line = failure("--host", host, "--port", "0", model)
    assert code == 2 and f"option --host: host '{host}'" in line and "--no-auth" in line


def test_a_host_that_others_reach_may_be_meant(model):
    server = Server("--host", "0.0.0.0", "--no-auth", model)
    assert ask(server).status == 200
    assert server.stop() == (0, "")


@pytest.mark.parametrize("args, message", [
    (["--port", "65536"], "option --port: '65536' is not a whole number from 0 to 65535"),
    (["--parallel", "0"], "option --parallel: '0' is not"),
    (["--alias", ""], "option --alias: a name must not be empty"),
    (["--alias", b"\xff".decode("latin-1").encode("latin-1")], "is not UTF-8"),
    (["--host", "no.such.invalid"], "host 'no.such.invalid': "),
])
def test_bad_options_are_named(model, args, message):
    done = subprocess.run([PUNA, "serve", *args, model], capture_output=True, timeout=60)
    assert done.returncode != 0 and message.encode() in done.stderr


def test_a_model_that_cannot_be_loaded_is_an_error_not_a_server(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(llama()[:-64])
    code, line = failure("--port", "0", path)
    assert code == 5 and line.count(str(path)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_though_clients_are_connected(model, number):
    server = Server(model)
    with server.connect() as idle, server.connect() as used:
        used.sendall(request(close=False))
        assert used.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.stop(number) == (0, "")
        assert (idle.recv(1), used.recv(1)) == (b"", b"")


def is_refused(server):
    try:
        server.connect().close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed before it accepted
        return True


def test_a_second_signal_does_not_wait(model):
    server = Server(model)
    with server.connect() as s:
        s.sendall(request(close=False) + b"GET /")  # half a request: draining waits for the rest
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: is_refused(server))
        assert server.process.poll() is None
        assert server.stop(signal.SIGINT)[0] == 130
