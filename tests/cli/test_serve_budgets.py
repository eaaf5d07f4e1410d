"""Tokens that a key has a day and a month, as the official client sees them, and over a restart of `puna serve`. The
binary is $PUNA (default build/release/puna)."""
import calendar
import os
import pathlib
import sqlite3
import subprocess
import time

import openai
import pytest

from puna_server import NO_STORE, PUNA, serving, wait_until
from usage_ledger import Ledger

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
LIMIT = 60
DAY = 86400


@pytest.fixture
def ledger(tmp_path):
    """Tests that speak of a day begin and end in the same one."""
    rest = DAY - time.time() % DAY
    if rest < 60:
        time.sleep(rest + 1)
    return Ledger(tmp_path)


def keys(ledger, *args):
    done = subprocess.run([PUNA, "keys", "--store", ledger.store, *map(str, args)], capture_output=True, text=True,
                          timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def id_of(secret):
    return secret.split("-")[2]


def complete(server, key, **options):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=LIMIT)
    return client.completions.create(model="tiny", prompt="ab", **{"max_tokens": 2} | options).usage.total_tokens


def refusal(server, key, **options):
    with pytest.raises(openai.RateLimitError, match="exceeded your current quota") as caught:
        complete(server, key, **options)
    assert (caught.value.type, caught.value.code) == ("insufficient_quota", "insufficient_quota")
    return caught.value


def midnight(t=None):
    return int(time.time() if t is None else t) // DAY * DAY


def test_a_day_ends_with_its_tokens(ledger):
    key = keys(ledger, "add", "--tokens-per-day", 40)
    with serving("--store", ledger.store, TINY) as server:
        used = 0
        while used + 8 <= 40:
            used += complete(server, key)
        error = refusal(server, key, max_tokens=30)
        next_day = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(midnight() + DAY))
        assert f"of the 40 that key {id_of(key)} has each day {40 - used} are left; the next ones come at {next_day}" \
            in error.message
        assert error.response.headers["x-should-retry"] == "false"
        assert "x-ratelimit-limit-tokens" not in error.response.headers  # those are of a minute
        keys(ledger, "limit", id_of(key), "--tokens-per-day", 1000)  # counts what was used before
        wait_until(lambda: server.ask("POST", "/v1/completions", {"model": "tiny", "prompt": "ab", "max_tokens": 30},
                                      key=key)[0] == 200)
        assert "has each day" in refusal(server, key, max_tokens=990).message


def test_who_leaves_while_he_waits_for_his_turn_has_used_nothing(ledger):
    key, other = keys(ledger, "add", "--tokens-per-day", 1000), keys(ledger, "add")
    with serving("--store", ledger.store, "--parallel", 1, TINY) as server:
        def stream(secret, **options):
            client = openai.OpenAI(base_url=server.url + "/v1", api_key=secret, max_retries=0, timeout=LIMIT)
            return client.completions.create(model="tiny", prompt="ab", stream=True, **options)

        with stream(other, max_tokens=2000, n=16, extra_body={"ignore_eos": True}) as long:
            next(iter(long))  # all others wait
            with stream(key, max_tokens=100):  # its head is there
                assert "each day 1000 are left" not in refusal(server, key, max_tokens=999).message
            wait_until(lambda: "each day 1000 are left" in refusal(server, key, max_tokens=999).message)


def test_who_leaves_has_used_what_the_ledger_says(ledger):
    """What the step that runs makes for him, too, though its end comes after his."""
    key, n = keys(ledger, "add", "--tokens-per-day", 32000), 8

    def rows():
        with sqlite3.connect(ledger.path) as db:
            return db.execute("SELECT n_prompt + n_completion FROM usage").fetchall()

    with serving("--store", ledger.store, "--parallel", 16, TINY) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=LIMIT)
        for _ in range(n):
            with client.completions.create(model="tiny", prompt="ab", n=16, max_tokens=500, stream=True,
                                           extra_body={"ignore_eos": True}) as stream:
                next(iter(stream))
        wait_until(lambda: "others of its requests run" not in refusal(server, key, n=16, max_tokens=2000).message)
        wait_until(lambda: len(rows()) == n)
        used = sum(row[0] for row in rows())
        assert f"has each day {32000 - used} are left" in refusal(server, key, n=16, max_tokens=2000).message


def test_a_restart_finds_what_was_used(ledger):
    now = time.time()
    first = calendar.timegm(time.gmtime(now)[:2] + (1, 0, 0, 0))
    by_day, by_month = keys(ledger, "add", "--tokens-per-day", 1000), keys(ledger, "add", "--tokens-per-month", 2000)
    later = keys(ledger, "add")
    for key in map(id_of, (by_day, by_month, later)):
        ledger.add(now, key=key, n_prompt=300, n_cached=300, n_completion=50)
        ledger.add(midnight(now), key=key, n_prompt=100, endpoint="embeddings")
        ledger.add(first - 1, key=key, n_prompt=10 ** 6)  # another month, and another day
        if midnight(now) > first:
            ledger.add(midnight(now) - 1, key=key, n_prompt=500, status=499)
    ledger.add(now, n_prompt=10 ** 6)  # without a key
    ledger.add(now, key="f" * 12, n_prompt=10 ** 6)
    ledger.write()
    of_month = 450 + (500 if midnight(now) > first else 0)
    with serving("--store", ledger.store, TINY) as server:
        assert "has each day 550 are left" in refusal(server, by_day, max_tokens=560).message
        assert f"has each month {2000 - of_month} are left" in refusal(server, by_month, max_tokens=1600).message
        keys(ledger, "limit", id_of(later), "--tokens-per-day", 460)  # a limit that comes later counts it, too
        wait_until(lambda: server.ask("POST", "/v1/completions", {"model": "tiny", "prompt": "ab", "max_tokens": 20},
                                      key=later)[0] == 429)
        assert "of the 460 that key" in refusal(server, later, max_tokens=20).message
        assert complete(server, by_day) > 0 and complete(server, by_month) > 0


def start_refused(ledger, *args):
    done = subprocess.run([PUNA, "serve", "--port", "0", "--store", ledger.store, *args, TINY], capture_output=True,
                          text=True, timeout=LIMIT, env=os.environ | NO_STORE)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_ledger_that_cannot_be_read_stops_a_start_where_there_are_budgets(ledger):
    keys(ledger, "add", "--tokens-per-month", 1000)
    ledger.path.write_bytes(b"this is no database" * 100)
    code, text = start_refused(ledger)
    assert code == 5 and str(ledger.path) in text and text.count("\n") == 1


def test_budgets_need_the_ledger(ledger):
    key = keys(ledger, "add", "--tokens-per-day", 1000)
    code, text = start_refused(ledger, "--usage", "off")
    assert code == 2 and f"key {id_of(key)} has a limit of tokens a day or month" in text and "--usage=off" in text
    keys(ledger, "limit", id_of(key), "--tokens-per-day", "none")
    with serving("--store", ledger.store, "--usage", "off", TINY) as server:
        keys(ledger, "limit", id_of(key), "--tokens-per-month", 1000)
        line = server.process.stderr.readline()
        assert line.startswith(f"puna: warning: key {id_of(key)} has a limit") and "forgets what was used" in line
        admin = keys(ledger, "add", "--scope", "usage")
        wait_until(lambda: server.ask("GET", "/v1/models", key=admin)[0] == 200)
        with pytest.raises(openai.NotFoundError, match="keeps no ledger of usage"):
            openai.OpenAI(base_url=server.url + "/v1", admin_api_key=admin, max_retries=0).admin.organization.usage.completions(
                start_time=0)


def test_what_a_server_gave_out_the_next_one_knows(ledger):
    ledger.path.unlink()  # the server makes its own
    key = keys(ledger, "add", "--tokens-per-day", 1000, "--tokens-per-month", 1200)
    with serving("--store", ledger.store, TINY) as server:
        used = sum(complete(server, key, max_tokens=5) for _ in range(3))
        before = refusal(server, key, max_tokens=999).message
        assert f"has each day {1000 - used} are left" in before
    with serving("--store", ledger.store, TINY) as server:
        assert refusal(server, key, max_tokens=999).message == before
        server.process.kill()  # at once
        server.process.wait()
        with serving("--store", ledger.store, TINY) as another:
            assert refusal(another, key, max_tokens=999).message == before
            used += complete(another, key, max_tokens=5)
            assert f"has each day {1000 - used} are left" in refusal(another, key, max_tokens=999).message
        server.stop = lambda: (0, "")  # it has ended
