"""What was used, asked for over HTTP: pages of buckets as OpenAI has them, through the official client and raw, beside
Python's own sums over the same rows. The binary is $PUNA (default build/release/puna)."""
import collections
import contextlib
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import time

import openai
import pytest

from puna_server import NO_STORE, PUNA, Server, serving, wait_until
from usage_ledger import Ledger

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
LIMIT = 60
WIDTHS = {"1m": 60, "1h": 3600, "1d": 86400}
START = 1795694400  # 2026-11-26T12:00:00Z
PATHS = {kind: f"/v1/organization/usage/{kind}" for kind in ("completions", "embeddings")}
MODELS = ["tiny", "another \"one\"", "é&b"]


class Used(Ledger):
    """Rows of both kinds from START on, of a span of seconds."""

    def __init__(self, folder):
        (folder / "puna").mkdir()
        super().__init__(folder / "puna")
        self.env = os.environ | NO_STORE | {"XDG_DATA_HOME": str(folder)}

    def fill(self, seed, span, n=300):
        rng = random.Random(seed)
        self.keys = ["", "0123456789ab", "ffffffffffff"]
        for _ in range(n):
            n_prompt = rng.randrange(10 ** 6)
            self.add(START + rng.choice([rng.uniform(0, span), rng.randrange(span // 60) * 60, span - 0.001]),
                     key=rng.choice(self.keys), model=rng.choice(MODELS), n_prompt=n_prompt,
                     n_cached=rng.randint(0, n_prompt), n_completion=rng.randrange(5000),
                     endpoint=rng.choice(["chat/completions", "completions", "embeddings"]), status=rng.choice([200, 499, 500]))
        self.write()


@pytest.fixture
def used(tmp_path):
    return Used(tmp_path)


@contextlib.contextmanager
def open_server(used, *args):
    """Without keys."""
    with serving(*args, TINY, env=used.env) as server:
        yield server


def key_of(used, *args):
    done = subprocess.run([PUNA, "keys", "--store", used.store, "add", *args], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def usage(server, key="none"):
    return openai.OpenAI(base_url=server.url + "/v1", admin_api_key=key, max_retries=0, timeout=LIMIT).admin.organization.usage


def sums(rows, kind, start, end, width, groups):
    """{begin of the bucket: {group: numbers}} of those that are not empty."""
    buckets = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0, 0, 0]))
    for r in rows:
        if start * 1000 <= r["ended"] < end * 1000 and (r["endpoint"] == "embeddings") == (kind == "embeddings"):
            begin = max(start, r["ended"] // 1000 // WIDTHS[width] * WIDTHS[width])
            group = (r["key"] or None if "api_key_id" in groups else None, r["model"] if "model" in groups else None)
            for i, n in enumerate([1, r["n_prompt"], r["n_cached"], r["n_completion"]]):
                buckets[begin][group][i] += n
    return {begin: dict(groups) for begin, groups in buckets.items()}


def read(buckets):
    return {b.start_time: {(r.api_key_id, r.model): [r.num_model_requests, r.input_tokens, r.input_cached_tokens,
                                                     r.output_tokens] for r in b.results} for b in buckets if b.results}


@pytest.mark.parametrize("width, groups", [("1d", []), ("1h", ["model"]), ("1m", ["api_key_id"]),
                                           ("1h", ["api_key_id", "model"])])
def test_buckets_have_the_sums_of_the_rows(used, width, groups):
    span = 40 * WIDTHS[width] + 1000
    used.fill(width + str(groups), span)
    start, end = START + 77, START + span - 30
    with open_server(used) as server:
        buckets, page, pages = [], openai.omit, 0
        while True:
            answer = usage(server).completions(start_time=start, end_time=end, bucket_width=width, limit=20, page=page,
                                               group_by=groups or openai.omit)
            assert answer.object == "page" and len(answer.data) <= 20
            buckets += answer.data
            pages += 1
            if not answer.has_more:
                break
            page = answer.next_page
    assert pages > 1 and answer.next_page is None
    assert buckets[0].start_time == start and buckets[-1].end_time == end
    for before, after in zip(buckets, buckets[1:]):  # without a hole, and at whole widths of UTC
        assert before.end_time == after.start_time and after.start_time % WIDTHS[width] == 0
        assert before.end_time - before.start_time <= WIDTHS[width]
    assert read(buckets) == sums(used.rows, "completions", start, end, width, groups)


def test_results_have_the_form_of_the_official_types(used):
    used.fill(1, 3600)
    with open_server(used) as server:
        answer = usage(server).completions(start_time=START, end_time=START + 3600, group_by=["model", "batch"], batch=False)
        assert {r.model for r in answer.data[0].results} == set(MODELS)
        for r in answer.data[0].results:
            assert r.object == "organization.usage.completions.result" and r.batch is False
            assert (r.input_audio_tokens, r.output_audio_tokens) == (0, 0)
            assert (r.api_key_id, r.project_id, r.user_id, r.service_tier) == (None,) * 4
        assert usage(server).completions(start_time=START, batch=True).data[0].results == []
        vectors = usage(server).embeddings(start_time=START, end_time=START + 3600).data[0].results
        want = sums(used.rows, "embeddings", START, START + 3600, "1d", [])[START][None, None]
        assert [(r.object, r.num_model_requests, r.input_tokens) for r in vectors] == [
            ("organization.usage.embeddings.result", *want[:2])]


def test_keys_and_models_may_be_named(used):
    used.fill(2, 3600)
    with open_server(used, "--alias", "anna") as server:
        def ask(**filters):
            return read(usage(server).completions(start_time=START, end_time=START + 3600, group_by=["model", "api_key_id"],
                                                  **filters).data)

        def of(keep):
            return sums(filter(keep, used.rows), "completions", START, START + 3600, "1d", ["api_key_id", "model"])
        assert ask(api_key_ids=[used.keys[1]]) == of(lambda r: r["key"] == used.keys[1])
        assert ask(models=MODELS[1:]) == of(lambda r: r["model"] in MODELS[1:])
        assert ask(models=["anna"]) == ask(models=["tiny"]) == of(lambda r: r["model"] == "tiny")  # a name of the same model
        assert ask(models=["nosuch"]) == {}
        status, document = server.ask("GET", f"{PATHS['completions']}?start_time={START}&end_time={START + 3600}&models=tiny"
                                      "&models=%C3%A9%26b&group_by=model")  # without brackets
        assert status == 200 and {r["model"] for r in document["data"][0]["results"]} == {"tiny", "é&b"}


def test_without_an_end_the_bucket_of_now_is_the_last(used):
    used.add(time.time() - 1, n_prompt=5)
    used.write()
    with open_server(used) as server:
        now = time.time()
        answer = usage(server).completions(start_time=int(now) - 7200, bucket_width="1h")
        assert not answer.has_more and answer.data[-1].start_time <= now < answer.data[-1].end_time
        assert sum(r.input_tokens for b in answer.data for r in b.results) == 5


BAD = [
    ("", "start_time", "missing_required_parameter"),
    ("start_time=now", "start_time", "invalid_type"),
    ("start_time=1&limit=32", "limit", "invalid_value"),
    ("start_time=1&bucket_width=1y", "bucket_width", "invalid_value"),
    ("start_time=1&user_ids[]=a", "user_ids", "unsupported_parameter"),
    ("start_time=1&group_by[]=project_id", "group_by", "unsupported_value"),
    ("start_time=1&page=page_7", "page", "invalid_value"),
    ("start_time=1&api-version=3", "api-version", "unknown_parameter"),
    ("start_time=1&%FF%1B=3", "\ufffd\x1b", "unknown_parameter"),
]


def test_what_is_wrong_is_named(used):
    with open_server(used) as server:
        for query, param, code in BAD:
            for path in PATHS.values():
                status, document = server.ask("GET", f"{path}?{query}")
                assert (status, document["error"]["param"], document["error"]["code"]) == (400, param, code), query
        assert server.ask("POST", PATHS["completions"])[0] == 405
        with pytest.raises(openai.BadRequestError) as caught:
            usage(server).completions(start_time=5, project_ids=["a"])
        assert caught.value.param == "project_ids"


def test_a_key_needs_the_scope(used):
    plain, reader, everything = key_of(used), key_of(used, "--scope", "usage"), key_of(used, "--scope", "all")
    used.add(START, key=plain.split("-")[2], n_prompt=7)
    used.write()
    with serving("--store", used.store, TINY) as server:
        for key in (reader, everything):
            answer = usage(server, key).completions(start_time=START, end_time=START + 1, group_by=["api_key_id"])
            assert [(r.api_key_id, r.input_tokens) for r in answer.data[0].results] == [(plain.split("-")[2], 7)]
        with pytest.raises(openai.PermissionDeniedError, match="no scope 'usage'") as caught:
            usage(server, plain).completions(start_time=START)
        assert caught.value.code == "missing_scope"
        with pytest.raises(openai.AuthenticationError):
            usage(server, "none").embeddings(start_time=START)
        for path in PATHS.values():  # before the query is looked at
            assert server.ask("GET", path)[0] == 401 and server.ask("GET", path, key=plain)[0] == 403
        assert server.ask("POST", "/v1/completions", {"model": "tiny", "prompt": "a"}, key=reader)[0] == 403


def test_no_ledger_is_nothing_used(used):
    used.path.unlink()
    with open_server(used) as server:
        answer = usage(server).completions(start_time=START, end_time=START + 86400 * 3)
        assert [b.results for b in answer.data] == [[]] * 4


def test_a_ledger_that_cannot_be_read_is_an_error_of_the_server(used):
    """The log has the reason; clients need not know where it lies."""
    server = Server(TINY, env=used.env)
    used.path.write_bytes(b"this is no database" * 100)
    status, document = server.ask("GET", f"{PATHS['completions']}?start_time={START}")
    assert status == 500 and document["error"]["message"] == "the ledger of usage cannot be read"
    assert server.ask("GET", "/v1/models")[0] == 200
    code, log = server.stop()
    assert code == 0 and f"{used.path}: file is not a database" in log


def raw(server, query):
    s = server.connect()
    s.sendall(f"GET {PATHS['completions']}?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return s


def answer_of(s):
    with s:
        data = b"".join(iter(lambda: s.recv(65536), b""))
    return int(data.split()[1]), data.partition(b"\r\n\r\n")[2]


def test_reports_wait_for_who_has_the_ledger_and_nobody_waits_for_them(used):
    used.fill(3, 3600)
    query = f"start_time={START}&end_time={START + 3600}"
    with open_server(used) as server:
        with sqlite3.connect(used.path, isolation_level=None) as db:
            db.execute("BEGIN EXCLUSIVE")
            waiting = [raw(server, query) for _ in range(16)]
            wait_until(lambda: server.ask("GET", f"{PATHS['completions']}?{query}")[0] == 429)  # no place is left
            assert server.ask("POST", "/v1/completions", {"model": "tiny", "prompt": "a", "max_tokens": 1})[0] == 200
            for s in waiting[4:]:
                s.close()  # leave, and wait for nothing
            db.execute("COMMIT")
        want = sums(used.rows, "completions", START, START + 3600, "1d", [])[START][None, None]
        results = [answer_of(s) for s in waiting[:4]]
        assert {status for status, _ in results} <= {200, 429, 503}  # waited in vain, or not
        for status, text in results:
            if status == 200:
                assert json.loads(text)["data"][0]["results"][0]["input_tokens"] == want[1]
        status, document = server.ask("GET", f"{PATHS['completions']}?{query}")
        assert status == 200 and document["data"][0]["results"][0]["num_model_requests"] == want[0]


def test_a_server_ends_while_reports_wait(used):
    used.fill(4, 3600)
    with sqlite3.connect(used.path, isolation_level=None) as db:
        with open_server(used, "--drain-timeout", "0") as server:
            db.execute("BEGIN EXCLUSIVE")
            waiting = [raw(server, f"start_time={START}") for _ in range(5)]
            time.sleep(0.2)
        db.execute("COMMIT")
    for s in waiting:
        status, text = answer_of(s)
        assert status == 503 and "shutting down" in json.loads(text)["error"]["message"] or status in (429, 503)
