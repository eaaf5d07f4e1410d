"""`puna usage` against the real binary: its sums, beside Python's own over the same rows, and what is forgotten. The
binary is $PUNA (default build/release/puna)."""
import collections
import csv
import datetime
import io
import json
import os
import random
import re
import sqlite3
import subprocess
import threading
import time

import pytest

import usage_ledger

PUNA = os.path.abspath(os.environ.get("PUNA", "build/release/puna"))
DAY = 86400
NUMBERS = ["requests", "prompt_tokens", "cached_tokens", "completion_tokens", "filtered", "failed"]


class Ledger(usage_ledger.Ledger):
    def run(self, *args):
        return subprocess.run([PUNA, "usage", "--store", self.store, *map(str, args)], capture_output=True, timeout=60)

    def well(self, *args):
        done = self.run(*args)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
        return done.stdout.decode()

    def refused(self, *args):
        done = self.run(*args)
        assert done.stdout == b"" and done.stderr.startswith(b"puna usage: ") and done.stderr.count(b"\n") == 1
        return done.returncode, done.stderr.decode().removeprefix("puna usage: ").strip()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


def add_key(ledger, *args):
    done = subprocess.run([PUNA, "keys", "--store", ledger.store, "add", *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("-")[2]


def day_of(row):
    return datetime.datetime.fromtimestamp(row["ended"] / 1000, datetime.timezone.utc).strftime("%Y-%m-%d")


def sums(rows, by):
    """What the program should print of them: {group: numbers}."""
    groups = collections.defaultdict(lambda: [0] * len(NUMBERS))
    for r in rows:
        group = tuple({"day": day_of(r), "key": r["key"], "model": r["model"]}[column] for column in ("day", "key", "model")
                      if column in by)
        for i, n in enumerate([1, r["n_prompt"], r["n_cached"], r["n_completion"], r["is_filtered"],
                               r["status"] >= 400 and r["status"] != 499]):
            groups[group][i] += n
    return dict(groups)


def read_json(text, by):
    """Groups and numbers of it, in its order."""
    found = {}
    for row in json.loads(text):
        assert list(row) == [c for column in ("day", "key", "model") if column in by
                             for c in ([column, "name"] if column == "key" else [column])] + NUMBERS
        found[tuple(row[c] or "" for c in ("day", "key", "model") if c in by)] = [row[n] for n in NUMBERS]
    return found


def read_csv(text, by):
    assert text.replace("\r\n", "").count("\n") == 0 and text.endswith("\r\n")
    return {tuple(row[c] for c in ("day", "key", "model") if c in by): [int(row[n]) for n in NUMBERS]
            for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)}


def read_table(text, by):
    """Numbers of its lines, without names; the total."""
    head, *lines, last = text.splitlines()
    n_before = ("day" in by) + ("key" in by)
    assert head.split()[n_before:n_before + 6] == ["REQUESTS", "PROMPT", "CACHED", "COMPLETION", "FILTERED", "FAILED"]
    total = [int(n) for n in re.findall(r"\d+", last)]
    return [(line.split()[:n_before], [int(n) for n in line.split()[n_before:n_before + 6]]) for line in lines], total


MODELS = ["tiny", "Zebra, the \"second\"", "é", "a b"]
BYS = ["day", "key", "model", "day,key", "model,day", "key,model", "model,key,day"]


def fill(ledger, seed, n=400):
    rng = random.Random(seed)
    keys = ["", add_key(ledger, "--name", "Anna, \"B\""), add_key(ledger), "0" * 12]
    midnight = int(time.time()) // DAY * DAY
    for _ in range(n):
        n_prompt = rng.randrange(10 ** rng.randrange(1, 9))
        ledger.add(rng.choice([rng.uniform(midnight - 40 * DAY, midnight), midnight - DAY * rng.randrange(40),
                               midnight - DAY * rng.randrange(40) - 0.001]),
                   key=rng.choice(keys), model=rng.choice(MODELS), n_prompt=n_prompt, n_cached=rng.randint(0, n_prompt),
                   n_completion=rng.randrange(5000), is_filtered=rng.randrange(2),
                   status=rng.choice([200, 200, 400, 499, 500, 503]),
                   endpoint=rng.choice(["chat/completions", "completions", "embeddings"]))
    ledger.write()
    return keys, midnight


@pytest.mark.parametrize("by", BYS)
def test_sums_are_those_of_the_rows(ledger, by):
    fill(ledger, seed=BYS.index(by))
    want = sums(ledger.rows, by.split(","))
    everything = ["--since", "1970-01-01", "--by", by]
    in_json = read_json(ledger.well(*everything, "--json"), by)
    assert in_json == want and list(in_json) == sorted(want, key=lambda group: [part.encode() for part in group])
    assert read_csv(ledger.well(*everything, "--csv"), by) == want
    lines, total = read_table(ledger.well(*everything), by)
    assert [numbers for _, numbers in lines] == list(in_json.values())
    assert total == sums(ledger.rows, [])[()]
    if "key" in by:
        shown = [before[-1] for before, _ in lines]
        assert shown == [group[1 if "day" in by else 0] or "-" for group in in_json]


def test_days_are_those_of_utc_and_ranges_have_their_first_moment_alone(ledger):
    _, midnight = fill(ledger, seed=99)
    first, last = midnight - 20 * DAY, midnight - 10 * DAY
    name = lambda s: time.strftime("%Y-%m-%d", time.gmtime(s))
    inside = [r for r in ledger.rows if first * 1000 <= r["ended"] < last * 1000]
    assert {r["ended"] for r in inside} & {first * 1000, last * 1000 - 1}  # at the very edges, too
    env = os.environ | {"TZ": "Pacific/Kiritimati"}
    done = subprocess.run([PUNA, "usage", "--usage-store", ledger.path, "--since", name(first), "--until", name(last),
                           "--json"], capture_output=True, text=True, timeout=60, env=env)
    assert read_json(done.stdout, ["day"]) == sums(inside, ["day"])
    week = [r for r in ledger.rows if r["ended"] >= (midnight - 7 * DAY) * 1000]
    if time.time() // DAY * DAY == midnight:
        assert read_json(ledger.well("--since", "7d", "--json"), ["day"]) == sums(week, ["day"])
        month = [r for r in ledger.rows if r["ended"] >= (midnight - 30 * DAY) * 1000]
        assert read_json(ledger.well("--json"), ["day"]) == sums(month, ["day"])


def test_hours_are_counted_to_the_second(ledger):
    now = time.time()
    ledger.add(now - 3 * 3600 + 60, n_prompt=1)
    ledger.add(now - 3 * 3600 - 60, n_prompt=10)
    ledger.write()
    text = ledger.well("--since", "3h", "--by", "model", "--json")
    assert json.loads(text)[0]["prompt_tokens"] == 1


def test_keys_and_models_may_be_named(ledger):
    keys, _ = fill(ledger, seed=5)
    for args, keep in [(["--key", keys[1]], lambda r: r["key"] == keys[1]),
                       (["--key", "none", "--key", keys[2]], lambda r: r["key"] in ("", keys[2])),
                       (["--model", MODELS[1]], lambda r: r["model"] == MODELS[1]),
                       (["--model", "é", "--model", "tiny", "--key", keys[3]],
                        lambda r: r["model"] in ("é", "tiny") and r["key"] == keys[3]),
                       (["--model", "' OR 1 --"], lambda r: False)]:
        text = ledger.well("--since", "1970-01-01", "--by", "key,model", "--json", *args)
        assert read_json(text, "key,model") == sums(filter(keep, ledger.rows), ["key", "model"])


def test_keys_have_their_names(ledger):
    key = add_key(ledger, "--name", "Anna, \"B\" €")
    ledger.add(time.time(), key=key)
    ledger.add(time.time(), key="f" * 12)
    ledger.add(time.time())
    ledger.write()
    names = {row["key"]: row["name"] for row in json.loads(ledger.well("--by", "key", "--json"))}
    assert names == {None: None, key: "Anna, \"B\" €", "f" * 12: ""}
    rows = list(csv.reader(io.StringIO(ledger.well("--by", "key", "--csv"), newline=""), strict=True))
    assert [row[:2] for row in rows[1:]] == sorted([["", ""], [key, "Anna, \"B\" €"], ["f" * 12, ""]])
    lines = ledger.well("--by", "key,model").splitlines()
    assert [line for line in lines if line.startswith(key) and "Anna, \"B\" €" in line and line.endswith("  tiny")]


def test_without_keys_there_are_sums_without_names(ledger):
    ledger.add(time.time(), key="f" * 12)
    ledger.write()
    assert not ledger.store.exists()
    assert json.loads(ledger.well("--by", "key", "--json"))[0]["name"] == "" and not ledger.store.exists()
    ledger.store.write_text("no database at all, but a text of some length")
    done = ledger.run("--by", "key", "--json")
    assert json.loads(done.stdout)[0]["key"] == "f" * 12 and done.returncode == 0
    assert done.stderr.startswith(b"puna: warning: keys have no names here: ") and done.stderr.count(b"\n") == 1


def test_no_control_character_comes_out(ledger):
    ledger.add(time.time(), model="x\n\x1b[31mEVIL\x9b\u202e", key="\x1b]0;title\x07")
    ledger.write()
    for form in ([], ["--csv"], ["--json"]):
        text = ledger.well("--by", "key,model", *form).replace("\r\n", "\n")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert json.loads(ledger.well("--by", "model", "--json"))[0]["model"] == "x\n\x1b[31mEVIL\x9b\u202e"


def test_a_ledger_without_rows_is_a_total_of_nothing(ledger):
    lines, total = read_table(ledger.well(), "day")
    assert (lines, total) == ([], [0] * 6)
    assert json.loads(ledger.well("--json")) == [] and len(ledger.well("--csv").splitlines()) == 1


def test_the_ledger_lies_beside_the_keys_or_where_it_is_named(ledger, tmp_path):
    ledger.add(time.time(), n_prompt=3)
    ledger.write()
    other = ledger.path.rename(tmp_path / "other")
    code, text = ledger.refused()
    assert code == 3 and text == (f"{ledger.path}: there is no ledger of usage, which puna serve makes; another one is "
                                  "named with --usage-store")
    assert not ledger.path.exists()
    assert json.loads(ledger.well("--usage-store", other, "--json"))[0]["prompt_tokens"] == 3
    home = tmp_path / "data/puna"
    home.mkdir(parents=True)
    other.rename(home / "store.db-usage")
    for env in ({"XDG_DATA_HOME": str(tmp_path / "data"), "PUNA_STORE": ""}, {"PUNA_STORE": str(home / "store.db")}):
        done = subprocess.run([PUNA, "usage", "--json"], env=os.environ | env, capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)[0]["prompt_tokens"] == 3


BAD = [
    (["--since", "yesterday"], "option --since: 'yesterday' is neither a day like 2026-11-26 nor a time like 7d"),
    (["--since", "2026-02-30"], "option --since: '2026-02-30' is neither"),
    (["--since", "2026-2-3"], "option --since: '2026-2-3' is neither"),
    (["--since", " 2026-02-03"], "is neither"),
    (["--since", "1969-12-31"], "is neither"),
    (["--since", ""], "is neither"),
    (["--until", "2026-01-01x"], "option --until: '2026-01-01x' is neither"),
    (["--since", "2026-02-02", "--until", "2026-02-02"], "option --until: '2026-02-02' is not after --since 2026-02-02"),
    (["--until", "31d"], "option --until: '31d' is not after --since 30d"),
    (["--by", "hour"], "option --by: 'hour' is not some of day, key and model"),
    (["--by", ""], "option --by: '' is not some of"),
    (["--by", "day,day"], "option --by: 'day,day' is not some of"),
    (["--by", "day,"], "option --by: 'day,' is not some of"),
    (["--key", "anna"], "option --key: what it was given is no id"),
    (["--json", "--csv"], "one of --json and --csv alone is possible"),
    (["--before", "2026-01-01"], "option --before changes nothing without forget"),
    (["forgive"], "'forgive' is not forget or vacuum"),
    (["forget"], "forget needs one of --before and --older-than"),
    (["forget", "--before", "2026-01-01", "--older-than", "3d"], "forget needs one of --before and --older-than"),
    (["forget", "--before", "3d"], "option --before: '3d' is not a day like 2026-11-26"),
    (["forget", "--older-than", "0d"], "option --older-than: '0d' is not a time like"),
    (["forget", "--older-than", "3d", "--json"], "option --json changes nothing with forget"),
    (["vacuum", "--older-than", "3d"], "option --older-than changes nothing with vacuum"),
    (["vacuum", "now"], "surplus argument 'now'"),
]


@pytest.mark.parametrize("args, why", BAD)
def test_what_cannot_be_meant_is_refused(ledger, args, why):
    code, text = ledger.refused(*args)
    assert code == 2 and why in text


def test_a_secret_is_not_repeated(ledger):
    secret = "sk-puna-0123456789ab-" + "0" * 64
    assert "0" * 20 not in ledger.refused("--key", secret)[1]


def test_what_is_no_ledger_is_said(ledger, tmp_path):
    add_key(ledger)
    code, text = ledger.refused("--usage-store", ledger.store)
    assert code == 5 and "a database of another kind" in text and "--usage-store" in text
    ledger.path.write_bytes(b"")
    assert "is empty" in ledger.refused()[1]


# --- retention

def test_old_requests_are_forgotten_and_their_space_comes_back(ledger):
    now = time.time()
    for i in range(5000):
        ledger.add(now - (i % 100) * DAY - 60)
    ledger.write()
    before = ledger.path.stat().st_size
    assert ledger.well("forget", "--older-than", "10d") == "forgot 4500 requests\n"
    assert ledger.count() == 500 and ledger.path.stat().st_size == before
    text = ledger.well("vacuum")
    after = ledger.path.stat().st_size
    assert text == f"{after} bytes, before {before}\n" and after < before / 4 and ledger.count() == 500
    day = time.strftime("%Y-%m-%d", time.gmtime(now - 3 * DAY))
    kept = [r for r in ledger.rows if r["ended"] >= (int(now - 3 * DAY) // DAY * DAY) * 1000]
    ledger.well("forget", "--before", day)
    assert ledger.count() == len(kept)
    assert ledger.well("forget", "--before", day) == "forgot 0 requests\n"


def test_others_write_while_much_is_forgotten(ledger):
    for i in range(20000):
        ledger.add(1000 + i)
    ledger.write()
    seen, done = set(), threading.Event()

    def write():
        with sqlite3.connect(ledger.path, timeout=30, isolation_level=None) as db:
            while not done.wait(0.005):
                db.execute("INSERT OR REPLACE INTO usage SELECT * FROM usage WHERE id = 'chatcmpl-19999'")
                seen.add(db.execute("SELECT count(*) FROM usage").fetchone()[0])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert ledger.well("forget", "--before", "1971-01-01") == "forgot 20000 requests\n"
    finally:
        done.set()
        writer.join()
    assert seen - {0, 20000} and ledger.count() == 0  # it had its turns between


def test_who_writes_is_waited_for(ledger):
    ledger.add(1000)
    ledger.write()
    with sqlite3.connect(ledger.path, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        assert len(ledger.well("--since", "1970-01-01").splitlines()) == 3  # reading goes on
        process = subprocess.Popen([PUNA, "usage", "--store", ledger.store, "forget", "--older-than", "1d"],
                                   stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        db.execute("COMMIT")
        assert process.communicate(timeout=60)[0] == "forgot 1 request\n"
