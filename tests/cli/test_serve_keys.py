"""Keys that `puna serve` asks for: who is let in, and for how much, as the official client and raw sockets see it.
The binary is $PUNA (default build/release/puna)."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import openai
import pytest

from puna_server import NO_STORE, PUNA, Server, serving, wait_until

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
LIMIT = 60
NOT_FOUND, NOT_ALLOWED = 404, 405
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


class Keys:
    """A store, and `puna keys` for it."""

    def __init__(self, folder):
        self.path = folder / "puna/store.db"
        self.path.parent.mkdir()
        self.env = os.environ | NO_STORE | {"XDG_DATA_HOME": str(folder)}  # the place that needs no name

    def run(self, *args):
        done = subprocess.run([PUNA, "keys", "--store", self.path, *map(str, args)], capture_output=True, text=True,
                              timeout=LIMIT)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def add(self, *args):
        return self.run("add", *args)


def id_of(secret):
    return secret.split("-")[2]


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path)


@contextlib.contextmanager
def guarded(keys, *args):
    with serving("--store", keys.path, *args, TINY) as server:
        yield server


def unguarded(keys, *args):
    """By the store that is not there yet: --store would have it there."""
    return serving(*args, TINY, env=keys.env)


def client(server, key, **options):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=LIMIT, **options)


def complete(server, key, **options):
    return client(server, key).completions.with_raw_response.create(
        model="tiny", prompt="ab", **{"max_tokens": 2} | options)


def status_of(server, key, path="/v1/models"):
    return server.ask("GET", path, key=key)[0]


def exchange(server, head, body=b""):
    """Status, fields and document of an exchange whose head is written by hand."""
    with server.connect() as s:
        s.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        data = b"".join(iter(lambda: s.recv(65536), b""))
    lines, _, text = data.decode().partition("\r\n\r\n")
    status, *fields = lines.split("\r\n")
    return int(status.split()[1]), dict(f.lower().split(": ", 1) for f in fields), text


# --- every route

def routes(server, key):
    """Every path of the document with each prefix, and every method that one answers."""
    paths = server.ask("GET", "/openapi.json", key=key)[1]["paths"]
    for path in paths:
        path = path.replace("{model}", "tiny")
        for prefix in ("/v1", "/v3/openai", "/openai/v1") if path.startswith("/v1/") else ("",):
            yield prefix + path.removeprefix("/v1")
    yield from ("/", "/nosuch", "/v1", "/v1/nosuch", "/V1/models", "//v1/models", "/v1/../metrics", "/%76%31/models",
                "/v1/models/", "/health/", "/health/x", "/ready%20", "*")


OPEN = {("GET", p) for p in ("/", "/health", "/ready")} | {("HEAD", p) for p in ("/", "/health", "/ready")}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get"]


def bare_status(server, method, path, *fields):
    head = "\n".join([f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", "Content-Length: 2", *fields])
    return exchange(server, head, b"{}")


def test_every_route_and_method_is_behind_the_key_but_for_those_that_are_open(keys):
    all_of_it, expired = keys.add("--scope", "all"), keys.add("--scope", "all", "--expires", "1s")
    revoked = keys.add("--scope", "all")
    keys.run("revoke", id_of(revoked))
    time.sleep(1.1)
    wrong = all_of_it[:-1] + ("0" if all_of_it[-1] != "0" else "1")
    with guarded(keys) as server:
        seen = set()
        for path in routes(server, all_of_it):
            for method in METHODS:
                is_open = (method, path) in OPEN
                right, _, _ = bare_status(server, method, path, f"Authorization: Bearer {all_of_it}")
                assert right != 401
                seen.add((right, method, path))
                for fields in ([], [f"Authorization: Bearer {wrong}"], [f"Authorization: Bearer {expired}"],
                               [f"Authorization: Bearer {revoked}"], [f"Authorization: Basic {all_of_it}"],
                               [f"Authorization: {all_of_it}"], [f"X-API-Key: {all_of_it}"]):
                    status, head, text = bare_status(server, method, path, *fields)
                    if is_open:
                        assert status == right == 200
                        continue
                    if path == "*" and method != "OPTIONS":
                        assert status == right == 400  # no request at all
                        continue
                    assert status == 401, (method, path, fields)
                    assert head["www-authenticate"] == 'bearer realm="puna"'
                    if method != "HEAD":
                        error = json.loads(text)["error"]
                        assert (error["type"], error["code"], error["param"]) == (
                            "invalid_request_error", "invalid_api_key", None)
        reached = {(method, path) for status, method, path in seen if status not in (NOT_FOUND, NOT_ALLOWED, 204, 400)}
        assert {("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/openapi.json"), *OPEN} <= reached
        assert {(400, "POST", f"{p}/{r}") for p in ("/v1", "/v3/openai", "/openai/v1")
                for r in ("chat/completions", "completions", "embeddings", "tokenize")} <= seen


def test_a_preflight_needs_no_key_and_its_answer_lets_the_key_through(keys):
    keys.add()
    with guarded(keys) as server:
        status, head, _ = exchange(server, "OPTIONS /v1/chat/completions HTTP/1.1\nHost: a\nConnection: close\n"
                                   "Origin: https://app.example\nAccess-Control-Request-Method: POST\n"
                                   "Access-Control-Request-Headers: authorization")
        assert status == 204 and head["access-control-allow-headers"] == "authorization"
        status, head, _ = exchange(server, "GET /v1/models HTTP/1.1\nHost: a\nConnection: close\n"
                                   "Origin: https://app.example")
        assert status == 401 and head["access-control-allow-origin"] == "https://app.example"
        assert "x-ratelimit-reset-tokens" in head["access-control-expose-headers"]


def test_a_request_without_a_key_is_refused_before_its_body_is_read(keys):
    keys.add()
    with guarded(keys) as server, server.connect() as s:
        s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n"
                  b"Expect: 100-continue\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 401 ")


# --- the official client

@pytest.mark.parametrize("key, words", [
    ("none", "Incorrect API key provided: this server does not know it"),
    ("sk-puna-0123456789ab-" + "0" * 64, "Incorrect API key provided: this server does not know it"),
])
def test_a_wrong_key_is_an_authentication_error(keys, key, words):
    keys.add()
    with guarded(keys) as server:
        with pytest.raises(openai.AuthenticationError) as caught:
            client(server, key).models.list()
        assert words in caught.value.message and caught.value.code == "invalid_api_key"
        assert caught.value.type == "invalid_request_error" and key not in caught.value.message


def test_who_has_the_secret_is_told_why_it_counts_no_more(keys):
    old, expired, rotated = keys.add(), keys.add("--expires", "1s"), keys.add()
    keys.run("revoke", id_of(old))
    fresh = keys.run("rotate", id_of(rotated))
    graced = keys.run("rotate", id_of(rotated), "--grace", "1h")
    time.sleep(1.1)
    with guarded(keys) as server:
        for key, why in ((old, "it was revoked"), (expired, "it has expired"), (rotated, "does not know it")):
            with pytest.raises(openai.AuthenticationError, match=why):
                client(server, key).models.list()
        for key in (fresh, graced):
            assert client(server, key).models.list().data[0].id == "tiny"


def test_a_key_is_for_its_scopes(keys):
    chat, metrics = keys.add("--scope", "chat"), keys.add("--scope", "metrics")
    with guarded(keys) as server:
        assert client(server, chat).chat.completions.create(**CHAT).usage.completion_tokens > 0
        for ask in (lambda: client(server, chat).embeddings.create(model="tiny", input="a"),
                    lambda: client(server, metrics).chat.completions.create(**CHAT)):
            with pytest.raises(openai.PermissionDeniedError, match="insufficient permissions.*has no scope '") as caught:
                ask()
            assert (caught.value.type, caught.value.code) == ("permission_error", "missing_scope")
        assert status_of(server, metrics, "/metrics") == 200 and status_of(server, chat, "/metrics") == 403
        for path in ("/v1/models", "/v1/models/tiny", "/v1/capabilities", "/openapi.json"):
            assert status_of(server, metrics, path) == 200


def test_a_key_is_for_its_models(keys):
    key, other = keys.add("--model", "anna"), keys.add("--model", "gone")
    with guarded(keys, "--alias", "anna", "--alias", "berta") as server:
        c = client(server, key)
        assert [m.id for m in c.models.list()] == ["anna"] and c.models.retrieve("anna").id == "anna"
        assert c.completions.create(model="anna", prompt="a", max_tokens=1).model == "anna"
        for ask in (lambda: c.models.retrieve("berta"), lambda: c.embeddings.create(model="tiny", input="a"),
                    lambda: c.chat.completions.create(**CHAT), lambda: c.models.retrieve("nosuch")):
            with pytest.raises(openai.PermissionDeniedError, match="does not have access to model") as caught:
                ask()
            assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert server.ask("POST", "/v1/tokenize", {"content": "a"}, key=key)[0] == 200
        assert server.ask("POST", "/v1/tokenize", {"content": "a"}, key=other)[0] == 403


def test_a_key_is_told_its_own_names_alone(keys):
    """Those that there are, of those that it may use: in lists, and in what is said of one that there is not."""
    named, nameless = keys.add("--model", "anna", "--model", "gone"), keys.add("--model", "gone")
    with guarded(keys, "--alias", "secret", "--alias", "anna") as server:
        for key, names, words in (
                (named, ["anna"], "this server has 'anna' (all its names: /v1/models)"),
                (nameless, [], "nor is there another that the key has access to")):
            assert server.ask("GET", "/v1/capabilities", key=key)[1]["models"] == names
            assert [m["id"] for m in server.ask("GET", "/v1/models", key=key)[1]["data"]] == names
            for ask in (("GET", "/v1/models/gone"), ("POST", "/v1/completions", {"model": "gone", "prompt": "a"}),
                        ("POST", "/v1/embeddings", {"model": "gone", "input": "a"}),
                        ("POST", "/v1/tokenize", {"model": "gone", "content": "a"})):
                status, document = server.ask(*ask, key=key)
                assert (status, document["error"]["code"]) == (NOT_FOUND, "model_not_found")
                assert document["error"]["message"].endswith(words)
        status, document = server.ask("POST", "/v1/tokenize", {"content": "a"}, key=nameless)
        assert status == 403 and document["error"]["message"].endswith(" does not have access to any model that there is")


def test_a_key_is_for_its_pages(keys):
    key = keys.add("--origin", "https://App.example:443")
    with guarded(keys) as server:
        for origin, status in (("https://app.example", 200), ("https://app.example.evil.example", 403), (None, 403)):
            fields = [f"Authorization: Bearer {key}", *([f"Origin: {origin}"] if origin else [])]
            head = "\n".join(["GET /v1/models HTTP/1.1", "Host: a", "Connection: close", *fields])
            assert exchange(server, head)[0] == status


# --- limits

FIELDS = [f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining", "reset")]


def test_the_limit_of_requests_and_its_fields(keys):
    key, free = keys.add("--rpm", "2", "--tpm", "100000"), keys.add()
    with guarded(keys) as server:
        first = complete(server, key)
        assert [first.headers[f] for f in FIELDS[:2]] == ["2", "1"]
        assert re.fullmatch(r"(2\d|30)(\.\d+)?s", first.headers["x-ratelimit-reset-requests"])
        assert first.headers["x-ratelimit-limit-tokens"] == "100000"
        stream = complete(server, key, stream=True)  # a stream has them, too
        assert [stream.headers[f] for f in FIELDS[:2]] == ["2", "0"]
        with pytest.raises(openai.RateLimitError, match="requests per minute: limit 2. Please try again in") as caught:
            complete(server, key)
        error = caught.value
        assert (error.type, error.code) == ("rate_limit_exceeded", "rate_limit_exceeded")
        assert 1 <= int(error.response.headers["retry-after"]) <= 30
        assert [error.response.headers[f] for f in FIELDS[:2]] == ["2", "0"]
        models = client(server, key).models.with_raw_response.list()  # is no work for the model
        assert [models.headers[f] for f in FIELDS[:2]] == ["2", "0"]
        with pytest.raises(openai.BadRequestError) as caught:
            client(server, free).completions.create(model="tiny", prompt="a", max_tokens=-1)
        assert not any(f in caught.value.response.headers for f in FIELDS)


def test_errors_of_a_limited_key_have_the_fields(keys):
    key = keys.add("--rpm", "2")
    with guarded(keys) as server:
        with pytest.raises(openai.BadRequestError) as caught:
            client(server, key).completions.create(model="tiny", prompt="a", max_tokens=-1)
        assert [caught.value.response.headers[f] for f in FIELDS[:2]] == ["2", "1"]
        with pytest.raises(openai.NotFoundError) as caught:
            client(server, key).get("/nosuch", cast_to=object)
        assert caught.value.response.headers["x-ratelimit-limit-requests"] == "2"


def left(headers):
    return int(headers["x-ratelimit-remaining-tokens"])


def test_tokens_are_taken_before_and_given_back_after(keys):
    key = keys.add("--tpm", "1000")
    with guarded(keys) as server:
        start = time.monotonic()

        def brought():  # by the time that has gone
            return 1000 / 60 * (time.monotonic() - start)
        answer = complete(server, key, max_tokens=500, extra_body={"ignore_eos": False}, stop=[])
        usage = answer.parse().usage
        assert left(answer.headers) <= 1000 - usage.prompt_tokens - 500 + brought()  # all that it may take
        after = client(server, key).models.with_raw_response.list()
        assert 1000 - usage.total_tokens <= left(after.headers) <= 1000 - usage.total_tokens + brought()
        with pytest.raises(openai.RateLimitError, match="too large .*limit 1000, requested 10") as caught:
            complete(server, key, max_tokens=1000)
        assert caught.value.response.headers["x-should-retry"] == "false"


def test_the_limit_of_tokens_is_not_overrun_by_many_at_once(keys):
    key = keys.add("--tpm", "600")
    with guarded(keys, "--parallel", "8") as server:
        start = time.monotonic()

        def ask(_):
            try:
                return complete(server, key, max_tokens=100, extra_body={"ignore_eos": True}).parse().usage.total_tokens
            except openai.RateLimitError as e:
                assert "tokens per minute: limit 600, left" in e.message
                assert int(e.response.headers["retry-after"]) >= 1
                return 0
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            used = list(pool.map(ask, range(16)))
        assert 0 in used and 500 <= sum(used) <= 600 + 10 * (time.monotonic() - start)
        embedded = [ "a b c d e f g h " * 12] * 10
        with pytest.raises(openai.RateLimitError):
            client(server, key).embeddings.create(model="tiny", input=embedded)


def test_an_answer_of_open_length_has_what_is_left_and_says_so(keys):
    key = keys.add("--tpm", "100")
    with guarded(keys) as server:
        chat = {k: v for k, v in CHAT.items() if k != "max_tokens"} | {"ignore_eos": True}
        _, document = server.ask("POST", "/v1/chat/completions", chat, key=key)
        assert 64 <= document["usage"]["completion_tokens"] <= 100 - document["usage"]["prompt_tokens"]
        assert document["choices"][0]["finish_reason"] == "length"
        assert [w["param"] for w in document["warnings"]] == ["max_completion_tokens"]
        assert f"limit of key {id_of(key)}" in document["warnings"][0]["message"]
        status, document = server.ask("POST", "/v1/chat/completions", chat, key=key)
        assert status == 429 and "tokens per minute" in document["error"]["message"]


def test_requests_at_once_are_counted_until_they_end(keys):
    key = keys.add("--concurrent", "1")
    with guarded(keys) as server:
        with server.connect() as s:
            s.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nAuthorization: Bearer {key}\r\n"
                      "Expect: 100-continue\r\n\r\n".encode())
            assert s.recv(100).startswith(b"HTTP/1.1 100 ")
            with pytest.raises(openai.RateLimitError, match="requests at once: limit 1") as caught:
                complete(server, key)
            assert caught.value.response.headers["retry-after"] == "1"
            assert status_of(server, key) == 200  # no work for the model
        wait_until(lambda: works(server, key))  # who leaves makes room
        assert works(server, key)


def works(server, key):
    try:
        complete(server, key)
        return True
    except openai.RateLimitError:
        return False


@pytest.mark.parametrize("name, least", [("high", -100), ("normal", 0), ("low", 100)])
def test_a_class_is_the_lowest_priority_that_requests_may_have(keys, name, least):
    key = keys.add("--priority", name)
    with guarded(keys) as server:
        for priority in (least, least + 5, None):
            complete(server, key, extra_body={"priority": priority})
        with pytest.raises(openai.BadRequestError, match=f"is {least - 1}, this key may ask for {least} and above"):
            complete(server, key, extra_body={"priority": least - 1})


# --- keys of minutes

ORIGIN = "https://app.example"
OFFER = {"model": "tiny", "origin": ORIGIN, "max_tokens": 8, "budget_tokens": 40}


def offer(server, key, **changes):
    body = {k: v for k, v in (OFFER | changes).items() if v is not ...}
    return server.ask("POST", "/v1/keys/ephemeral", body, key=key)


def test_a_key_of_minutes_is_good_for_little(keys):
    key = keys.add("--scope", "keys", "--scope", "chat", "--rpm", "50")
    with guarded(keys, "--alias", "other") as server:
        status, made = offer(server, key)
        assert status == 200 and made.items() >= OFFER.items() and made["object"] == "ephemeral_key"
        assert re.fullmatch(f"ek-puna-{made['id']}-[0-9a-f]{{64}}", made["value"])
        assert made["expires_at"] == made["created_at"] + 600
        page = client(server, made["value"], default_headers={"Origin": ORIGIN})

        def ask(**changes):
            return page.completions.with_raw_response.create(**{"model": "tiny", "prompt": "a"} | changes)
        start = time.monotonic()
        first = ask()
        assert 0 < first.parse().usage.completion_tokens <= 8
        assert first.headers["x-ratelimit-limit-requests"] == "50"  # of who made it
        assert 49 <= int(first.headers["x-ratelimit-remaining-requests"]) <= 49 + 50 / 60 * (time.monotonic() - start)
        with pytest.raises(openai.BadRequestError, match="is 9, this key may ask for 8 at most") as caught:
            ask(max_tokens=9)
        assert caught.value.param == "max_tokens"
        with pytest.raises(openai.PermissionDeniedError, match="does not have access to model 'other'"):
            ask(model="other")
        with pytest.raises(openai.PermissionDeniedError, match="no scope 'embeddings'"):
            page.embeddings.create(model="tiny", input="a")
        with pytest.raises(openai.PermissionDeniedError, match="no Origin header"):
            client(server, made["value"]).models.list()
        with pytest.raises(openai.PermissionDeniedError, match="not for pages of this origin"):
            client(server, made["value"], default_headers={"Origin": "https://b.example"}).models.list()
        assert offer(server, made["value"])[0] == 403  # makes no others
        used = first.parse().usage.total_tokens
        with pytest.raises(openai.RateLimitError, match="exceeded your current quota") as caught:
            for _ in range(40):
                used += ask().parse().usage.total_tokens
        assert caught.value.code == "insufficient_quota" and 40 - 12 <= used <= 40
        assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_key_of_minutes_ends(keys):
    key = keys.add("--scope", "all")
    with guarded(keys) as server:
        short = offer(server, key, expires_after={"anchor": "created_at", "seconds": 3})[1]["value"]
        long = offer(server, key, expires_after={})[1]["value"]

        def status(secret):
            return exchange(server, "GET /v1/models HTTP/1.1\nHost: a\nConnection: close\n"
                            f"Origin: {ORIGIN}\nAuthorization: Bearer {secret}")[0]
        assert (status(short), status(long)) == (200, 200)
        ends = keys.add("--scope", "all", "--expires", "60s")  # before what it makes would
        wait_until(lambda: status_of(server, ends) == 200, 10)
        _, made = offer(server, ends)
        row = next(k for k in json.loads(keys.run("list", "--json")) if k["id"] == id_of(ends))
        assert made["expires_at"] == row["expires"] and made["expires_at"] <= made["created_at"] + 60
        _, made = offer(server, ends, expires_after={"seconds": 5})
        assert made["expires_at"] == made["created_at"] + 5
        wait_until(lambda: status(short) == 401, 10)
        keys.run("revoke", id_of(key))
        wait_until(lambda: status(long) == 401, 10)


@pytest.mark.parametrize("changes, status, param, code", [
    ({"origin": ...}, 400, "origin", "missing_required_parameter"),
    ({"model": ...}, 400, "model", "missing_required_parameter"),
    ({"max_tokens": ...}, 400, "max_tokens", "missing_required_parameter"),
    ({"budget_tokens": ...}, 400, "budget_tokens", "missing_required_parameter"),
    ({"origin": "app.example"}, 400, "origin", "invalid_value"),
    ({"origin": "https://app.example/x"}, 400, "origin", "invalid_value"),
    ({"origin": "*"}, 400, "origin", "invalid_value"),
    ({"max_tokens": 0}, 400, "max_tokens", "invalid_value"),
    ({"budget_tokens": -1}, 400, "budget_tokens", "invalid_value"),
    ({"expires_after": {"seconds": 601}}, 400, "expires_after.seconds", "invalid_value"),
    ({"expires_after": {"seconds": 0}}, 400, "expires_after.seconds", "invalid_value"),
    ({"expires_after": {"anchor": "now"}}, 400, "expires_after.anchor", "invalid_value"),
    ({"expires_after": 60}, 400, "expires_after", "invalid_type"),
    ({"expires_after": {"minutes": 1}}, 400, "expires_after.minutes", "unknown_parameter"),
    ({"session": {}}, 400, "session", "unknown_parameter"),
    ({"model": "nosuch"}, 404, "model", "model_not_found"),
])
def test_an_offer_that_makes_no_sense_is_refused_by_name(keys, changes, status, param, code):
    key = keys.add("--scope", "all")
    with guarded(keys) as server:
        found, document = offer(server, key, **changes)
        assert (found, document["error"]["param"], document["error"]["code"]) == (status, param, code)


def test_where_there_are_no_keys_none_of_minutes_is_made(keys):
    with unguarded(keys) as server:
        status, document = offer(server, None)
        assert (status, document["error"]["type"]) == (403, "permission_error")


# --- where and when

def test_without_a_key_only_loopback_is_served(keys):
    def refused(*args):
        done = subprocess.run([PUNA, "serve", "--port", "0", *args, TINY], capture_output=True, text=True,
                              timeout=LIMIT, env=keys.env)
        assert done.returncode == 2 and done.stdout == ""
        return done.stderr
    assert "and there are no keys: make one with puna keys add, or give --no-auth" in refused("--host", "0.0.0.0")
    assert not keys.path.exists()  # serving makes none
    key = keys.add()
    with guarded(keys, "--host", "0.0.0.0") as server:
        assert [status_of(server, k) for k in (None, key)] == [401, 200]
    keys.run("revoke", id_of(key))  # the last key's end opens nothing
    with guarded(keys) as server:
        assert [status_of(server, k) for k in (None, key)] == [401, 401]
    assert f"option --no-auth: {keys.path} has 1 key, which are asked for" in refused("--no-auth")


def test_a_store_that_cannot_be_read_is_an_error_not_an_open_server(keys):
    keys.path.write_bytes(b"garbage, and more of it than a header of a database has" * 9)
    done = subprocess.run([PUNA, "serve", "--port", "0", "--store", keys.path, TINY], capture_output=True, text=True,
                          timeout=LIMIT)
    assert (done.returncode, done.stdout) == (5, "") and str(keys.path) in done.stderr


@pytest.mark.parametrize("args, env, name", [
    (["--store", "{}"], {}, "option --store"),
    (["--store", "{}"], {"PUNA_STORE": "/elsewhere"}, "option --store"),
    ([], {"PUNA_STORE": "{}"}, "PUNA_STORE"),
    ([], {"PUNA_SERVE_STORE": "{}"}, "option --store"),
])
def test_a_store_that_is_named_has_to_be_there(keys, args, env, name):
    done = subprocess.run([PUNA, "serve", "--port", "0", *[a.format(keys.path) for a in args], TINY], text=True,
                          capture_output=True, timeout=LIMIT,
                          env=keys.env | {k: v.format(keys.path) for k, v in env.items()})
    assert (done.returncode, done.stdout) == (3, "") and not keys.path.exists()
    assert done.stderr == (f"puna serve: {keys.path}: no such store: puna keys add --store FILE makes it with its first "
                           f"key; or leave {name} out\n")


@pytest.mark.parametrize("mode", [0o660, 0o602])
def test_a_store_that_others_can_write_to_is_a_warning(keys, mode):
    key = keys.add()
    keys.path.chmod(mode)
    server = Server("--store", keys.path, TINY)
    try:
        assert status_of(server, key) == 200
        assert server.stop() == (
            0, f"puna: warning: {keys.path}: others can write to it, and so make keys: chmod go-w\n")
    finally:
        server.process.kill()


def test_a_second_grace_is_for_the_secret_before_it_alone(keys):
    first = keys.add()
    second = keys.run("rotate", id_of(first), "--grace", "1h")
    with guarded(keys) as server:
        assert (status_of(server, first), status_of(server, second)) == (200, 200)
        third = keys.run("rotate", id_of(first), "--grace", "1h")
        wait_until(lambda: status_of(server, first) == 401, 10)
        assert (status_of(server, second), status_of(server, third)) == (200, 200)
        fourth = keys.run("rotate", id_of(first))
        wait_until(lambda: status_of(server, third) == 401, 10)
        assert (status_of(server, second), status_of(server, fourth)) == (401, 200)


@pytest.mark.parametrize("by_signal", [False, True])
def test_changes_count_in_a_server_that_runs(keys, by_signal):
    def see(server, key, status):
        if by_signal:
            server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status_of(server, key) == status, 10)
    with unguarded(keys) as server:
        assert status_of(server, None) == 200
        first = keys.add("--rpm", "5")
        see(server, None, 401)
        assert status_of(server, first) == 200
        second = keys.add()
        see(server, second, 200)
        assert complete(server, first).headers["x-ratelimit-remaining-requests"] == "4"
        keys.run("limit", id_of(first), "--rpm", "3")
        if by_signal:
            server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: models_field(server, first, "x-ratelimit-limit-requests") == "3", 10)
        assert models_field(server, first, "x-ratelimit-remaining-requests") == "2"
        third = keys.run("rotate", id_of(second))
        see(server, third, 200)
        assert status_of(server, second) == 401
        keys.run("revoke", id_of(first))
        see(server, first, 401)


def models_field(server, key, name):
    return client(server, key).models.with_raw_response.list().headers[name]


def test_a_store_that_breaks_is_told_once_and_changes_nothing(keys):
    key = keys.add()
    server = Server("--store", keys.path, TINY)
    try:
        good = keys.path.read_bytes()
        keys.path.write_bytes(b"x" * 1000)
        line = server.process.stderr.readline()
        assert line.startswith(f"puna: warning: {keys.path}: ") and line.endswith("; the keys stay as they were\n")
        time.sleep(1.5)  # looked at again, and not told
        assert status_of(server, key) == 200 and status_of(server, None) == 401
        keys.path.write_bytes(good)
        keys.run("revoke", id_of(key))
        wait_until(lambda: status_of(server, key) == 401, 10)
        assert server.stop() == (0, "")
    finally:
        server.process.kill()


def test_a_warning_that_nobody_reads_holds_nothing_up(keys):
    key = keys.add()
    server = Server("--store", keys.path, TINY)
    try:
        server.fill_stderr()
        good = keys.path.read_bytes()
        keys.path.write_bytes(b"x" * 1000)
        server.process.send_signal(signal.SIGHUP)
        assert status_of(server, key) == 200
        keys.path.write_bytes(good)
        keys.run("revoke", id_of(key))
        wait_until(lambda: status_of(server, key) == 401, 10)
        code, errors = server.stop()
        assert code == 0 and set(errors) == {"x"}
    finally:
        server.process.kill()


def test_an_answer_under_way_outlives_its_key(keys):
    key = keys.add()
    with guarded(keys) as server:
        stream = client(server, key).completions.create(
            model="tiny", prompt="a", max_tokens=2000, stream=True, extra_body={"ignore_eos": True})
        next(stream)
        keys.run("revoke", id_of(key))
        wait_until(lambda: status_of(server, key) == 401, 10)
        assert [c for c in stream][-1].choices[0].finish_reason == "length"


def test_ten_thousand_keys_are_no_burden(keys):
    key = keys.add()
    with sqlite3.connect(keys.path) as db:
        db.executemany("INSERT INTO keys SELECT printf('%012x', ?), name, randomblob(32), NULL, NULL, created, expires, "
                       "revoked, scopes, priority, 60, 1000, 3, '', '', NULL, NULL FROM keys WHERE id = ?",
                       [(i, id_of(key)) for i in range(10000)])
    with guarded(keys) as server:
        assert status_of(server, key) == 200
        last = keys.add()
        wait_until(lambda: status_of(server, last) == 200, 10)
        unknown = f"sk-puna-{5000:012x}-" + "0" * 64  # its id is there
        assert status_of(server, unknown) == 401


# --- nothing is told to others

def test_no_log_and_no_metric_has_a_secret(keys):
    secrets = [keys.add("--scope", "all", "--name", "Anna", "--rpm", "3"), keys.add(), keys.add()]
    keys.run("revoke", id_of(secrets[2]))
    secrets.append(keys.run("rotate", id_of(secrets[1]), "--grace", "1h"))
    for form in ("text", "json"):
        server = Server("--store", keys.path, "--log", form, TINY)
        try:
            said = ""
            for key in secrets:
                for method, path in (("GET", "/v1/models"), ("POST", "/v1/completions")):
                    body = json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 1}) if method == "POST" else None
                    said += str(server.ask(method, path, body, key=key))
            for value in (f"Basic {secrets[0]}", secrets[0], f"Bearer {secrets[0]}0", f"Bearer  {secrets[0]} x"):
                said += exchange(server, f"GET /v1/models HTTP/1.1\nHost: a\nConnection: close\nAuthorization: {value}")[2]
            said += server.ask("GET", "/metrics", key=secrets[0])[1]
            for key in secrets[:2]:  # where nobody should put it
                server.ask("GET", f"/v1/{key}/{key}")
                exchange(server, f"GET /health HTTP/1.1\nHost: a\nConnection: close\nx-request-id: {key}")
            code, log = server.stop()
            assert code == 0 and log.count("\n") >= 13
        finally:
            server.process.kill()
        for key in secrets:
            assert key[-64:] not in log + said and key not in log + said
        entry = f"key={id_of(secrets[0])}" if form == "text" else f'"key":"{id_of(secrets[0])}"'
        assert entry in log and id_of(secrets[2]) not in log
