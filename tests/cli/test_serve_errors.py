"""Every status that `puna serve` can give, provoked through the official Python client: the class of the
exception, its type, code, param and request id, and what it says about coming again. tests/js/errors.test.mjs
is the same for the JavaScript client.

Not given: 409 and 422, as nothing can be in conflict yet. 401 and what else comes of keys is in
tests/cli/test_serve_keys.py. 501 and 505 are for HTTP that no official client speaks:
tests/cli/test_serve_http.py has them."""
import collections
import contextlib
import gzip
import http.client
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import httpx
import openai
import pytest

from gguf_file import LLAMA_TOKENS, U32, llama
from puna_server import PATIENCE_S, PUNA, Server, serving, wait_until

MODEL = "small"
N_CTX = 8192
OWN_ID = "mine-1"
TEXT = {"model": MODEL, "prompt": "a", "max_tokens": 4}
LONG = TEXT | {"max_tokens": 8000, "n": 4, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("errors") / f"{MODEL}.gguf"
    path.write_bytes(llama(llama__context_length=(U32, N_CTX)))
    return path


@pytest.fixture(scope="module")
def server(path):
    with serving("-c", 64, "--cors-origin", "https://app.example", path) as s:
        yield s


def client_of(url, **options):
    return openai.OpenAI(base_url=url + "/v1", **({"api_key": "none", "max_retries": 0, "timeout": PATIENCE_S} | options))


@pytest.fixture(scope="module")
def client(server):
    with client_of(server.url, default_headers={"X-Request-Id": OWN_ID}) as client:
        yield client


Error = collections.namedtuple("Error", "kind status type code param")
INVALID = "invalid_request_error"


def error_of(call, *args, **options):
    """The exception has what the body says, and the id of the head."""
    with pytest.raises(openai.APIStatusError) as caught:
        call(*args, **options)
    e = caught.value
    body = e.response.json()["error"]
    assert e.body == body and body.keys() == {"message", "type", "param", "code"}
    assert (e.type, e.code, e.param) == (body["type"], body["code"], body["param"])
    assert e.message == f"Error code: {e.status_code} - {body['message']}" and body["message"]
    assert e.request_id == e.response.headers["x-request-id"]
    assert e.response.headers["content-type"] == "application/json"
    return e, Error(type(e), e.status_code, e.type, e.code, e.param)


def retry_of(e):
    """Retry-After and x-should-retry."""
    return e.response.headers.get("retry-after"), e.response.headers.get("x-should-retry")


# --- what the request is to blame for

def complete(**change):
    return lambda client: client.completions.create(**TEXT | change)


def get(path, **options):
    return lambda client: client.get(path, cast_to=object, options=options)


def bad(code, param):
    return Error(openai.BadRequestError, 400, INVALID, code, param)


BLAMED = {
    "no JSON": (lambda c: c.post("/completions", content=b"{", cast_to=object), bad(None, None)),
    "type": (complete(max_tokens="x"), bad("invalid_type", "max_tokens")),
    "value": (complete(temperature=3), bad("invalid_value", "temperature")),
    "missing": (complete(prompt=None), bad("missing_required_parameter", "prompt")),
    "unknown": (complete(extra_body={"frobnicate": 1}), bad("unknown_parameter", "frobnicate")),
    "query": (complete(extra_query={"a": "b"}), bad("unknown_parameter", "a")),
    "unsupported": (complete(suffix="b"), bad("unsupported_parameter", "suffix")),
    "unsupported value": (lambda c: c.embeddings.create(model=MODEL, input="a", dimensions=5), bad("unsupported_value", "dimensions")),
    "context": (complete(prompt="a" * 65), bad("context_length_exceeded", "prompt")),
    "context of an embedding": (lambda c: c.embeddings.create(model=MODEL, input="a" * 65), bad("context_length_exceeded", "input")),
    "not for this model": (lambda c: c.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a"}]),
                           bad("unsupported_value", "messages")),
    "malformed address": (get("/%zz"), bad(None, None)),
    "origin": (complete(extra_headers={"Origin": "https://other.example"}),
               Error(openai.PermissionDeniedError, 403, "permission_error", None, None)),
    "model": (complete(model="gpt-4o"), Error(openai.NotFoundError, 404, INVALID, "model_not_found", "model")),
    "no such model": (lambda c: c.models.retrieve("a/b"), Error(openai.NotFoundError, 404, INVALID, "model_not_found", "model")),
    "address": (get("/nope"), Error(openai.NotFoundError, 404, INVALID, "unknown_url", None)),
    "method": (get("/completions"), Error(openai.APIStatusError, 405, INVALID, "method_not_supported", None)),
    "long body": (complete(prompt="a" * (17 << 20)), Error(openai.APIStatusError, 413, INVALID, None, None)),
    "long address": (get("/" + "a" * 9000), Error(openai.APIStatusError, 414, INVALID, None, None)),
    "compressed": (lambda c: c.post("/completions", content=gzip.compress(json.dumps(TEXT).encode()), cast_to=object,
                                    options={"headers": {"Content-Encoding": "gzip"}}),
                   Error(openai.APIStatusError, 415, INVALID, None, None)),
    "expectation": (complete(extra_headers={"Expect": "wonders"}), Error(openai.APIStatusError, 417, INVALID, None, None)),
    "long head": (complete(extra_headers={"X-Long": "a" * 70000}), Error(openai.APIStatusError, 431, INVALID, None, None)),
}
# What could not be read as a request has a new id.
UNREAD = {"long address", "long head"}


@pytest.mark.parametrize("name", BLAMED)
def test_a_request_that_cannot_be_answered_is_a_typed_error(client, name):
    provoke, expected = BLAMED[name]
    e, error = error_of(provoke, client)
    assert error == expected and retry_of(e) == (None, None)
    assert e.request_id.startswith("req_") if name in UNREAD else e.request_id == OWN_ID


def test_a_stream_has_the_same_error(client):
    for change in ({"temperature": 3}, {"prompt": "a" * 65}, {"model": "gpt-4o"}, {"extra_query": {"a": "b"}}):
        assert error_of(complete(**change), client)[0].body == error_of(complete(stream=True, **change), client)[0].body


# --- too slow, too many

PRELOADED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* A page of two numbers: seconds that monotonic clocks are ahead, and whether threads may begin. */
static volatile long *told(void)
{
    static volatile long *page;
    if (page == NULL) {
        page = mmap(NULL, 16, PROT_READ, MAP_SHARED, open(getenv("PRELOADED"), O_RDONLY), 0);
    }
    return page;
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    int failed = (int)syscall(SYS_clock_gettime, id, t);
    t->tv_sec += id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE ? told()[0] : 0;
    return failed;
}
struct work {
    void *(*run)(void *);
    void *argument;
};
static void *wait_and_run(void *argument)
{
    struct work work = *(struct work *)argument;
    free(argument);
    while (!told()[1]) {
        usleep(1000);
    }
    return work.run(work.argument);
}
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct work *work = malloc(sizeof *work);
    *work = (struct work){run, argument};
    return real(t, a, wait_and_run, work);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preloaded")
    (folder / "preloaded.c").write_text(PRELOADED)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "preloaded.so", folder / "preloaded.c", "-ldl"], check=True)
    return folder / "preloaded.so"


@pytest.fixture
def told(library, tmp_path):
    """env for a server, and a function that sets both numbers."""
    page = tmp_path / "page"
    page.write_bytes(bytes(16))

    def tell(seconds_ahead, may_begin):
        with open(page, "r+b") as f:
            f.write(struct.pack("ll", seconds_ahead, may_begin))
    yield os.environ | {"LD_PRELOAD": str(library), "PRELOADED": str(page)}, tell


@contextlib.contextmanager
def ended(server, code=0):
    try:
        yield server
        assert server.stop()[0] == code
    finally:
        server.process.kill()
        server.process.communicate()


class SlowTransport(httpx.HTTPTransport):
    """Goes on with a body byte by byte until the server has had enough."""

    def __init__(self, pass_time, has_answered):
        super().__init__()
        self.pass_time, self.has_answered = pass_time, has_answered

    def handle_request(self, request):
        body = request.read()

        def pieces():
            n = 10
            yield body[:n]
            while not self.has_answered():
                self.pass_time()
                n += 1
                yield body[n - 1:n]
                time.sleep(0.01)
            yield body[n:]
        request.stream = httpx.Request("POST", request.url, content=pieces()).stream
        return super().handle_request(request)


def test_a_body_that_does_not_come_in_time_is_408(path, told, tmp_path):
    env, tell = told
    tell(0, True)
    seconds = itertools.count(100, 100)
    log = tmp_path / "log"
    with open(log, "w") as f, ended(Server("--log", "text", path, env=env, stderr=f)) as s:
        slow = SlowTransport(lambda: tell(next(seconds), True), lambda: " 408 " in log.read_text())
        with httpx.Client(transport=slow) as transport:
            e, error = error_of(complete(prompt="a" * 10000), client_of(s.url, http_client=transport))
        assert error == Error(openai.APIStatusError, 408, INVALID, None, None) and "in time" in e.message


def held(s, client):
    """A stream that runs, for as long as the context; all its places are taken."""
    stream = client.completions.create(**LONG, stream=True)
    wait_until(lambda: s.metric("puna_generation_tokens_total") > 0 and s.metric("puna_requests_waiting") == 0)
    return stream


def test_a_full_queue_is_429_and_says_when_to_come_again(path):
    with serving("-c", N_CTX, "--parallel", 4, "--queue", 1, path) as s, contextlib.ExitStack() as stack:
        client = client_of(s.url)
        stack.enter_context(held(s, client))
        stack.enter_context(client.completions.create(**TEXT, stream=True))
        wait_until(lambda: s.metric("puna_requests_waiting") == 1)
        for call in (complete(), complete(stream=True), lambda c: c.embeddings.create(model=MODEL, input="a")):
            e, error = error_of(call, client)
            assert error == Error(openai.RateLimitError, 429, "rate_limit_exceeded", "rate_limit_exceeded", None)
            seconds, should = retry_of(e)
            assert 1 <= int(seconds) <= 60 and should is None


def test_too_many_connections_are_503(path):
    with serving("--max-connections", 2, path) as s, s.connect() as c:  # from one address: 1
        c.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.recv(1000).startswith(b"HTTP/1.1 200")
        e, error = error_of(complete(), client_of(s.url))
        assert error == Error(openai.InternalServerError, 503, "service_unavailable_error", "server_is_overloaded", None)
        assert retry_of(e) == ("1", None)


# --- what the server is to blame for

@pytest.fixture(scope="module")
def too_large(tmp_path_factory):
    """Its weights are numbers, its logits are none."""
    path = tmp_path_factory.mktemp("errors") / "large.gguf"
    n = 32 * len(LLAMA_TOKENS)
    path.write_bytes(llama(tensors=[("output_norm.weight", "F32", [32], struct.pack("<f", 3e38) * 32),
                                    ("token_embd.weight", "F32", [32, len(LLAMA_TOKENS)], struct.pack("<f", 1) * n)]))
    with serving(path) as s:
        yield s


def test_a_failure_is_500_and_nobody_comes_again(too_large):
    with client_of(too_large.url, max_retries=5) as client:
        e, error = error_of(complete(model="large"), client)
    assert error == Error(openai.InternalServerError, 500, "server_error", None, None)
    assert retry_of(e) == (None, "false") and "logit of token" in e.message
    _, text = too_large.ask("GET", "/metrics")
    assert [line.rpartition(" ")[2] for line in text.splitlines() if 'status="500"' in line] == ["1"]


def error_in(stream):
    """An error behind the head of an answer has no status."""
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    e = caught.value
    assert type(e) is openai.APIError and e.body.keys() == {"message", "type", "param", "code"}
    assert e.message == e.body["message"] != ""
    return Error(openai.APIError, None, e.type, e.code, e.param)


def test_a_failure_in_a_stream_is_an_error_without_a_status(too_large):
    with client_of(too_large.url, max_retries=5) as client, client.completions.create(
            **TEXT | {"model": "large"}, stream=True) as stream:
        assert error_in(stream) == Error(openai.APIError, None, "server_error", None, None)


NOT_READY = Error(openai.InternalServerError, 503, "service_unavailable_error", "server_not_ready", None)


def test_a_server_that_is_stopped_is_503(path):
    with ended(Server("-c", N_CTX, "--parallel", 4, "--drain-timeout", 0, path)) as s:
        client = client_of(s.url)
        found = []
        with held(s, client) as stream:
            waiting = [threading.Thread(target=lambda call=call: found.append(error_of(call, client))) for call in (
                complete(), lambda c: c.embeddings.create(model=MODEL, input=["a"] * 3))]
            for w in waiting:
                w.start()
            wait_until(lambda: s.metric("puna_requests_waiting") == 2)
            s.process.send_signal(signal.SIGTERM)
            assert error_in(stream) == NOT_READY._replace(kind=openai.APIError, status=None)
        for w in waiting:
            w.join()
        assert [error for _, error in found] == [NOT_READY] * 2
        assert [retry_of(e) for e, _ in found] == [("1", None)] * 2
        assert s.process.wait(PATIENCE_S) == 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_server_that_loads_its_model_is_503_and_the_client_comes_again(path, told):
    """Its threads do not begin until they are told to; the line comes when the model is there."""
    env, tell = told
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([PUNA, "serve", "--port", str(port), "--log", "none", path], env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)

    def answers():
        with contextlib.suppress(ConnectionRefusedError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as c:
            c.request("GET", "/health")
            return json.load(c.getresponse()) == {"status": "ok"}
    try:
        wait_until(answers)
        client = client_of(url)
        for call in (complete(), lambda c: c.models.list(), lambda c: c.embeddings.create(model=MODEL, input="a")):
            e, error = error_of(call, client)
            assert error == NOT_READY and "being loaded" in e.message and retry_of(e) == ("1", None)
        statuses = []

        def note(response):
            statuses.append(response.status_code)
            tell(0, True)
        with httpx.Client(event_hooks={"response": [note]}) as transport:
            patient = client_of(url, http_client=transport, max_retries=20)
            assert patient.completions.create(**TEXT).usage.completion_tokens == 4
        assert statuses[0] == 503 and statuses[-1] == 200
        assert process.stdout.readline() == f"listening on {url}\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE_S) == ("", "") and process.returncode == 0
    finally:
        tell(0, True)
        process.kill()
        process.communicate()


# --- and what is told of them

def test_the_description_has_these_statuses(server):
    described = {int(name.removeprefix("Error")) for name in server.ask("GET", "/openapi.json")[1]["components"]["responses"]}
    assert described - {401} <= {expected.status for _, expected in BLAMED.values()} | {408, 429, 500, 503}


def test_the_page_has_these_errors():
    """docs/API.md, but for what no official client can send."""
    text = (pathlib.Path(__file__).parents[2] / "docs/API.md").read_text()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \d{3} .*", text, re.MULTILINE)]
    told = {(int(status), kind, code) for status, kind, codes, *_ in rows for code in re.findall(r"\w+", codes)}
    expected = {(e.status, e.type, e.code or "null") for _, e in BLAMED.values()} | {
        (NOT_READY.status, NOT_READY.type, NOT_READY.code), (503, "service_unavailable_error", "server_is_overloaded"),
        (408, INVALID, "null"), (429, "rate_limit_exceeded", "rate_limit_exceeded"), (500, "server_error", "null")}
    of_keys = {(401, INVALID, "invalid_api_key"), (403, "permission_error", "missing_scope"),
               (403, INVALID, "model_not_found"), (429, "insufficient_quota", "insufficient_quota")}
    of_usage = {(503, "service_unavailable_error", "usage_not_recorded")}
    assert told == expected | of_keys | of_usage | {(501, INVALID, "null"), (505, INVALID, "null")}
    for _, e in BLAMED.values():
        (name,) = {row[-1] for row in rows if int(row[0]) == e.status}
        assert e.kind is getattr(openai, "APIStatusError" if name == "generic" else name)
