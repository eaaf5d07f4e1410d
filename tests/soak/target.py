"""A server under faults: what well-behaved clients ask of it, what they may get, and what it must not keep."""
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import socket
import struct
import sys
import threading
import time

import httpx

from faults import Faults

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from puna_server import NO_STORE, PATIENCE_S, PUNA, Server, wait_until  # noqa: E402

MODEL = pathlib.Path("build/tiny.gguf").resolve()
IS_ASAN = "asan" in PUNA
SLACK_BYTES, SLACK_BLOCKS = 48 << 10, 64  # that tables of libraries may have grown by
SLACK_RSS = 24 << 20


class Wrong(Exception):
    """What must never be."""


# --- what well-behaved clients ask: name, method, path, document

def chat(text, **options):
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 12, **options}


ASKED = [
    ("chat", "POST", "/v1/chat/completions", chat("Hi there", temperature=0)),
    ("chat stream", "POST", "/v1/chat/completions",
     chat("Tell me of llamas", seed=7, stream=True, stream_options={"include_usage": True})),
    ("chat logprobs", "POST", "/v1/chat/completions", chat("One", seed=2**40, logprobs=True, top_logprobs=3, n=2)),
    ("chat stream of three", "POST", "/v1/chat/completions", chat("Two " * 30, seed=3, n=3, stream=True, logprobs=True)),
    ("completion", "POST", "/v1/completions", {"model": "tiny", "prompt": ["abc", "the plains"], "max_tokens": 9, "seed": 5}),
    ("completion echo", "POST", "/v1/completions",
     {"model": "tiny", "prompt": "some words of mine", "max_tokens": 3, "seed": 5, "logprobs": 2, "echo": True}),
    ("embeddings", "POST", "/v1/embeddings", {"model": "tiny", "input": ["a", "bc d", "llamas " * 40]}),
    ("tokenize", "POST", "/v1/tokenize", {"content": "Hello there"}),
    ("template", "POST", "/v1/apply-template", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}),
    ("models", "GET", "/v1/models", None),
    ("capabilities", "GET", "/v1/capabilities", None),
    ("openapi", "GET", "/openapi.json", None),
    ("no such field", "POST", "/v1/chat/completions", chat("Hi", nonsense=1)),
    ("no such model", "POST", "/v1/completions", {"model": "gpt", "prompt": "a"}),
    ("broken json", "POST", "/v1/completions", b'{"model": "tiny", "prompt": "a'),
    ("no such page", "GET", "/v1/nothing", None),
]
NAMES = [name for name, *_ in ASKED]
VOLATILE = [(re.compile(rb'"(id|created|created_at)":("[^"]*"|-?\d+)'), rb'"\1":0'),
            (re.compile(rb'"cached_tokens":\d+'), rb'"cached_tokens":0'), (re.compile(rb'"cache":\{[^}]*\}'), rb'"cache":{}')]


def joined(stream):
    """What the events of a stream say together: how much each of them says depends on who waits for whom."""
    whole = {"choices": {}, "rest": [], "end": b""}
    for event in stream.split(b"\n\n"):
        if not event.startswith(b"data: {"):
            whole["end"] += b"" if event.startswith(b":") else event
            continue
        document = json.loads(event[6:])
        for choice in document.pop("choices", []):
            i = choice.pop("index")
            into = whole["choices"].setdefault(i, {"text": "", "logprobs": [], "others": {}})
            delta = choice.pop("delta", None) or {}
            into["text"] += (delta.pop("content", None) or "") + choice.pop("text", "")
            into["logprobs"] += (choice.pop("logprobs", None) or {}).get("content") or []
            into["others"] |= delta | {k: v for k, v in choice.items() if v is not None}
        if document not in whole["rest"]:
            whole["rest"].append(document)
    return repr(whole).encode()


def normalised(body):
    for pattern, what in VOLATILE:
        body = pattern.sub(what, body)
    return joined(body) if body.startswith((b"data: ", b": ")) else body


class Answer:
    """Of a request that was sent whole; status None: there was none, or not all of it."""

    def __init__(self, status=None, body=b""):
        self.status, self.body = status, normalised(body)

    def __eq__(self, other):
        return (self.status, self.body) == (other.status, other.body)

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"

    def is_told(self):
        """Whether the client knows that this went wrong."""
        if self.status is None:
            return True
        if self.status >= 500:
            return isinstance(json.loads(self.body)["error"]["message"], str)
        return self.status == 200 and b"'choices':" in self.body and b"[DONE]" not in self.body and b"'error':" in self.body


def encoded(document):
    return document if document is None or isinstance(document, bytes) else json.dumps(document).encode()


def raw_request(i, extra=""):
    """The bytes of one of ASKED."""
    _, method, path, document = ASKED[i]
    body = encoded(document) or b""
    return (f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# --- the server

class Target(Server):
    def __init__(self, folder, *args, faults=None, model=MODEL, env=None, cache=False, keeps=False, key=None, context=None, threads=1):
        folder = pathlib.Path(folder)
        self.faults = faults or Faults(folder / "faults")
        self.key = key
        self.errors = open(folder / "stderr", "w+b")
        own = ([] if cache else ["--no-prefix-cache"]) + ([] if keeps else ["--no-cache"])
        try:
            self.start(threads, own, args, model, context, env)
        except AttributeError as e:  # it said something else
            self.process.wait(PATIENCE_S)
            raise Wrong(f"no start: {self.said()}") from e

    def start(self, threads, own, args, model, context, env):
        super().__init__("-t", threads, "--parallel", 4, "-c", 1024, "--drain-timeout", 5, *own, *args, model,
                         context=context, stderr=self.errors,
                         env=os.environ | NO_STORE | self.faults.environment() | (env or {}))

    def metrics(self):
        status, text = self.ask("GET", "/metrics", key=self.key)
        if status != 200:
            raise Wrong(f"/metrics: {status} {text}")
        return {name: float(value) for name, value in re.findall(r"^([^# ]+) (\S+)$", text, re.MULTILINE)}

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def request(self, i, timeout=PATIENCE_S):
        """An Answer, over a connection of its own."""
        _, method, path, document = ASKED[i]
        connection = (http.client.HTTPSConnection(*self.address, timeout=timeout, context=self.context) if self.context
                      else http.client.HTTPConnection(*self.address, timeout=timeout))
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        with contextlib.closing(connection):
            try:
                connection.request(method, path, encoded(document), headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.read())
            except TimeoutError as e:
                raise Wrong(f"{NAMES[i]}: no answer") from e
            except (http.client.HTTPException, OSError):
                return Answer()

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def n_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"RssAnon:\s+(\d+)", text)[1])

    def held(self):
        """What may not grow. Once it is idle, and has no connection left."""
        return self.n_files(), *self.faults.live(), self.rss()

    def check_alive(self):
        if self.process.poll() is not None:
            raise Wrong(f"the server ended with {self.process.returncode}: {self.said()[-6000:]}")

    def is_quiet(self):
        m = self.metrics()
        return all(m[f"puna_{n}"] == 0 for n in ("requests_running", "requests_waiting", "kv_pages_in_use"))

    def settle(self, n_files=None):
        """Until nobody is served; then what it holds."""
        self.check_alive()
        try:
            wait_until(self.is_quiet)
            if n_files is not None:
                wait_until(lambda: self.n_files() <= n_files)
        except AssertionError as e:
            raise Wrong(f"not idle: {self.metrics()} {self.n_files()} files, {n_files} before") from e
        previous = None
        for _ in range(200):  # connections of the metrics themselves
            now = self.faults.live()
            if now == previous:
                break
            previous = now
            time.sleep(0.05)
        return self.held()

    def check_no_leak(self, before, more_bytes=SLACK_BYTES, more_blocks=SLACK_BLOCKS):
        n_files, blocks, n_bytes, rss = self.settle(before[0])
        grown = {"files": n_files - before[0], "blocks": blocks - before[1], "bytes": n_bytes - before[2], "rss": rss - before[3]}
        if (grown["files"] > 0 or grown["blocks"] > more_blocks or grown["bytes"] > more_bytes
                or (grown["rss"] > SLACK_RSS and not IS_ASAN)):
            raise Wrong(f"left behind: {grown}")
        return grown

    def end(self, code=0):
        """SIGTERM; with the leak sanitizer's word, where there is one."""
        self.check_alive()
        ended, _ = self.stop()
        said = self.said()
        if ended != code or "Sanitizer" in said or "runtime error" in said:
            raise Wrong(f"SIGTERM ended it with {ended}: {said[-6000:]}")


@contextlib.contextmanager
def target(folder, *args, **options):
    t = Target(folder, *args, **options)
    try:
        yield t
        t.end()
    except Exception as e:
        raise Wrong(f"{e}\n--- it said\n{t.said()[-4000:]}") from e
    finally:
        t.process.kill()
        t.process.wait()
        t.errors.close()


def quiet_answers(folder):
    """Of a server that has nothing else to do, each twice."""
    with target(folder) as t:
        answers = [t.request(i) for i in range(len(ASKED))]
        for i, a in enumerate(answers):
            if a.status is None or t.request(i) != a:
                raise Wrong(f"{NAMES[i]} is not the same twice: {a}")
        return answers


# --- clients that do nothing wrong while others do

class Watchers:
    """Threads that ask all the time and compare; one keeps its connection, one is the official client. Where faults are
    injected into what they ask (may_fail), an error is no wrong answer."""

    def __init__(self, t, quiet, may_fail=False, official=True, which=range(len(ASKED))):
        self.target, self.quiet, self.may_fail, self.which = t, quiet, may_fail, which
        self.wrong, self.n_same, self.n_told = None, 0, 0
        self.over = threading.Event()
        loops = [self.ask_anew, self.ask_on] + ([self.ask_officially] if official else [])
        self.threads = [threading.Thread(target=self.guarded, args=(loop,)) for loop in loops]

    def guarded(self, loop):
        try:
            loop()
        except Exception as e:  # pylint: disable=broad-except
            self.wrong = self.wrong or f"{type(e).__name__}: {e}"

    def judge(self, i, answer):
        if answer == self.quiet[i]:
            self.n_same += 1
        elif self.may_fail and answer.is_told():
            self.n_told += 1
        else:
            raise Wrong(f"{NAMES[i]}: {answer}\ninstead of {self.quiet[i]}")

    def turns(self):
        for i in itertools.cycle(self.which):
            if self.over.is_set():
                return
            yield i

    def ask_anew(self):
        for i in self.turns():
            self.judge(i, self.target.request(i))

    def ask_on(self):
        """A connection that is kept; one that the server has closed meanwhile is made again by the client."""
        headers = {"Authorization": f"Bearer {self.target.key}"} if self.target.key else {}
        verify = self.target.context or False
        with httpx.Client(base_url=self.target.url, timeout=PATIENCE_S, headers=headers, verify=verify, trust_env=False) as client:
            for i in self.turns():
                _, method, path, document = ASKED[i]
                try:
                    answer = client.request(method, path, content=encoded(document), headers={"Content-Type": "application/json"})
                    self.judge(i, Answer(answer.status_code, answer.content))
                except httpx.TimeoutException as e:
                    raise Wrong(f"{NAMES[i]}: no answer") from e
                except httpx.HTTPError:
                    self.judge(i, Answer())

    def ask_officially(self):
        import openai  # takes long
        with openai.OpenAI(base_url=f"{self.target.url}/v1", api_key=self.target.key or "none", max_retries=0,
                           timeout=PATIENCE_S, http_client=httpx.Client(verify=self.target.context or False, trust_env=False)
                           ) as client:
            expected = json.loads(self.quiet[0].body)["choices"][0]["message"]["content"]
            for _ in self.turns():
                try:
                    stream = client.chat.completions.create(**ASKED[0][3], stream=True)
                    text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
                    if text != expected:
                        raise Wrong(f"the official client: {text!r} instead of {expected!r}")
                    self.n_same += 1
                except openai.APIError as e:
                    if not self.may_fail:
                        raise Wrong(f"the official client: {e}") from e
                    self.n_told += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if kind is None and self.wrong is not None:
            self.target.check_alive()
            raise Wrong(self.wrong)
