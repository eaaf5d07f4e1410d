"""The ledger of `puna serve`: a row a request, in the file before anybody is told the end of the answer, whatever
happens to the file. The binary is $PUNA (default build/release/puna)."""
import collections
import contextlib
import http.client
import json
import os
import pathlib
import resource
import shutil
import socket
import sqlite3
import subprocess
import threading
import time

import openai
import pytest

from puna_server import NO_STORE, PUNA, Server, serving, wait_until

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "seed": 1}
TEXT = {"model": "tiny", "prompt": "ab", "max_tokens": 4, "seed": 1}
LONG = TEXT | {"max_tokens": 2000, "n": 16, "ignore_eos": True}  # more than anybody reads
WHILE = TEXT | {"max_tokens": 400, "n": 8, "ignore_eos": True}  # under way for a while
REFUSED = (503, "service_unavailable_error", "usage_not_recorded")
Row = collections.namedtuple("Row", "id key minutes model endpoint n_prompt n_cached n_completion is_filtered status "
                                    "began ended")


def rows(path):
    """All of them, and they are whole: each id once, the file without damage."""
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {row[0]: Row(*row) for row in db.execute("SELECT * FROM usage ORDER BY rowid")}
        assert db.execute("SELECT count(*) FROM usage").fetchone() == (len(found),)
        return found


def numbers(usage):
    return (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"],
            usage.get("completion_tokens", 0))


def row_numbers(row):
    return row.n_prompt, row.n_cached, row.n_completion


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage.db"


def counting(path, *args, **options):
    return serving("--usage", "on", "--usage-store", path, *args, TINY, **options)


@contextlib.contextmanager
def complaining(path, *args, **options):
    """A server that has something to say, which is put into `said` at its end."""
    said = []
    server = Server("--usage", "on", "--usage-store", path, *args, TINY, **options)
    try:
        yield server, said
        code, text = server.stop()
        said += text.splitlines()
        assert code == 0
    finally:
        server.process.kill()
        server.process.communicate()


def stream(server, path, body, key=None):
    """The id, the events and the usage of a stream that was told to its end."""
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    text = server.ask("POST", path, body, key=key)[1]
    assert text.endswith("data: [DONE]\n\n"), text
    events = [json.loads(e[len("data: "):]) for e in text.split("\n\n") if e.startswith("data: {")]
    return events[0]["id"], events, events[-1]["usage"]


def add_key(tmp_path, *args):
    store = tmp_path / "store.db"
    done = subprocess.run([PUNA, "keys", "--store", store, "add", *args], capture_output=True, text=True)
    if done.returncode != 0:
        done = subprocess.run([PUNA, "keys", "add", "--store", store, *args], capture_output=True, text=True, check=True)
    return store, done.stdout.strip()


# --- what a row says

def test_a_row_is_there_when_the_end_is_told_and_says_what_the_client_was_told(path):
    before = time.time() * 1000 - 1
    with counting(path) as server:
        for i in range(5):
            chat = server.post("/v1/chat/completions", CHAT | {"seed": i})
            row = rows(path)[chat["id"]]
            assert row_numbers(row) == numbers(chat["usage"]) and row.endpoint == "chat/completions"
        several = server.post("/v1/completions", TEXT | {"n": 3, "prompt": ["ab", "cde"], "best_of": 4})
        row = rows(path)[several["id"]]
        assert row_numbers(row) == numbers(several["usage"]) and row.endpoint == "completions"
        assert row.n_completion > 8
        for address, body in (("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)):
            name, _, usage = stream(server, address, body)
            assert row_numbers(rows(path)[name]) == numbers(usage)
        vectors = server.post("/v1/embeddings", {"model": "tiny", "input": ["one", "another"]})
        row = list(rows(path).values())[-1]
        assert row.id.startswith("embd-") and row.endpoint == "embeddings"
        assert row_numbers(row) == (vectors["usage"]["prompt_tokens"], 0, 0)
        nothing = server.post("/v1/completions", TEXT | {"max_tokens": 0, "echo": True})
        assert row_numbers(rows(path)[nothing["id"]]) == numbers(nothing["usage"])
        found = rows(path).values()
        assert server.metric("puna_usage_rows_total") == len(found) == 10
        assert server.metric("puna_usage_rows_waiting") == server.metric("puna_usage_failures_total") == 0
    for row in found:
        assert (row.key, row.minutes, row.model, row.is_filtered, row.status) == ("", "", "tiny", 0, 200)
        assert before < row.began <= row.ended < time.time() * 1000 + 1
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_no_row_has_what_was_said(path):
    words = "Quetzalcoatl sings"
    with counting(path) as server:
        answer = server.post("/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": words}]})
        stream(server, "/v1/completions", TEXT | {"prompt": words, "user": "somebody"})
    files = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert words.encode() not in files and b"somebody" not in files
    assert answer["choices"][0]["message"]["content"].encode() not in files


def test_names_of_answers_are_never_the_same(path):
    names = set()
    for _ in range(2):  # a restart does not begin again
        with counting(path) as server:
            for _ in range(10):
                names.add(server.post("/v1/completions", TEXT)["id"])
    assert len(names) == 20 == len(rows(path))


def test_what_is_refused_has_no_row(path):
    with counting(path) as server:
        for body in ("{", TEXT | {"model": "none"}, TEXT | {"max_tokens": 10**6}, TEXT | {"nonsense": 1}):
            assert server.ask("POST", "/v1/completions", body)[0] in (400, 404)
        assert server.ask("POST", "/v1/tokenize", {"content": "ab"})[0] == 200
        assert rows(path) == {}


def leave(server, body, n_bytes):
    """Asks for a stream, reads so many bytes of it and goes."""
    data = json.dumps(body | {"stream": True}).encode()
    with server.connect() as s:
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        n = 0
        while n < n_bytes:
            n += len(s.recv(65536))


def test_who_leaves_has_a_row_of_what_was_computed(path):
    with counting(path, "--parallel", 1) as server:
        leave(server, LONG, 5000)
        wait_until(lambda: len(rows(path)) == 1)
        (row,) = rows(path).values()
        assert row.status == 499 and row.endpoint == "completions"
        assert row.n_prompt > 0 and 0 < row.n_completion < 16 * 2000
        wait_until(server.is_idle)
        assert row.n_completion == server.metric("puna_generation_tokens_total")


def test_who_leaves_while_he_waits_for_his_turn_has_none(path):
    with counting(path, "--parallel", 1) as server:
        long = threading.Thread(target=leave, args=(server, LONG, 100000))
        long.start()
        wait_until(lambda: server.metric("puna_requests_running") == 1)
        leave(server, TEXT, 1)  # the head of the stream
        long.join()
        wait_until(server.is_idle)
        wait_until(lambda: server.metric("puna_usage_rows_total") > 0)
        assert len(rows(path)) == 1


def test_a_blocked_answer_is_said_to_be_filtered(path, tmp_path):
    words = tmp_path / "words"
    with counting(path) as server:
        text = server.post("/v1/completions", TEXT | {"max_tokens": 200, "ignore_eos": True})["choices"][0]["text"]
    candidates = [w for w in text.split() if w.isascii() and w.isalpha() and len(w) > 2]
    assert candidates, text
    words.write_text("\n".join(candidates[:5]) + "\n")
    with counting(path, "--content-filter", "block", "--profanity-words", words) as server:
        answer = server.post("/v1/completions", TEXT | {"max_tokens": 200, "ignore_eos": True})
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    row = rows(path)[answer["id"]]
    assert row.is_filtered == 1 and row.status == 200 and row_numbers(row) == numbers(answer["usage"])


def test_what_runs_at_the_end_of_the_server_has_a_row(path):
    server = Server("--usage", "on", "--usage-store", path, "--drain-timeout", 0, TINY)
    with server.connect() as s:
        data = json.dumps(LONG).encode()
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        wait_until(lambda: server.metric("puna_generation_tokens_total") > 0)
        assert server.stop() == (0, "")
        assert b" 503 " in s.recv(65536)
    (row,) = rows(path).values()
    assert row.status == 503 and 0 < row.n_completion < 16 * 2000


# --- which requests, which file

def test_rows_name_the_key_and_the_ephemeral_one(tmp_path):
    store, secret = add_key(tmp_path, "--scope", "inference", "--scope", "keys")
    name = secret.split("-")[2]
    path = tmp_path / "store.db-usage"
    with serving("--store", store, TINY) as server:
        assert path.exists()
        mine = server.post("/v1/chat/completions", CHAT, key=secret)["id"]
        minutes = server.post("/v1/keys/ephemeral", {"model": "tiny", "origin": "https://a.example", "max_tokens": 10,
                                                     "budget_tokens": 1000}, key=secret)
        connection = http.client.HTTPConnection(*server.address)
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT),
                           {"Authorization": "Bearer " + minutes["value"], "Origin": "https://a.example"})
        yours = json.loads(connection.getresponse().read())["id"]
        connection.close()
    found = rows(path)
    assert (found[mine].key, found[mine].minutes) == (name, "")
    assert (found[yours].key, found[yours].minutes) == (name, minutes["id"])


def test_without_keys_nothing_is_written_until_there_are_some(tmp_path):
    env = os.environ | NO_STORE | {"XDG_DATA_HOME": str(tmp_path)}
    store = tmp_path / "puna/store.db"
    with serving(TINY, env=env) as server:
        server.post("/v1/chat/completions", CHAT)
        assert not (tmp_path / "puna/store.db-usage").exists()
        done = subprocess.run([PUNA, "keys", "add", "--store", store], capture_output=True, text=True, check=True)
        wait_until(lambda: server.ask("GET", "/v1/models")[0] == 401)
        answer = server.post("/v1/chat/completions", CHAT, key=done.stdout.strip())
        assert list(rows(tmp_path / "puna/store.db-usage")) == [answer["id"]]


def test_it_can_be_turned_off(tmp_path):
    store, secret = add_key(tmp_path)
    with serving("--store", store, "--usage", "off", TINY) as server:
        server.post("/v1/chat/completions", CHAT, key=secret)
        assert server.metrics  # it answers
    assert not (tmp_path / "store.db-usage").exists()


@pytest.mark.parametrize("args, why", [
    (["--usage", "perhaps"], "option --usage: 'perhaps' is not on, off or auto"),
    (["--usage-failure", "cry"], "option --usage-failure: 'cry' is not refuse or serve"),
    (["--usage", "off", "--usage-store", "x"], "option --usage-store changes nothing with --usage=off"),
    (["--usage-store", ""], "option --usage-store: the name is empty"),
])
def test_options_that_make_no_sense_are_refused(args, why):
    done = subprocess.run([PUNA, "serve", *args, TINY], capture_output=True, text=True, env=os.environ | NO_STORE)
    assert done.returncode == 2 and why in done.stderr


def test_a_folder_that_is_mistyped_is_not_made(tmp_path):
    """As another ledger would begin every budget at nothing."""
    done = subprocess.run([PUNA, "serve", "--usage", "on", "--usage-store", tmp_path / "typo/usage.db", TINY],
                          capture_output=True, text=True, env=os.environ | NO_STORE)
    assert done.returncode == 3 and f"option --usage-store: {tmp_path}/typo: No such file" in done.stderr
    assert not (tmp_path / "typo").exists()


# --- a file that cannot be opened at the start

def damage(path):
    with open(path, "r+b") as f:
        f.write(b"x" * 4096)


def make_newer(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1000")


def make_other(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (x)")
        db.commit()


@pytest.mark.parametrize("change, code, why", [
    (damage, 5, "not a database"), (make_newer, 6, "form 1000"), (make_other, 5, "a database of another kind")])
def test_a_file_that_will_not_do_is_said_at_the_start(path, change, code, why):
    with counting(path) as server:
        server.post("/v1/completions", TEXT)
    change(path)
    before = path.read_bytes()
    args = ["--usage", "on", "--usage-store", path]
    done = subprocess.run([PUNA, "serve", "--port", "0", *args, TINY], capture_output=True, text=True, timeout=60,
                          env=os.environ | NO_STORE)
    assert done.returncode == code and str(path) in done.stderr and why in done.stderr
    with complaining(path, "--usage-failure", "serve") as (server, said):
        server.post("/v1/completions", TEXT)
        wait_until(lambda: server.metric("puna_usage_rows_waiting") == 1)
    assert path.read_bytes() == before  # whatever it is, it is left alone
    assert str(path) in said[0] and why in said[0]
    assert said[-1].endswith("usage of 1 request could not be written")


# --- a file that cannot be written while the server runs

@contextlib.contextmanager
def locked(path):
    with contextlib.closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@contextlib.contextmanager
def broken(path):
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    damage(path)
    yield
    os.replace(copy, path)


@contextlib.contextmanager
def newer(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        form, = db.execute("PRAGMA user_version").fetchone()
        make_newer(path)
        yield
        db.execute(f"PRAGMA user_version = {form}")


@contextlib.contextmanager
def full(server):
    """As if the disk were: files of this process cannot be written to."""
    old = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, old[1]))
    yield
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, old)


TROUBLES = {"locked": lambda server, path: locked(path), "damaged": lambda server, path: broken(path),
            "newer": lambda server, path: newer(path), "full": lambda server, path: full(server)}


def is_refused(server):
    status, document = server.ask("POST", "/v1/completions", TEXT)
    return status != 200 and (status, document["error"]["type"], document["error"]["code"]) == REFUSED


def in_background(run):
    results = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    return thread, results


@pytest.mark.parametrize("trouble", TROUBLES)
def test_requests_are_refused_and_who_waits_is_answered_when_it_is_over(path, trouble):
    with complaining(path, "--parallel", 16) as (server, said):
        first = server.post("/v1/completions", TEXT)["id"]
        whole, answers = in_background(lambda: server.post("/v1/completions", WHILE))
        streamed, streams = in_background(lambda: stream(server, "/v1/completions", WHILE))
        wait_until(lambda: server.metric("puna_requests_running") > 8)
        with TROUBLES[trouble](server, path):
            wait_until(lambda: server.metric("puna_usage_failures_total") > 0)
            assert is_refused(server)
            with pytest.raises(openai.InternalServerError) as caught:
                openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0).completions.create(**TEXT)
            assert (caught.value.status_code, caught.value.type, caught.value.code) == REFUSED
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
            assert not answers and not streams
            assert server.metric("puna_usage_rows_waiting") >= 1
            assert server.ask("GET", "/v1/models")[0] == 200  # what computes nothing is not refused
        whole.join()
        streamed.join()
        wait_until(lambda: not is_refused(server))
        found = rows(path)
        assert first in found
        assert row_numbers(found[answers[0]["id"]]) == numbers(answers[0]["usage"])
        assert row_numbers(found[streams[0][0]]) == numbers(streams[0][2])
    assert str(path) in said[0] and "until usage can be written, requests are refused" in said[0]
    assert said[-1].endswith("usage is written again") and len(said) < 5


@pytest.mark.parametrize("trouble", TROUBLES)
def test_or_requests_are_served_and_rows_wait(path, trouble):
    with complaining(path, "--usage-failure", "serve") as (server, said):
        names = [server.post("/v1/completions", TEXT)["id"]]
        with TROUBLES[trouble](server, path):
            for _ in range(3):
                names.append(server.post("/v1/completions", TEXT)["id"])
                names.append(stream(server, "/v1/chat/completions", CHAT)[0])
            assert server.metric("puna_usage_rows_waiting") == 6
        wait_until(lambda: server.metric("puna_usage_rows_waiting") == 0)
        assert list(rows(path)) == names
    assert "it is kept in memory alone" in said[0] and said[-1].endswith("usage is written again")


def stream_text(server, body, **headers):
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": True}), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_an_end_that_cannot_be_written_in_time_becomes_an_error(path):
    with complaining(path) as (server, said):
        server.post("/v1/completions", TEXT)
        with locked(path):
            whole, answers = in_background(lambda: server.ask("POST", "/v1/completions", TEXT))
            body = CHAT | {"stream_options": {"include_usage": True}}
            streamed, streams = in_background(lambda: stream_text(server, body, **{"x-stainless-read-timeout": "4"}))
            vectors, embeddings = in_background(
                lambda: server.ask("POST", "/v1/embeddings", {"model": "tiny", "input": "one"}))
            for thread in (whole, streamed, vectors):
                thread.join()
        for status, document in answers + embeddings:
            assert (status, document["error"]["type"], document["error"]["code"]) == REFUSED
        events = streams[0][1].split("\n\n")
        assert ": keep-alive" in events  # while it waited
        assert streams[0][0] == 200 and "[DONE]" not in streams[0][1] and '"usage":{' not in streams[0][1]
        assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == REFUSED[2]
        wait_until(lambda: len(rows(path)) == 4)
        assert {r.status for r in rows(path).values()} <= {200, 503}


@pytest.mark.parametrize("what", ["completions", "embeddings"])
def test_who_waits_for_his_row_at_the_end_of_the_server_is_told(path, what):
    server = Server("--usage", "on", "--usage-store", path, "--drain-timeout", 0, TINY)
    try:
        first = server.post("/v1/completions", TEXT)["id"]
        body = TEXT if what == "completions" else {"model": "tiny", "input": "one"}
        with locked(path):
            thread, answers = in_background(lambda: server.ask("POST", "/v1/" + what, body))
            wait_until(lambda: server.metric("puna_usage_rows_waiting") == 1)
            server.process.terminate()
            thread.join()
            (status, document), = answers
            assert (status, document["error"]["type"], document["error"]["code"]) == REFUSED
        server.process.communicate(timeout=60)
        (row,) = (r for r in rows(path).values() if r.id != first)
        assert row.status in (200, 503)  # by whether it was being written when that was told
    finally:
        server.process.kill()
        server.process.communicate()


def test_who_leaves_while_his_row_waits_keeps_it(path):
    with complaining(path) as (server, said):
        first = server.post("/v1/completions", TEXT)["id"]
        with locked(path):
            leave(server, TEXT, 400)
            wait_until(lambda: server.metric("puna_usage_rows_waiting") == 1)
        wait_until(lambda: len(rows(path)) == 2)
        (row,) = (r for r in rows(path).values() if r.id != first)
        assert row.status in (200, 499)  # by when it was seen that he left


def test_a_file_that_is_removed_is_made_anew(path):
    with complaining(path) as (server, said):
        first = server.post("/v1/completions", TEXT)["id"]
        assert list(rows(path)) == [first]
        path.unlink()
        second = server.post("/v1/completions", TEXT)["id"]
        assert list(rows(path)) == [second]
    assert len(said) == 1 and "was moved or removed; usage goes to a new file of that name" in said[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_is_full_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system: {mounted.stderr}")
    try:
        path = disk / "usage.db"
        with complaining(path) as (server, said):
            names = [server.post("/v1/completions", TEXT)["id"]]
            with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as f:
                while True:
                    f.write(b"x" * 512)
            while not is_refused(server):  # the pages that there are take some rows
                status, document = server.ask("POST", "/v1/completions", TEXT)
                names += [document["id"]] if status == 200 else []
            (disk / "ballast").unlink()
            wait_until(lambda: not is_refused(server))
            assert set(names) <= set(rows(path))
        assert "full" in said[0]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_slow_reader_of_the_file_delays_and_loses_nothing(path):
    """Who reads holds back who writes: as long as that takes less than the patience nobody is refused."""
    with counting(path) as server:
        names = [server.post("/v1/completions", TEXT)["id"]]
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN")
            assert db.execute("SELECT count(*) FROM usage").fetchone() == (1,)
            thread, answers = in_background(lambda: server.post("/v1/completions", TEXT))
            time.sleep(0.5)
            assert not answers and server.metric("puna_usage_failures_total") == 0
            db.execute("COMMIT")
        thread.join()
        assert list(rows(path)) == names + [answers[0]["id"]]


def test_others_read_and_write_the_file_while_rows_come_without_end(path):
    """Reports of this server, commands beside it: each of them, though the next row waits already."""
    stop = threading.Event()

    def ask(server):
        while not stop.is_set():
            server.post("/v1/completions", TEXT | {"max_tokens": 1})

    with counting(path) as server:
        clients = [threading.Thread(target=ask, args=[server]) for _ in range(8)]
        for client in clients:
            client.start()
        try:
            for _ in range(6):
                for command in (["forget", "--older-than", "90d"], []):
                    done = subprocess.run([PUNA, "usage", *command, "--usage-store", path], capture_output=True, text=True)
                    assert (done.returncode, done.stderr) == (0, ""), command
                start = int(time.time()) - 3600
                assert server.ask("GET", f"/v1/organization/usage/completions?start_time={start}")[0] == 200
        finally:
            stop.set()
            for client in clients:
                client.join()
