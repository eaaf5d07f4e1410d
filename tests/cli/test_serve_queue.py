"""The queue of `puna serve`: who waits is told, and who cannot wait is refused at once. Nothing here
depends on how fast the machine is: places are held for as long as a test wants."""
import contextlib
import http.client
import json
import re
import threading
import time

import openai
import pytest

from puna_server import PATIENCE_S, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 7000, "ignore_eos": True,
        "stream": True}
SHORT = LONG | {"max_tokens": 3}
QUEUED = re.compile(r": queued position=(\d+) eta_s=(\d+)")


class Exchange:
    """The head of an answer has come; the rest is read line by line."""

    def __init__(self, server, document, headers=None):
        self.connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE_S)
        self.connection.request("POST", "/v1/chat/completions", json.dumps(document), headers or {})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def line(self):
        """The next one that is not empty."""
        while (line := self.answer.readline()) == b"\n":
            pass
        assert line
        return line.decode().rstrip("\n")

    def next_comment(self):
        while not (line := self.line()).startswith(":"):
            assert "content" not in line or '"content":""' in line
        return line

    def close(self):
        self.answer.close()
        self.connection.close()


@pytest.fixture(scope="module")
def server():
    with serving("--parallel", 1, "--kv-size", "512M") as s:
        yield s


@pytest.fixture
def busy(server):
    """The only place is held until held[0] is closed."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(contextlib.closing(Exchange(server, LONG)))]
        wait_until(lambda: server.metric("puna_requests_running") == 1)
        n = server.metric("puna_generation_tokens_total")
        wait_until(lambda: server.metric("puna_generation_tokens_total") > n)
        yield held
    wait_until(server.is_idle)


def test_who_waits_is_told_where(server, busy):
    with contextlib.closing(Exchange(server, LONG)) as second, contextlib.closing(Exchange(server, SHORT)) as third:
        assert (second.status, third.status) == (200, 200)
        position, eta = map(int, QUEUED.fullmatch(second.next_comment()).groups())
        assert position == 1 and eta >= 1
        position, later = map(int, QUEUED.fullmatch(third.next_comment()).groups())
        assert position == 2 and later >= eta
        busy[0].close()
        position, _ = map(int, QUEUED.fullmatch(third.next_comment()).groups())
        assert position == 1  # told again because it is news
        second.close()
        while "[DONE]" not in (line := third.line()):
            assert '"error"' not in line


def test_who_need_not_wait_is_told_nothing(server):
    wait_until(server.is_idle)
    with contextlib.closing(Exchange(server, SHORT)) as e:
        assert not any(line.startswith(b":") for line in e.answer)


def test_comments_keep_a_client_whose_time_is_short(server, busy):
    """The official client gives up when no byte comes for its `timeout`."""
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=3)
    stream = client.chat.completions.create(model=MODEL, messages=LONG["messages"], max_tokens=3, stream=True,
                                            extra_body={"ignore_eos": True})
    with stream:
        assert next(iter(stream)).choices[0].delta.role == "assistant"
        time.sleep(1)
        assert server.metric("puna_requests_waiting") == 1
        chunks = iter(stream)

        def release():  # when more than its time has passed
            time.sleep(7)
            busy[0].close()
        thread = threading.Thread(target=release)
        thread.start()
        assert [c.choices[0].finish_reason for c in chunks][-1] == "length"
        thread.join()


def test_comments_come_while_a_prompt_is_computed():
    """One that takes much longer than a comment takes to come."""
    with serving("--cpu", "ref", "--threads", 1, "-b", 8) as s:
        document = SHORT | {"messages": [{"role": "user", "content": "word " * 4000}]}
        with contextlib.closing(Exchange(s, document, {"x-stainless-read-timeout": "3"})) as e:
            assert e.next_comment() == e.next_comment() == ": keep-alive"


# --- who cannot wait

def refused(server, stream, **headers):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=PATIENCE_S)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, messages=LONG["messages"], max_tokens=3, stream=stream,
                                       extra_headers={name.replace("_", "-"): value for name, value in headers.items()})
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
def test_who_cannot_wait_for_the_turn_is_refused(server, busy, stream):
    error = refused(server, stream, x_stainless_read_timeout="0.0001")
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_exceeded")
    assert "for its turn" in error.body["message"] and "its client waits 0.0" in error.body["message"]
    assert 1 <= int(error.response.headers["retry-after"]) <= 60 and "x-should-retry" not in error.response.headers
    assert server.metric("puna_requests_waiting") == 0


def test_the_other_clients_time_is_whole_seconds(server, busy):
    time.sleep(1.5)  # the place is held for longer than the client would wait
    with contextlib.closing(Exchange(server, LONG | {"stream": False}, {"x-stainless-timeout": "0"})) as e:
        assert e.status == 429


def test_what_the_other_client_says_amiss_is_nothing_said(server, busy):
    time.sleep(1.5)  # as above
    for amiss in ("None", "-1", "1" * 400):
        with contextlib.closing(Exchange(server, SHORT, {"x-stainless-timeout": amiss})) as e:
            assert e.status == 200


PATIENT = ("600", "600.5", "None", "1e-05", "-1", ".", "1.2.3", "", "0", "600." + "9" * 400, "1." + "0" * 400, "1" * 400)


@pytest.mark.parametrize("headers", [{}, {"x-stainless-timeout": "600"},
                                     *({"x-stainless-read-timeout": v} for v in PATIENT)], ids=lambda h: str(h)[:50])
def test_others_wait(server, busy, headers):
    with contextlib.closing(Exchange(server, SHORT, headers)) as e:
        assert e.status == 200
        wait_until(lambda: server.metric("puna_requests_waiting") == 1)


@pytest.mark.parametrize("stream", [False, True])
def test_who_cannot_wait_for_the_prompt_is_refused_unless_it_is_cached(server, stream):
    """By status, of a stream too, though only the engine thread can tell. Whatever the machine's pace: the time is a
    part of what such a prompt was seen to take, so small that a machine which was twenty times as fast a moment before
    takes longer, and a page to compute does not."""
    def prompt(word):
        return SHORT | {"messages": [{"role": "user", "content": f"{stream} {word} " * 1500}], "stream": stream}
    wait_until(server.is_idle)
    before = time.monotonic()
    with contextlib.closing(Exchange(server, prompt("hill"))) as e:
        assert e.status == 200 and e.answer.read()
    headers = {"x-stainless-read-timeout": f"{(time.monotonic() - before) / 20:.6f}"}

    def ask(word):
        with contextlib.closing(Exchange(server, prompt(word), headers)) as e:
            text = e.answer.read()
            return e.status, e.answer.headers, text.decode() if e.status == 200 else json.loads(text)
    wait_until(server.is_idle)  # an answer that was sent may still hold the only place for a moment
    n = server.metric("puna_prompt_tokens_total")
    status, fields, document = ask("lake")
    assert status == 429 and "for its prompt" in document["error"]["message"]
    assert fields["x-should-retry"] == "false" and "retry-after" not in fields
    assert server.metric("puna_prompt_tokens_total") == n
    status, _, text = ask("hill")
    assert status == 200 and (not stream or text.endswith("data: [DONE]\n\n") and text.count('"role"') == 1)
