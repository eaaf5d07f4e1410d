"""Calls that fail: the n-th, or all from the n-th on, of each kind, while requests are answered, the server starts, keys are
made and read, prefixes go to disk."""
import contextlib
import errno
import http.client
import json
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import threading
import time

import clients
from certificates import Authority
from faults import FOR_EVER, REASONS, Faults, name_of
from puna_server import NO_STORE, PATIENCE_S
from target import ASKED, MODEL, NAMES, PUNA, Target, Watchers, Wrong, chat, target

MANY = 1000
OF_REQUESTS = ("malloc", "read", "write", "accept", "epoll")


def every_case(kinds, modes=(1, FOR_EVER)):
    """Once, or for ever."""
    return [(kind, reason, n_failing) for kind in kinds for reason in REASONS[kind] for n_failing in modes
            if n_failing == 1 or (kind not in ("accept", "epoll") and reason not in TRANSIENT)]


# Not for ever: nobody would get in, or be heard, which is all.
TRANSIENT = (errno.EINTR, errno.EAGAIN)


def step(rng, is_long):
    return 1 if is_long else rng.randrange(1, 9)


# --- while requests are answered

def sweep(c, t, i, case, rng):
    """Request i with the first, second ... call failing, until no call is left. Returns how many failed. Not for ever: OpenSSL
    tries to write again as long as there is no memory for it, and nothing tells that from a client that does not read."""
    kind, reason, n_failing = case
    n, n_tried = step(rng, c.is_long), 0
    while True:
        before = t.faults.failed(kind)
        t.faults.arm(kind, n, reason, n_failing)
        where = f"{NAMES[i]}, {kind} {n} failing with {name_of(kind, reason)}, {n_failing} times"
        try:
            answer = t.request(i)
        except Wrong as e:
            raise Wrong(f"{where}: {e}") from e
        t.faults.disarm(kind)
        t.check_alive()
        if answer != c.quiet[i] and not answer.is_told():
            raise Wrong(f"{where}: {answer}\ninstead of {c.quiet[i]}")
        if t.faults.failed(kind) == before:
            return n_tried
        n_tried += 1
        again = t.request(i)
        if again != c.quiet[i]:
            raise Wrong(f"{where}: the next answer is {again}\ninstead of {c.quiet[i]}")
        n += step(rng, c.is_long)


def sweeps(c, t, kind, which, seconds):
    """For each reason, once and many times, with each request; fewer when time is short. Returns how many calls failed."""
    rng = c.random(kind)
    combinations = [(case, i) for case in every_case([kind], (1, MANY)) for i in which]
    rng.shuffle(combinations)
    end, n = time.monotonic() + seconds, 0
    for case, i in combinations:
        if c.is_long or time.monotonic() < end or n == 0:
            n += sweep(c, t, i, case, rng)
    return n


def failing_calls(c):
    for kind in OF_REQUESTS:
        with target(c.folder()) as t:
            c.warm(t)
            before = t.settle()
            n = sweeps(c, t, kind, range(len(ASKED)), c.seconds * (0.6 if kind == "malloc" else 0.1))
            c.result(f"the n-th {kind} of a request, or 1,000 from the n-th on", n, grown=t.check_no_leak(before))


def failing_calls_in_tls(c):
    folder = c.folder()
    authority = Authority(folder)
    chain, key = authority.issue("server")
    context = ssl.create_default_context(cafile=str(authority.root))
    with target(folder, "--tls-cert", chain, "--tls-key", key, context=context) as t:
        c.warm(t)
        before = t.settle()
        n = sum(sweeps(c, t, kind, [NAMES.index("chat stream"), NAMES.index("openapi")], c.seconds / len(OF_REQUESTS))
                for kind in OF_REQUESTS)
        c.result("the same with TLS, of its handshake, too", n, grown=t.check_no_leak(before))


def failing_storms(c):
    """Calls of all kinds fail now and then while clients come and go."""
    rng = c.random("storms")
    with target(c.folder()) as t:
        clients.vanish_many(c, t, 0.5)
        c.warm(t)
        before = t.settle()
        over = threading.Event()

        def storm():
            while not over.wait(0.005):
                kind = rng.choice(OF_REQUESTS)
                t.faults.arm(kind, rng.randrange(1, 40), rng.choice(REASONS[kind]), rng.choice((1, 1, 2, 5)))
        thread = threading.Thread(target=storm)
        with Watchers(t, c.quiet, may_fail=True) as w:
            thread.start()
            try:
                clients.vanish_many(c, t, c.seconds)
            finally:
                over.set()
                thread.join()
                for kind in OF_REQUESTS:
                    t.faults.disarm(kind)
        c.warm(t, 1)
        n = sum(t.faults.failed(kind) for kind in OF_REQUESTS)
        c.result("calls of all kinds now and then, while clients come and go", n, w, t.check_no_leak(before))


# --- while it starts

OF_STARTS = ("malloc", "read", "mmap", "open", "thread", "epoll", "file_read", "sqlite")


def run_start(faults, args, env):
    """The process and its line, or what it ended with and said."""
    process = subprocess.Popen([PUNA, "serve", "--port", "0", "--log", "none", "-t", "2", "--parallel", "2", "-c", "256", *args],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | NO_STORE | faults.environment() | env)
    line = process.stdout.readline()
    if not line:
        _, said = process.communicate(timeout=PATIENCE_S)
        return None, process.returncode, said
    return process, line, ""


def is_of_sanitizer(said):
    """Whether the sanitizer tells of itself alone: it got no memory, or could not open /proc to list threads."""
    if "ERROR: AddressSanitizer" in said or "runtime error" in said:
        return False
    return "CHECK failed: sanitizer_" in said or "LeakSanitizer has encountered a fatal error" in said


def check_ended(code, said, where):
    """It gave up, and said why."""
    if is_of_sanitizer(said):
        return
    if code <= 0 or "Sanitizer" in said or "runtime error" in said or not said.strip():
        raise Wrong(f"{where}: ended with {code}: {said[-3000:]}")


def try_start(c, faults, args, env, where):
    process, line, said = run_start(faults, args, env)
    if process is None:
        check_ended(line, said, where)
        return
    faults.disarm_all()
    try:
        port = int(re.search(r":(\d+)\n", line)[1])
        t = Target.__new__(Target)
        t.address, t.context, t.key, t.process = ("127.0.0.1", port), None, env.get("KEY"), process
        for i in (0, 1, 6):
            if (answer := t.request(i)) != c.quiet[i]:
                raise Wrong(f"{where}: {NAMES[i]}: {answer}\ninstead of {c.quiet[i]}")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE_S)
        if (process.returncode != 0 or "Sanitizer" in said or "runtime error" in said) and not is_of_sanitizer(said):
            raise Wrong(f"{where}: {process.returncode} {said[-3000:]}")
    finally:
        process.kill()
        process.communicate()


def failing_starts(c):
    folder = c.folder()
    faults, rng = Faults(folder / "faults"), c.random("starts")
    store = folder / "store.db"
    secret = subprocess.run([PUNA, "keys", "add", "--store", store], check=True, capture_output=True, text=True).stdout.strip()
    args, env = ["--store", store, "--prefix-dir", folder / "prefixes", MODEL], {"KEY": secret}
    process, _, said = run_start(faults, args, env)
    counts = {kind: faults.count(kind) for kind in OF_STARTS}
    process.send_signal(signal.SIGTERM)
    process.communicate()
    cases = [(case, n) for case in every_case(OF_STARTS) for n in range(1, counts[case[0]] + 1)]
    rng.shuffle(cases)
    begin, n_tried = time.monotonic(), 0
    for (kind, reason, n_failing), n in cases:
        if time.monotonic() > begin + c.seconds and n_tried >= 20:
            break
        faults.reset()
        faults.arm(kind, n, reason, n_failing)
        try_start(c, faults, args, env, f"start, {kind} {n} failing with {name_of(kind, reason)}, {n_failing} times")
        n_tried += 1
    c.result(f"the n-th call of a start ({len(cases):,} cases), or all from the n-th on", n_tried)


# --- while keys are made

OF_KEYS = ("malloc", "open", "file_read", "file_write", "sync", "sqlite")


def rows_of(store):
    """All rows of all tables, of a store that is whole."""
    with sqlite3.connect(store) as db:
        if (word := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise Wrong(f"{store}: {word}")
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return {name: db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in tables}


def keys(store, *args, env=None):
    return subprocess.run([PUNA, "keys", *map(str, args), "--store", store], capture_output=True, text=True, check=False,
                          timeout=PATIENCE_S, env=os.environ | (env or {}))


def failing_keys(c):
    """What says that it worked has worked; what failed has changed nothing, or says that it cannot know."""
    folder = c.folder()
    store, faults, rng = folder / "store.db", Faults(folder / "faults"), c.random("keys")
    for i in range(3):
        keys(store, "add", "--name", f"key {i}")
    known = rows_of(store)["keys"][0][0]
    commands = [("add", "--name", "new", "--rpm", 5), ("limit", known, "--tpm", 70), ("rotate", known, "--grace", "1h"),
                ("revoke", known), ("list",), ("show", known)]
    whole = store.read_bytes()
    cases = []
    for command in commands:
        faults.reset()
        store.write_bytes(whole)
        done = keys(store, *command, env=faults.environment())
        if done.returncode != 0:
            raise Wrong(f"keys {command}: {done}")
        cases += [(command, case, n) for case in every_case(OF_KEYS) for n in range(1, faults.count(case[0]) + 1)]
    rng.shuffle(cases)
    # Whether a change was made turns on these few, most of all: none is left to chance.
    cases.sort(key=lambda case: case[1][0] != "sync")
    n_syncs = sum(kind == "sync" for _, (kind, _, _), _ in cases)
    begin, n_tried = time.monotonic(), 0
    for command, (kind, reason, n_failing), n in cases:
        if time.monotonic() > begin + c.seconds and n_tried >= n_syncs + 40:
            break
        where = f"keys {' '.join(map(str, command))}: {kind} {n} failing with {name_of(kind, reason)}, {n_failing} times"
        store.write_bytes(whole)
        before = rows_of(store)
        faults.reset()
        faults.arm(kind, n, reason, n_failing)
        done = keys(store, *command, env=faults.environment())
        after = rows_of(store)
        if done.returncode != 0:
            check_ended(done.returncode, done.stderr, where)
        is_unknown = "may have been made" in done.stderr
        if not is_unknown and (done.returncode == 0 and command[0] not in ("list", "show")) != (after != before):
            raise Wrong(f"{where}: ended with {done.returncode} {done.stderr!r}, rows before and after:\n{before}\n{after}")
        n_tried += 1
    c.result(f"the n-th call of `puna keys` ({len(cases):,} cases), or all from the n-th on", n_tried)


OF_RELOADS = ("malloc", "open", "file_read", "sqlite", "mmap")


def failing_reloads(c):
    """A store that cannot be read changes nothing; as soon as it can, what is in it counts."""
    folder, rng = c.folder(), c.random("reloads")
    store = folder / "store.db"
    secret = keys(store, "add", "--scope", "all").stdout.strip()
    gone = keys(store, "add").stdout.strip()
    id_of_gone = gone.split("-")[2]
    with target(folder, "--store", store, key=secret) as t:
        def hang_up():
            n = t.faults.count("sqlite")
            t.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + PATIENCE_S
            while t.ask("GET", "/health")[0] != 200 or (t.faults.count("sqlite") == n and not failing()):
                if time.monotonic() > end:
                    raise Wrong("a hangup is not heard")

        def failing():
            return any(t.faults.failed(kind) for kind in OF_RELOADS)
        c.warm(t)
        hang_up()
        before = t.settle()
        n_tried, begin = 0, time.monotonic()
        with Watchers(t, c.quiet, may_fail=True, official=False, which=[0, 6, 9]) as w:
            while time.monotonic() < begin + c.seconds or n_tried < 40:
                kind, reason, n_failing = rng.choice(every_case(OF_RELOADS, (1, 3)))
                t.faults.arm(kind, rng.randrange(1, 60), reason, n_failing)
                t.process.send_signal(signal.SIGHUP)
                for t.key in (secret, gone):
                    if (answer := t.request(NAMES.index("models"))).status == 401:
                        raise Wrong(f"a key that is good got {answer}, {kind} failing with {name_of(kind, reason)}")
                t.faults.disarm(kind)
                t.key = secret
                n_tried += 1
        with sqlite3.connect(store) as db:
            db.execute("UPDATE keys SET revoked = 1 WHERE id = ?", (id_of_gone,))
        hang_up()
        if [t.ask("GET", "/v1/models", key=k)[0] for k in (secret, gone)] != [200, 401]:
            raise Wrong("what is in the store does not count")
        c.result("calls that read the store again", n_tried, w, t.check_no_leak(before, more_bytes=128 << 10, more_blocks=200))


# --- while rows of usage are written

OF_LEDGERS = ("sqlite", "sync", "file_write", "file_read", "open", "malloc")


class Told:
    """What clients were told of their answers: {id: (status, prompt, cached and completion tokens)}."""

    def __init__(self, t):
        self.target, self.numbers, self.n_asked, self.wrong = t, {}, 0, None
        self.lock, self.over = threading.Lock(), threading.Event()

    def ask(self, rng):
        with self.lock:
            self.n_asked += 1
        text = "x" * rng.randrange(1, 20)
        status, document = self.target.ask("POST", "/v1/completions", {
            "model": "tiny", "prompt": text, "seed": rng.randrange(1 << 30), "max_tokens": rng.randrange(1, 5)})
        if status == 200:
            usage = document["usage"]
            with self.lock:
                self.numbers[document["id"]] = (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"],
                                                usage["completion_tokens"])
        elif status < 500:
            raise Wrong(f"{status} {document}")

    def keep_asking(self, rng):
        while not self.over.is_set() and self.wrong is None:
            try:
                self.ask(rng)
            except (OSError, http.client.HTTPException):  # memory for the connection
                pass
            except Exception as e:  # pylint: disable=broad-except
                self.wrong = f"{type(e).__name__}: {e}"

    def check(self, path):
        """Against the rows of the file: one of each answer that was told to have been given, of others one at most."""
        with contextlib.closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT id, n_prompt, n_cached, n_completion FROM usage").fetchall()
            if (word := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                raise Wrong(f"{path}: {word}")
        found = {name: tuple(rest) for name, *rest in rows}
        if len(found) != len(rows) or len(rows) > self.n_asked:
            raise Wrong(f"{len(rows)} rows, {len(found)} ids, {self.n_asked} requests")
        if not self.numbers.items() <= found.items():
            raise Wrong(f"told, but not so in the ledger: {self.numbers.items() - found.items()}")


def failing_ledger(c):
    """An answer that a client has whole has its row, with the same numbers, whatever fails in between."""
    folder, rng = c.folder(), c.random("ledger")
    path, n_tried = folder / "usage.db", 0
    with target(folder, "--usage", "on", "--usage-store", path) as t:
        told = Told(t)
        threads = [threading.Thread(target=told.keep_asking, args=(c.random(f"ledger {i}"),)) for i in range(3)]
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + c.seconds
            while (time.monotonic() < end or n_tried < 20) and told.wrong is None:
                kind, reason, n_failing = rng.choice(every_case(OF_LEDGERS, (1, 20)))
                before = t.faults.failed(kind)
                t.faults.arm(kind, rng.randrange(1, 40), reason, n_failing)
                told.over.wait(0.05)
                t.faults.disarm(kind)
                n_tried += t.faults.failed(kind) - before
                t.check_alive()
        finally:
            told.over.set()
            for thread in threads:
                thread.join()
        if told.wrong is not None:
            raise Wrong(told.wrong)
        n_before = len(told.numbers)
        end = time.monotonic() + PATIENCE_S
        while len(told.numbers) == n_before:  # it goes on when nothing fails
            if time.monotonic() > end:
                raise Wrong("requests are refused though nothing fails any more")
            told.ask(rng)
    told.check(path)
    c.result(f"calls that write rows of usage ({len(told.numbers):,} answers told)", n_tried)


# --- while prefixes go to disk

OF_PREFIXES = ("file_write", "file_read", "open", "sync", "mmap")


def failing_prefixes(c):
    """Of a disk that fails an answer takes no notice, before and after a start."""
    rng, folder = c.random("prefixes"), c.folder()
    long = [chat(f"{i} " + "The high plains of the Andes. " * 60, temperature=0, max_tokens=4, cache_salt=str(i)) for i in range(4)]
    n_tried, begin, first = 0, time.monotonic(), {}
    faults = Faults(folder / "faults")
    args = ("--prefix-dir", folder / "prefixes", "-c", 2048, "--kv-size", "6M")
    while time.monotonic() < begin + c.seconds or n_tried < 30:
        faults.reset()
        with target(folder, *args, cache=True, faults=faults) as t:
            for _ in range(10):
                kind, reason, n_failing = rng.choice(every_case(OF_PREFIXES))
                faults.arm(kind, rng.randrange(1, 20), reason, n_failing)
                i = rng.randrange(len(long))
                status, document = t.ask("POST", "/v1/chat/completions", long[i])
                faults.disarm_all()
                if status != 200 or first.setdefault(i, document["choices"]) != document["choices"]:
                    raise Wrong(f"{kind} failing with {name_of(kind, reason)}: {status} {json.dumps(document)}\n"
                                f"instead of {first.get(i)}")
                n_tried += 1
            if rng.random() < 0.5:  # what is written at the end
                kind, reason, n_failing = rng.choice(every_case(("file_write", "open", "sync", "mmap")))
                faults.arm(kind, rng.randrange(1, 40), reason, n_failing)
    c.result("calls of the disk that keeps prefixes", n_tried)


def raise_if_parts(folder):
    """Files that were not finished."""
    parts = [p.name for p in folder.iterdir() if "part" in p.name or "tmp" in p.name] if folder.exists() else []
    if len(parts) > 1:
        raise Wrong(f"left in {folder}: {parts}")
