"""`puna keys` against the real binary: what is printed, what is stored, what is refused. The binary is $PUNA
(default build/release/puna)."""
import hashlib
import json
import os
import re
import sqlite3
import stat
import subprocess
import time

import pytest

PUNA = os.path.abspath(os.environ.get("PUNA", "build/release/puna"))
SECRET = re.compile(r"sk-puna-([0-9a-f]{12})-[0-9a-f]{64}\n")
DAY = 86400


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


def run(store, *args, **options):
    return subprocess.run([PUNA, "keys", "--store", str(store), *map(str, args)], capture_output=True, text=True,
                          timeout=60, **options)


def well(store, *args):
    done = run(store, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def add(store, *args):
    """Id and secret of a new key."""
    out = well(store, "add", *args)
    return SECRET.fullmatch(out)[1], out.strip()


def shown(store, key):
    return json.loads(well(store, "show", key, "--json"))


def refused(store, *args):
    """Exit code, and the line without what begins it."""
    done = run(store, *args)
    assert done.stdout == "" and done.stderr.startswith("puna keys: ") and done.stderr.count("\n") == 1
    return done.returncode, done.stderr.removeprefix("puna keys: ").strip()


def row(store, key):
    with sqlite3.connect(store) as db:
        db.row_factory = sqlite3.Row
        return dict(db.execute("SELECT * FROM keys WHERE id = ?", (key,)).fetchone())


# --- making

def test_the_secret_is_alone_on_standard_output_and_its_digest_alone_in_the_file(store):
    done = run(store, "add", "--name", "Anna")
    key = SECRET.fullmatch(done.stdout)[1]
    assert done.stderr == f"puna keys: this is the secret of key {key}; it will not be shown again\n"
    secret = done.stdout.strip()
    assert row(store, key)["hash"] == hashlib.sha256(secret.encode()).digest()
    data = store.read_bytes()
    assert secret.encode() not in data and secret[-64:].encode() not in data
    assert bytes.fromhex(secret[-64:]) not in data
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    for args in (["list"], ["list", "--json"], ["show", key], ["show", key, "--json"]):
        assert key in well(store, *args) and secret[-64:] not in well(store, *args)


def test_a_key_is_for_inference_unless_it_is_said(store):
    before = int(time.time())
    key, _ = add(store)
    document = shown(store, key)
    assert before <= document.pop("created") <= time.time()
    assert document == {
        "id": key, "name": "", "expires": None, "revoked": None, "scopes": ["chat", "embeddings", "tokenize"],
        "priority": "normal", "requests_per_minute": None, "tokens_per_minute": None, "concurrent": None,
        "tokens_per_day": None, "tokens_per_month": None, "models": [], "origins": [], "old_secret_until": None}


EVERYTHING = ["--name", "Änna €", "--scope", "chat", "--scope", "metrics", "--expires", "2d", "--model", "a/b:c",
              "--model", "b c", "--origin", "https://App.example:443", "--origin", "http://localhost:3000",
              "--rpm", "60", "--tpm", "4294967294", "--concurrent", "2", "--priority", "low",
              "--tokens-per-day", "5000000000", "--tokens-per-month", "1000000000000000"]
AS_JSON = {"name": "Änna €", "scopes": ["chat", "metrics"], "models": ["a/b:c", "b c"],
           "origins": ["https://app.example", "http://localhost:3000"], "requests_per_minute": 60,
           "tokens_per_minute": 4294967294, "concurrent": 2, "priority": "low", "tokens_per_day": 5000000000,
           "tokens_per_month": 1000000000000000}


def test_all_that_is_asked_for_is_in_it(store):
    document = json.loads(well(store, "add", "--json", *EVERYTHING))
    secret = document.pop("secret")
    assert SECRET.fullmatch(secret + "\n")[1] == document["id"]
    assert document == shown(store, document["id"]) and document.items() >= {**AS_JSON}.items()
    assert document["expires"] == document["created"] + 2 * DAY
    text = well(store, "show", document["id"])
    for part in ("Änna €", "active", "chat,metrics" , "low", "60", "4294967294", "a/b:c\n", "b c\n",
                 "https://app.example\n"):
        assert part in text or part == "chat,metrics" and "metrics,chat" in text
    line = well(store, "list").splitlines()[1]
    assert line.startswith(document["id"]) and line.endswith("Änna €")
    assert "rpm 60, tpm 4294967294, day 5000000000, month 1000000000000000, concurrent 2, models 2, origins 2, low priority" in line


def test_limits_come_and_go(store):
    key, _ = add(store)
    well(store, "limit", key, *EVERYTHING)
    assert shown(store, key).items() >= AS_JSON.items()
    assert shown(store, key)["expires"] - time.time() == pytest.approx(2 * DAY, abs=60)
    well(store, "limit", key, "--rpm", "5")
    assert shown(store, key).items() >= (AS_JSON | {"requests_per_minute": 5}).items()
    nothing = [w for name in ("expires", "model", "origin", "rpm", "tpm", "concurrent", "tokens-per-day",
                                      "tokens-per-month") for w in (f"--{name}", "none")]
    document = json.loads(well(store, "limit", key, *nothing, "--json"))
    assert document == shown(store, key)
    assert [document[n] for n in ("expires", "models", "origins", "requests_per_minute", "tokens_per_minute",
                                  "concurrent", "tokens_per_day", "tokens_per_month")] == [
                                      None, [], [], None, None, None, None, None]
    assert document["name"] == "Änna €"


def test_a_revoked_key_stays_so(store):
    key, _ = add(store)
    assert well(store, "revoke", key) == ""
    when = shown(store, key)["revoked"]
    assert when == pytest.approx(time.time(), abs=60)
    time.sleep(1.1)
    well(store, "revoke", key)
    assert shown(store, key)["revoked"] == when and " revoked " in well(store, "list")
    for change in (["rotate", key], ["limit", key, "--rpm", 7]):
        assert refused(store, *change) == (2, f"key '{key}' is revoked: add a new one")


def test_a_rotated_key_has_a_new_secret_and_for_a_while_two(store):
    key, first = add(store, "--rpm", "7")
    done = run(store, "rotate", key)
    second = done.stdout.strip()
    assert SECRET.fullmatch(done.stdout)[1] == key and second != first and "will not be shown again" in done.stderr
    assert row(store, key)["hash"] == hashlib.sha256(second.encode()).digest()
    assert row(store, key)["old_until"] is None and shown(store, key)["requests_per_minute"] == 7
    third = json.loads(well(store, "rotate", key, "--grace", "1h", "--json"))
    assert row(store, key)["old_hash"] == hashlib.sha256(second.encode()).digest()
    assert third["old_secret_until"] == pytest.approx(time.time() + 3600, abs=60)
    assert "old secret until" in well(store, "show", key)


def test_expired_is_said(store):
    key, _ = add(store, "--expires", "1s")
    time.sleep(1.1)
    assert f"{key}  expired " in well(store, "list")


def test_a_thousand_keys_are_listed_in_their_order(store):
    keys = [add(store)[0]]
    with sqlite3.connect(store) as db:
        for i in range(1000):
            db.execute("INSERT INTO keys SELECT printf('%012x', ?), 'n' || ?, hash, NULL, NULL, created + ?, expires, "
                       "revoked, scopes, priority, 1, 2, 3, '', '', 4, 5 FROM keys WHERE id = ?", (i, i, i + 1, keys[0]))
    listed = json.loads(well(store, "list", "--json"))
    assert [k["id"] for k in listed] == keys + [f"{i:012x}" for i in range(1000)]
    assert len(well(store, "list").splitlines()) == 1002


# --- where

@pytest.mark.parametrize("option", [["--rpm", "1e9"], ["--expires", "5y"], ["--priority", "urgent"],
                                    ["--tokens-per-day", "0"], ["--name", ""], ["--origin", "x"]])
def test_a_key_that_is_refused_makes_no_store(tmp_path, option):
    """A server that finds one without a key would ask nobody for a key."""
    store = tmp_path / "folder/store.db"
    assert refused(store, "add", *option)[0] == 2
    assert not store.parent.exists()


def test_the_store_is_beside_the_models(tmp_path):
    def at(**env):
        done = subprocess.run([PUNA, "keys", "add"], env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    home = str(tmp_path / "home")
    os.mkdir(home)
    at(HOME=home)
    assert os.path.exists(f"{home}/.local/share/puna/store.db")
    at(HOME=home, XDG_DATA_HOME=str(tmp_path / "data"))
    assert (tmp_path / "data/puna/store.db").exists()
    assert stat.S_IMODE((tmp_path / "data/puna").stat().st_mode) == 0o700
    at(HOME=home, PUNA_STORE="own.db")
    assert (tmp_path / "own.db").exists()
    done = subprocess.run([PUNA, "keys", "list"], env={}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "HOME is not set" in done.stderr


def test_without_a_file_there_are_no_keys_and_none_is_made(store):
    for args, out in (["list"], ""), (["list", "--json"], "[]\n"):
        done = run(store, *args)
        assert (done.returncode, done.stdout) == (0, out)
        assert done.stderr == f"puna keys: {store}: there is no such store yet, and so no key\n"
    for verb in ("show", "limit", "revoke", "rotate"):
        args = ["--rpm", "1"] if verb == "limit" else []
        code, line = refused(store, verb, "0123456789ab", *args)
        assert code == 3 and line == f"{store}: No such file or directory"
    assert not store.exists()


def test_a_file_that_is_no_store_is_named(store):
    store.write_text("no database at all, but long enough to be one" * 10)
    code, line = refused(store, "list")
    assert code == 5 and line.startswith(f"{store}: ") and "name another file with --store" in line
    assert refused("", "list") == (2, "the name of the store is empty")
    assert refused(store.parent, "list") == (5, f"{store.parent}: not a file")
    assert refused(store / "x", "list") == (4, f"{store}/x: Not a directory")


def test_who_writes_is_waited_for(store):
    key, _ = add(store)
    with sqlite3.connect(store, isolation_level=None) as db:
        db.execute("BEGIN EXCLUSIVE")
        waiting = subprocess.Popen([PUNA, "keys", "--store", str(store), "revoke", key], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.3)
        assert waiting.poll() is None
        db.execute("COMMIT")
        assert waiting.communicate(timeout=60) == ("", "") and waiting.returncode == 0
    assert shown(store, key)["revoked"] is not None


# --- refusals

@pytest.mark.parametrize("args, message", [
    ([], "what to do is missing: add, list, show, limit, revoke or rotate (see puna keys --help)"),
    (["make"], "'make' is not add, list, show, limit, revoke or rotate (see puna keys --help)"),
    (["add", "x"], "surplus argument 'x' (see puna keys --help)"),
    (["list", "x"], "surplus argument 'x' (see puna keys --help)"),
    (["show", "x", "y"], "surplus argument 'y' (see puna keys --help)"),
    (["show"], "show needs the id of a key (puna keys list shows all)"),
    (["list", "--rpm", "1"], "option --rpm changes nothing with list"),
    (["rotate", "ID", "--name", "x"], "option --name changes nothing with rotate"),
    (["add", "--grace", "1d"], "option --grace changes nothing with add"),
    (["revoke", "ID", "--model", "none"], "option --model changes nothing with revoke"),
    (["limit", "ID"], "limit changes nothing without an option"),
    (["add", "--rpm", "0"], "option --rpm: '0' is not a whole number from 1 to 4294967294, or none"),
    (["add", "--tpm", "4294967295"], "option --tpm: '4294967295' is not a whole number from 1 to 4294967294, or none"),
    (["add", "--tokens-per-day", "0"],
     "option --tokens-per-day: '0' is not a whole number from 1 to 1000000000000000, or none"),
    (["limit", "ID", "--tokens-per-month", "1000000000000001"],
     "option --tokens-per-month: '1000000000000001' is not a whole number from 1 to 1000000000000000, or none"),
    (["revoke", "ID", "--tokens-per-month", "1"], "option --tokens-per-month changes nothing with revoke"),
    (["add", "--concurrent", "1.5"], "option --concurrent: '1.5' is not a whole number from 1 to 4294967294, or none"),
    (["add", "--priority", "top"], "option --priority: 'top' is not high, normal or low"),
    (["add", "--scope", "admin"],
     "option --scope: 'admin' is not chat, embeddings, tokenize, metrics, keys, usage, inference or all"),
    (["add", "--expires", "30"], "option --expires: '30' is not a time like 90s, 15m, 12h, 30d or 2w"),
    (["add", "--expires", "0d"], "option --expires: '0d' is not a time like 90s, 15m, 12h, 30d or 2w"),
    (["add", "--expires", "36501d"], "option --expires: '36501d' is not a time like 90s, 15m, 12h, 30d or 2w"),
    (["add", "--expires", "-1d"], "option --expires: '-1d' is not a time like 90s, 15m, 12h, 30d or 2w"),
    (["rotate", "ID", "--grace", "none"], "option --grace: 'none' is not a time like 90s, 15m, 12h, 30d or 2w"),
    (["add", "--name", ""], "option --name: a text of 0 characters, 1 to 100 are possible"),
    (["add", "--name", "€" * 101], "option --name: a text of 101 characters, 1 to 100 are possible"),
    (["add", "--name", "a\nb"], r"option --name: 'a\nb' has control characters"),
    (["add", "--name", b"\xff"], r"option --name: '\xff' has bytes that are no UTF-8"),
    (["add", "--model", "a\nb"], r"option --model: 'a\nb' has control characters"),
    (["add", "--model", ""], "option --model: a text of 0 characters, 1 to 512 are possible"),
    (["add", "--model", "none", "--model", "a"], "option --model: 'none' stands alone"),
    (["add", "--model", "a", "--model", "none"], "option --model: 'none' stands alone"),
    (["add", *["--model", "a"] * 65], "option --model: more than 64"),
    (["add", "--origin", "app.example"],
     "option --origin: 'app.example' is not like https://app.example or http://localhost:3000"),
])
def test_what_makes_no_sense_is_named(store, args, message):
    key, _ = add(store)
    before = well(store, "list", "--json")
    done = subprocess.run([PUNA.encode(), b"keys", b"--store", str(store).encode(),
                           *(a if isinstance(a, bytes) else key.encode() if a == "ID" else a.encode() for a in args)],
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (2, b"", f"puna keys: {message}\n")
    assert well(store, "list", "--json") == before


def test_a_key_that_is_not_there_is_named(store):
    add(store)
    for verb in ("show", "revoke", "rotate"):
        assert refused(store, verb, "0123456789ab") == (3, f"{store}: no key '0123456789ab' (puna keys list shows all)")


@pytest.mark.parametrize("part", [slice(None), slice(1, None), slice(21, None), slice(40), slice(0)])
def test_a_secret_for_an_id_is_not_repeated(store, part):
    key, secret = add(store)
    words = secret[part]
    for verb in ("show", "revoke", "rotate"):
        code, line = refused(store, verb, words)
        assert code == 2 and secret[-64:-32] not in line and secret[-32:] not in line
        if words == secret:
            assert line == f"a secret is no argument, its key's id is: {key}"
        else:
            assert line == (f"what {verb} was given is no id, which is 12 hexadecimal digits (puna keys list shows all)")
    assert shown(store, key)["revoked"] is None
    if words == secret:
        for args in ([secret], ["list", secret], ["add", secret], ["limit", key, secret], ["add", f"--name=a{secret}b"],
                     ["limit", key, "--rpm", secret], ["show", key, f"--{secret}"]):
            assert refused(store, *args) == (2, f"a secret is no argument, its key's id is: {key}")


@pytest.mark.parametrize("into", ["> /dev/full", ">&-"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_secret_that_nobody_saw_is_to_be_made_again(store, into, form):
    key, secret = add(store)
    for args in (["add"], ["rotate", key]):
        command = ["sh", "-c", f'exec "$@" {into}', "sh", PUNA, "keys", "--store", str(store), *args, *form]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 4 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "standard output cannot be written: " in done.stderr
        named = re.search("puna keys rotate ([0-9a-f]{12}) makes another\n$", done.stderr)[1]
        assert (named == key) == (args[0] == "rotate")
        assert SECRET.fullmatch(well(store, "rotate", named))[1] == named


def test_an_empty_file_is_made_a_store_by_who_adds_alone(store):
    store.touch()
    os.utime(store, (1000, 1000))
    code, line = refused(store, "list")
    assert code == 5 and line.startswith(f"{store}: is empty, no store") and store.stat().st_size == 0
    key, _ = add(store)
    assert key in well(store, "list")
