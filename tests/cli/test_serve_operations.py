"""`puna serve` as whoever runs it meets it: metrics, the log, health and the end."""
import contextlib
import ctypes
import http.client
import json
import math
import mmap
import os
import re
import resource
import signal
import socket
import struct
import subprocess

import prometheus_client.parser
import pytest

from gguf_file import LLAMA_TOKENS, STRING, U32, llama
from puna_server import ENDING, NO_STORE, PUNA, Server, fill_pipe, serving, wait_until

DEFAULT = "SmolLM2-135M-Instruct.Q4_1"
SECRET = "xyzzy"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A model of no weight: all of its tokens are equally probable, and it never ends by itself."""
    path = tmp_path_factory.mktemp("operations") / "quick.gguf"
    path.write_bytes(llama(llama__context_length=(U32, 8192)))
    return path


def complete(server, n=1, max_tokens=5, **options):
    return server.post("/v1/completions", {"model": "quick", "prompt": SECRET, "max_tokens": max_tokens, "n": n, **options})


# --- metrics

def families(server):
    """What Prometheus' own parser makes of /metrics: {name: family}."""
    _, text = server.ask("GET", "/metrics")
    found = list(prometheus_client.parser.text_string_to_metric_families(text))
    assert len(found) == len({f.name for f in found}) == text.count("# TYPE ") == text.count("# HELP ")
    assert all(f.type in ("counter", "gauge", "histogram") and f.documentation for f in found)
    return {f.name: f for f in found}


def histogram(family):
    """(bounds with counts that grow, sum, count)."""
    assert family.type == "histogram"
    buckets = [(float(s.labels["le"]), s.value) for s in family.samples if s.name.endswith("_bucket")]
    (total,) = [s.value for s in family.samples if s.name.endswith("_sum")]
    (count,) = [s.value for s in family.samples if s.name.endswith("_count")]
    assert buckets == sorted(buckets) and len({bound for bound, _ in buckets}) == len(buckets)
    assert [n for _, n in buckets] == sorted(n for _, n in buckets)
    assert buckets[-1] == (math.inf, count)
    return buckets, total, count


HISTOGRAMS = ("puna_queue_seconds", "puna_time_to_first_token_seconds", "puna_time_between_tokens_seconds",
              "puna_step_sequences")


def test_metrics_add_up(path):
    with serving("--parallel", 4, path) as s:
        assert [histogram(families(s)[name])[2] for name in HISTOGRAMS] == [0] * 4
        complete(s)
        complete(s, n=3, max_tokens=7)
        complete(s, max_tokens=0, echo=True)  # nothing for the engine
        found = families(s)
        value = {name: f.samples[0].value for name, f in found.items() if f.type != "histogram"}
        assert (value["puna_generation_tokens"], value["puna_prompt_tokens"]) == (5 + 3 * 7, 2 * len(SECRET))
        assert value["puna_prompt_tokens_cached"] == len(SECRET) - 1
        (_, queue, n_queue), (_, first, n_first), (_, _, n_next), (steps, sequences, n_steps) = (
            histogram(found[name]) for name in HISTOGRAMS)
        assert (n_queue, n_first, n_next, n_steps) == (2, 2, 4 + 3 * 6, value["puna_steps"])
        assert 0 <= queue <= first and n_steps <= sequences <= 4 * n_steps
        assert dict(steps)[4] == n_steps  # no more than four sequences at once


def test_requests_are_counted_by_address_and_status(path):
    with serving(path) as s:
        complete(s)
        for method, target, body in (("POST", "/v1/completions", {"model": "none"}), ("GET", "/v1/models", None),
                                     ("POST", "/openai/v1/completions", "{"), ("GET", "/nope", None), ("GET", "/v1/models/a", None)):
            assert s.ask(method, target, body)[0] in (200, 400, 404)
        with s.connect() as c:
            c.sendall(b"nonsense\r\n\r\n")
            assert c.recv(100).startswith(b"HTTP/1.1 400")
        with s.connect() as c:
            body = json.dumps({"model": "quick", "prompt": "a", "max_tokens": 8000, "n": 4, "stream": True}).encode()
            c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert c.recv(10) == b"HTTP/1.1 2"
        wait_until(s.is_idle)

        def counts():
            return {tuple(sample.labels.values()): sample.value for sample in families(s)["puna_http_requests"].samples}
        before = counts()
        del before[("/metrics", "200")]
        assert before == {("/completions", "200"): 1, ("/completions", "400"): 2, ("/models", "200"): 1, ("other", "404"): 1,
                          ("/models/{id}", "404"): 1, ("other", "400"): 1, ("/completions", "499"): 1}
        n = counts()[("/metrics", "200")]
        assert counts()[("/metrics", "200")] == n + 1


# --- the log

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\S+) (\S+) (\d+) bytes=(\d+) ms=[\d.]+ peer=127\.0\.0\.1:\d+ id=(\S+)(.*)")


def exchanges(s):
    """A few of every kind; what the log is to have of them: method, path, status, bytes, tokens."""
    status, models = s.ask("GET", "/v1/models?key=" + SECRET)
    assert SECRET not in json.dumps(models)
    expected = [("GET", "/v1/models", 400, None, None), ("POST", "/v1/completions", 200, None, (5, 0, 9)),
                ("POST", "/v1/completions", 200, None, (5, 4, 3)), ("GET", "/a b\n", 404, None, None)]
    complete(s, max_tokens=9)
    s.ask("POST", "/v1/completions", {"model": "quick", "prompt": SECRET, "max_tokens": 3, "stream": True})
    with s.connect() as c:
        c.sendall(b"GET /a%20b%0a HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nAuthorization: Bearer " + SECRET.encode() + b"\r\n\r\n")
        assert c.recv(100).startswith(b"HTTP/1.1 404")
    return expected


def test_the_log_has_a_line_for_every_exchange(path):
    s = Server("--log", "text", path)
    expected = exchanges(s)
    code, text = s.stop()
    assert code == 0 and SECRET not in text
    lines = [LINE.fullmatch(line).groups() for line in text.splitlines()]
    tokens = [t and " prompt_tokens=%d cached_tokens=%d completion_tokens=%d" % t or "" for *_, t in expected]
    assert [(m, p.replace("%20", " ").replace("%0A", "\n"), int(status), rest) for m, p, status, _, _, rest in lines] == [
        (m, p, status, t) for (m, p, status, _, _), t in zip(expected, tokens)]
    assert lines[-1][4] == "mine" and all(int(line[3]) > 0 for line in lines)


def test_the_log_in_json(path):
    s = Server("--log", "json", path)
    expected = exchanges(s)
    code, text = s.stop()
    assert code == 0 and SECRET not in text
    lines = [json.loads(line) for line in text.splitlines()]
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    assert [(e["method"], e["path"], e["status"], None, tuple(e[n] for n in names) if names[0] in e else None)
            for e in lines] == expected
    assert lines[-1]["id"] == "mine" and all(e["ms"] >= 0 and e["peer"].startswith("127.0.0.1:") for e in lines)


def test_the_log_is_there_unless_it_is_not_wanted(path):
    process = subprocess.Popen([PUNA, "serve", "--port", "0", path], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    url = process.stdout.readline().split()[-1]
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as c:
        c.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while c.recv(1000):
            pass
    process.send_signal(signal.SIGTERM)
    assert " GET /health 200 bytes=15 " in process.communicate(timeout=60)[1]
    s = Server("--log", "none", path)
    exchanges(s)
    assert s.stop() == (0, "")


def test_nobody_waits_for_who_does_not_read_the_log(path):
    """Its pipe is full at once; lines are lost and counted, requests are not."""
    reader, writer = os.pipe()
    s = Server("--log", "text", path, stderr=writer)
    os.close(writer)
    try:
        n = 1200
        with s.connect() as c:
            c.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * n + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := c.recv(65536):
                data += piece
        assert data.count(b"HTTP/1.1 200 OK") == n + 1
        lost = s.metric("puna_log_lines_lost_total")
        assert 0 < lost < n
        s.process.send_signal(signal.SIGTERM)
        text = b""
        while piece := os.read(reader, 65536):
            text += piece
        assert s.process.wait(60) == 0
        lines = text.decode().splitlines()
        assert all(LINE.fullmatch(line) for line in lines)
        assert n + 1 - lost <= len(lines) <= n + 2 - lost  # that of the metrics may have found room, too
    finally:
        s.process.kill()
        os.close(reader)


def test_the_end_waits_for_no_warning_that_nobody_reads(path, tmp_path):
    """Of weights that cannot be kept, which is seen while clients are served."""
    reader, writer = os.pipe()
    fill_pipe("self", writer)
    s = Server("--cache-min", 0, path, stderr=writer, env=os.environ | NO_STORE | {"XDG_CACHE_HOME": str(tmp_path)},
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
    os.close(writer)
    try:
        assert complete(s)["usage"]["completion_tokens"] == 5
        assert s.stop()[0] == 0
        with os.fdopen(reader, "rb") as f:
            assert set(f.read()) == {ord("x")}
    finally:
        s.process.kill()


# --- the fingerprint

def test_the_fingerprint_is_of_contents(tmp_path):
    """Of nothing else that can be seen of a file, and whatever the CPU."""
    ones = struct.pack("<32f", *[1] * 32)

    def fingerprint(data, name="m.gguf", time_ns=10**18, options=()):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, ns=(time_ns, time_ns))
        with serving(*options, tmp_path / name) as s:
            return s.ask("GET", "/v1/capabilities")[1]["system_fingerprint"]
    first = fingerprint(llama())
    assert first == fingerprint(llama(), time_ns=2 * 10**18) == fingerprint(llama(), "n.gguf")
    assert first == fingerprint(llama(), options=["--cpu", "ref"])
    others = [llama(tensors=[("output_norm.weight", "F32", [32], ones)]),
              llama(tensors=[("blk.0.attn_q.weight", "F32", [32, 32], ones * 32)]),
              llama(ggml__tokens=(STRING, LLAMA_TOKENS[::-1]))]
    assert {len(o) for o in others} == {len(llama())}
    assert len({first, *map(fingerprint, others)}) == 4


# --- origins

def raw(server, data):
    with server.connect() as c:
        c.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := c.recv(65536):
                answer += piece
    return answer.decode()


def test_only_pages_of_the_origins_that_are_named_may_call(path):
    mine, other = "https://app.example", "http://localhost:3000"
    with serving("--cors-origin", "HTTPS://app.example:443", "--cors-origin", other, path) as s:
        for origin, allowed in ((mine, True), (other, True), ("https://b.example", False), (mine + ":8443", False),
                                ("null", False)):
            for target in ("/v1/models", "/nope"):
                answer = raw(s, f"GET {target} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n".encode())
                assert (f"Access-Control-Allow-Origin: {origin}\r\n" in answer) == allowed
            preflight = raw(s, f"OPTIONS /v1/models HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nConnection: close\r\n"
                               "Access-Control-Request-Method: GET\r\n\r\n".encode())
            assert ("Access-Control-Allow-Methods" in preflight) == allowed and "Vary: Origin" in preflight
            # What a browser sends without asking first; nothing is computed of it.
            body = json.dumps({"model": "quick", "prompt": "a", "max_tokens": 1})
            simple = raw(s, f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nContent-Type: text/plain\r\n"
                            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            assert simple.startswith(f"HTTP/1.1 {200 if allowed else 403} ")
        assert s.metric("puna_generation_tokens_total") == 2


@pytest.mark.parametrize("args, message", [
    (["--cors-origin", "app.example"], "option --cors-origin: 'app.example' is not like https://app.example"),
    (["--cors-origin", "https://app.example/"], "option --cors-origin: "), (["--cors-origin", "*"], "option --cors-origin: "),
    (["--cors-origin", ""], "option --cors-origin: "), (["--cors-origin", "https://"], "option --cors-origin: "),
    (["--log", "xml"], "option --log: 'xml' is not text, json or none"),
    (["--drain-timeout", "86401"], "option --drain-timeout: '86401' is not"),
])
def test_bad_options_are_named(path, args, message):
    done = subprocess.run([PUNA, "serve", *args, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith(f"puna serve: {message}") and done.stderr.count("\n") == 1


# --- the end

LONG = {"model": DEFAULT, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 7000, "ignore_eos": True}


def start(server, document):
    s = server.connect()
    data = json.dumps(document).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    return s


def read_all(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data.decode()


@pytest.mark.parametrize("seconds", [0, 1])
def test_what_outlasts_the_drain_is_told(seconds):
    """Streams get an event, others a status, those who wait as those who are served."""
    s = Server("--parallel", 1, "--drain-timeout", seconds)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(start(s, LONG | {"stream": True}))]
        wait_until(lambda: s.metric("puna_generation_tokens_total") > 0)
        streams.append(stack.enter_context(start(s, LONG | {"stream": True})))
        whole = stack.enter_context(start(s, LONG))
        wait_until(lambda: s.metric("puna_requests_waiting") == 2)
        s.process.send_signal(signal.SIGTERM)
        for stream in streams:
            text = read_all(stream)
            assert text.startswith("HTTP/1.1 200 ") and text.endswith("\r\n0\r\n\r\n") and "[DONE]" not in text
            event = json.loads(re.findall(r"^data: (.*)$", text, re.MULTILINE)[-1])
            assert event["error"]["code"] == "server_not_ready" and "shutting down" in event["error"]["message"]
        text = read_all(whole)
        assert text.startswith("HTTP/1.1 503 ") and "Retry-After: 1\r\n" in text and "Connection: close" in text
        assert s.process.wait(60) == 0
    assert s.process.communicate() == ("", seconds and ENDING.format("3 clients are", seconds) or "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_is_told_what_it_waits_for(number):
    s = Server("--drain-timeout", 600)
    with start(s, LONG | {"stream": True}), start(s, LONG) as other, s.connect():
        wait_until(lambda: s.metric("puna_requests_running") == 2)
        s.process.send_signal(number)
        assert s.process.stderr.readline() == ENDING.format("2 clients are", 600)
        other.close()
        assert s.process.poll() is None
        s.process.send_signal(signal.SIGINT)
        assert (s.process.wait(60), s.process.communicate()) == (130, ("", ""))


def test_who_does_not_read_its_end_holds_nobody_up(path):
    """Neither does it after the last words."""
    s = Server("--drain-timeout", 0, "-c", 8192, path)
    body = json.dumps({"model": "quick", "prompt": "a", "max_tokens": 8000, "n": 4, "logprobs": 5, "stream": True}).encode()
    with socket.socket() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(s.address)
        c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: s.metric("puna_generation_tokens_total") > 100)
        assert s.stop() == (0, "")


# --- health

CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* The monotonic clock is ahead by as many seconds as the file says. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    static volatile long *ahead;
    if (ahead == NULL) {
        ahead = mmap(NULL, 8, PROT_READ, MAP_SHARED, open(getenv("CLOCK_AHEAD"), O_RDONLY), 0);
    }
    int failed = (int)syscall(SYS_clock_gettime, id, t);
    t->tv_sec += id == CLOCK_MONOTONIC ? *ahead : 0;
    return failed;
}
"""
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


@contextlib.contextmanager
def stopped_threads(process):
    """All threads but the first, which talks to clients."""
    threads = [int(t) for t in os.listdir(f"/proc/{process.pid}/task") if int(t) != process.pid]
    try:
        for t in threads:
            ptrace(PTRACE_SEIZE, t)
    except OSError as e:
        pytest.skip(f"threads cannot be stopped here: {e}")
    for t in threads:
        ptrace(PTRACE_INTERRUPT, t)
        os.waitpid(t, 0x40000000)  # __WALL
    yield
    for t in threads:
        ptrace(PTRACE_DETACH, t)


def answer_of(s):
    with s:
        answer = http.client.HTTPResponse(s)
        answer.begin()
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def server_with_clock(folder, *options):
    """The server, and eight bytes that its monotonic clock is ahead by."""
    (folder / "clock.c").write_text(CLOCK)
    library, ahead = folder / "clock.so", folder / "ahead"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, folder / "clock.c"], check=True)
    ahead.write_bytes(bytes(8))
    s = Server(*options, env=os.environ | {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead)})
    with open(ahead, "r+b") as f, mmap.mmap(f.fileno(), 8) as seconds:
        yield s, seconds


def test_a_server_whose_engine_is_stuck_is_not_healthy(tmp_path):
    with server_with_clock(tmp_path) as (s, seconds), start(s, LONG | {"stream": True}) as c:
        wait_until(lambda: s.metric("puna_generation_tokens_total") > 2)

        def health():
            return s.ask("GET", "/health", timeout=5)

        def go_on():
            n = s.metric("puna_generation_tokens_total")
            wait_until(lambda: s.metric("puna_generation_tokens_total") > n + 1)
        for now in range(2000, 100000, 2000):
            seconds[:] = struct.pack("l", now)
            go_on()  # time alone is no reason
            assert health() == (200, {"status": "ok"})
            with stopped_threads(s.process):
                with contextlib.suppress(TimeoutError):  # one was stopped within a lock
                    assert health()[0] == 200
                    seconds[:] = struct.pack("l", now + 100)
                    assert health()[0] == 200
                    seconds[:] = struct.pack("l", now + 1200)
                    status, document = health()
                    break
        assert status == 503 and "stuck for 12" in document["error"]["message"]
        go_on()
        assert health()[0] == 200
        c.close()
        wait_until(s.is_idle)
        seconds[:] = struct.pack("l", 200000)  # nothing to do is no reason, either
        assert health()[0] == 200
    assert s.stop() == (0, "")


def test_a_stuck_step_ends_its_own_requests_and_no_others(tmp_path):
    """Two are computed, one as a stream; one waits, and is answered when the engine goes on."""
    short = LONG | {"max_tokens": 4, "seed": 1}
    with server_with_clock(tmp_path, "--parallel", 2, "--stall-timeout", 600) as (s, seconds):
        quiet = s.post("/v1/chat/completions", short)["choices"]
        stream, whole = start(s, LONG | {"stream": True}), start(s, LONG)
        wait_until(lambda: s.metric("puna_requests_running") == 2)
        waits = start(s, short)
        wait_until(lambda: s.metric("puna_requests_waiting") == 1)
        for _ in range(20):
            with stopped_threads(s.process):
                try:
                    assert s.ask("GET", "/metrics", timeout=5)[0] == 200
                except TimeoutError:  # one was stopped within a lock
                    continue
                seconds[:] = struct.pack("l", 590)
                assert s.ask("GET", "/health")[0] == 200
                seconds[:] = struct.pack("l", 700)
                ended, events = answer_of(whole), answer_of(stream)
                break
        status, text = answer_of(waits)
        assert status == 200 and json.loads(text)["choices"] == quiet
        assert ended[0] == 500 and "stuck for 70" in json.loads(ended[1])["error"]["message"]
        assert events[0] == 200 and "stuck for 70" in events[1] and "[DONE]" not in events[1]
        assert s.metric("puna_stalls_total") == 1
        wait_until(lambda: s.is_idle() and s.metric("puna_engine_stuck") == 0)
        code, log = s.stop()
    assert code == 0 and re.findall(r"warning: ([a-z ]*?)(?: for \d+ seconds)?\n", log) == ["the engine has been stuck", "the engine goes on"]
