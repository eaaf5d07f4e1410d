"""What happens to the whole program: it is killed, its disk is full, its clock jumps, it has no more files, it is told to read
everything again, and again."""
import contextlib
import http.client
import hashlib
import os
import resource
import signal
import socket
import sqlite3
import ssl
import subprocess
import time

from certificates import Authority
from failures import check_ended, keys, rows_of
from faults import Faults
from puna_server import NO_STORE, PATIENCE_S
from target import ASKED, MODEL, NAMES, PUNA, Answer, Target, Watchers, Wrong, chat, encoded, target


class Skipped(Exception):
    """It cannot be made here."""


def check_rows(store, n_told, where):
    """Of each answer that somebody was told the end of there is a row."""
    usage = rows_of(f"{store}-usage")["usage"]
    n = sum(row[9] == 200 for row in usage)
    if n < n_told or len({row[0] for row in usage}) != len(usage):
        raise Wrong(f"{where}: {n_told} answers, {n} rows of {len(usage)}")


COUNTED = [i for i, (_, method, path, document) in enumerate(ASKED)  # what rows are written of
           if path.rsplit("/", 1)[1] in ("completions", "embeddings") and NAMES[i][:2] != "no" and isinstance(document, dict)]


# --- kill -9

def killed(c):
    """In the middle of everything; the next start finds keys, prefixes and packed weights whole, a row of each answer that
    was told to its end, and answers the same."""
    folder, rng = c.folder(), c.random("killed")
    store, faults = folder / "store.db", Faults(folder / "faults")
    secret = keys(store, "add", "--scope", "all").stdout.strip()
    before = rows_of(store)
    args = ["--store", store, "--prefix-dir", folder / "prefixes", "--cache-min", 0]
    env = {"XDG_CACHE_HOME": str(folder / "cache")}
    long = chat("The high plains of the Andes. " * 30, temperature=0, max_tokens=4)
    expected, n, n_same, n_told, end = None, 0, 0, 0, time.monotonic() + c.seconds
    while time.monotonic() < end or n < 4:
        t = Target(folder, *args, faults=faults, key=secret, cache=True, keeps=True, env=env)
        try:
            for i in (0, 1, 6):
                if (answer := t.request(i)) != c.quiet[i]:
                    raise Wrong(f"after {n} kills {NAMES[i]}: {answer}\ninstead of {c.quiet[i]}")
            status, document = t.ask("POST", "/v1/chat/completions", long, key=secret)
            if status != 200 or (expected or document["choices"]) != document["choices"]:
                raise Wrong(f"after {n} kills: {document}\ninstead of {expected}")
            expected = document["choices"]
            with Watchers(t, c.quiet, may_fail=True, official=False, which=COUNTED) as w:
                time.sleep(rng.random() * 0.3)
                t.process.kill()
                t.process.wait()
            n_same += w.n_same
            n_told += w.n_same + 4
        finally:
            t.process.kill()
            t.process.wait()
            t.errors.close()
        n += 1
        if rows_of(store)["keys"] != before["keys"]:
            raise Wrong(f"keys changed: {rows_of(store)}")
        check_rows(store, n_told, f"after {n} kills")
    parts = [p.name for f in ("prefixes", "cache/puna") if (folder / f).exists() for p in (folder / f).iterdir()
             if p.name.endswith(".part")]
    if len(parts) > 2:
        raise Wrong(f"kills left files behind: {parts}")
    with target(folder, *args, faults=faults, key=secret, cache=True, keeps=True, env=env) as t:
        c.warm(t, 1)
    c.result("SIGKILL under load, then a start", n)
    c.rows[-1] = (*c.rows[-1][:2], n_same)


def starts_and_stops(c):
    """Signals at any moment, of loading, too."""
    folder, rng = c.folder(), c.random("stops")
    faults, n, end = Faults(folder / "faults"), 0, time.monotonic() + c.seconds
    while time.monotonic() < end or n < 10:
        process = subprocess.Popen([PUNA, "serve", "--port", "0", "--log", "none", "-t", "1", MODEL], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=os.environ | NO_STORE | faults.environment())
        time.sleep(rng.random() * rng.choice((0.02, 0.2, 0.6)))
        sent = [rng.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)) for _ in range(rng.randrange(1, 4))] + [signal.SIGTERM]
        for number in sent:
            process.send_signal(number)
            time.sleep(rng.choice((0, 0, 0.01)))
        _, said = process.communicate(timeout=PATIENCE_S)
        # before the handlers are there the signal itself ends it
        if process.returncode not in (0, 130, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP) or "Sanitizer" in said:
            raise Wrong(f"{sent}: {process.returncode} {said}")
        n += 1
    c.result("signals at any moment of a start", n)


# --- a full disk

@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder, left):
    """Until so many bytes are left."""
    with open(folder / "filler", "wb") as f, contextlib.suppress(OSError):
        while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize) > left:
            f.write(bytes(min(free - left, 1 << 20)))
            f.flush()


def full_disk(c):
    """Keys are made as a whole or not at all, what cannot be kept is not, and nobody's answer changes."""
    folder, rng = c.folder(), c.random("disk")
    with small_disk(folder / "disk", "1M") as disk:
        store = disk / "store.db"
        secret = keys(store, "add", "--scope", "all").stdout.strip()
        n, n_made, end = 0, 0, time.monotonic() + c.seconds
        args = ["--store", store, "--prefix-dir", disk / "prefixes", "--cache-min", 0]
        with target(folder, *args, key=secret, cache=True, keeps=True, env={"XDG_CACHE_HOME": str(disk / "cache")}) as t, \
                Watchers(t, c.quiet, may_fail=True, which=COUNTED) as w:
            while time.monotonic() < end or n < 10:
                fill(disk, rng.choice((0, 0, 4096, 8192, 20000)))
                before = rows_of(store)
                done = keys(store, "add", "--name", "x" * rng.randrange(100))
                after = rows_of(store)
                if done.returncode != 0:
                    check_ended(done.returncode, done.stderr, "keys add on a full disk")
                if len(after["keys"]) - len(before["keys"]) != (done.returncode == 0):
                    raise Wrong(f"keys add on a full disk: {done}; {len(before['keys'])} rows, then {len(after['keys'])}")
                n_made += done.returncode == 0
                status, document = t.ask("POST", "/v1/chat/completions", chat(f"{n} " + "Up the Andes. " * 40, max_tokens=2), key=secret)
                if status not in (200, 503):  # without a row there is no answer
                    raise Wrong(f"on a full disk: {status} {document}")
                (disk / "filler").unlink()
                n += 1
            patience = time.monotonic() + PATIENCE_S
            while t.request(0) != c.quiet[0]:
                if time.monotonic() > patience:
                    raise Wrong("no answer though there is room again")
                time.sleep(0.1)
        if keys(store, "add").returncode != 0:
            raise Wrong("no key can be made though there is room again")
        check_rows(store, w.n_same, "on a full disk")
        c.result(f"keys made and prefixes kept on a full disk ({n_made} keys found room)", n, w)


# --- clocks

JUMPS = (0, 1, -1, 3600, -3600, 86400 * 366, -86400 * 366, 2**31, -10**9, 2**32, -2 * 10**9, 10**10, 253402300800, -10**11)


def clock_jumps(c):
    """What is measured goes on; a key counts until its time."""
    folder, rng = c.folder(), c.random("clock")
    store = folder / "store.db"
    secret = keys(store, "add", "--scope", "all", "--rpm", 10**6, "--tpm", 10**8).stdout.strip()
    ends = keys(store, "add", "--expires", "1h").stdout.strip()
    n, end = 0, time.monotonic() + c.seconds
    with target(folder, "--store", store, key=secret) as t:
        c.warm(t)
        before = t.settle()
        with Watchers(t, c.quiet) as w:
            while time.monotonic() < end or n < len(JUMPS):
                jump = JUMPS[n] if n < len(JUMPS) else rng.choice(JUMPS)
                t.faults.set_clock(jump)
                if n % 3 == 0:
                    t.process.send_signal(signal.SIGHUP)
                status, text = t.ask("GET", "/v1/models", key=ends)
                if status != (200 if jump < 3600 else 401):
                    raise Wrong(f"{jump} s later a key for an hour got {status}: {text}")
                seen, patience = w.n_same, time.monotonic() + PATIENCE_S
                while w.n_same < seen + 5 and w.wrong is None:
                    if time.monotonic() > patience:
                        raise Wrong(f"{jump} s later nobody is answered")
                    time.sleep(0.002)
                n += 1
            t.faults.set_clock(0)
        c.result("jumps of the clock, up to 8,000 years", n, w, t.check_no_leak(before, more_bytes=128 << 10, more_blocks=200))


# --- file descriptors

def no_files(c):
    """Who is connected is served; who is not waits or is closed, and the server does not spin about it."""
    rng, n, end, most_cpu = c.random("files"), 0, time.monotonic() + c.seconds, 0.0
    with target(c.folder()) as t:
        c.warm(t)
        before = t.settle()
        hard = resource.prlimit(t.process.pid, resource.RLIMIT_NOFILE)[1]
        while time.monotonic() < end or n == 0:
            connected = http.client.HTTPConnection(*t.address, timeout=PATIENCE_S)
            connected.request("GET", "/health")
            connected.getresponse().read()
            resource.prlimit(t.process.pid, resource.RLIMIT_NOFILE, (t.n_files() + rng.randrange(6), hard))
            crowd = []
            for _ in range(100):
                s = socket.socket()
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    s.connect(t.address)
                crowd.append(s)
            time.sleep(0.05)
            begin, cpu = time.monotonic(), t.cpu_s()
            while time.monotonic() < begin + 0.5:
                time.sleep(0.01)
            most_cpu = max(most_cpu, (t.cpu_s() - cpu) / (time.monotonic() - begin))
            for i in (0, 1):
                _, method, path, document = ASKED[i]
                connected.request(method, path, encoded(document), {"Content-Type": "application/json"})
                answer = connected.getresponse()
                if (got := Answer(answer.status, answer.read())) != c.quiet[i]:
                    raise Wrong(f"without files {NAMES[i]}: {got}")
            for s in crowd:
                s.close()
            connected.close()
            resource.prlimit(t.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
            c.warm(t, 1)
            n += len(crowd)
        if most_cpu > 0.5:  # of one CPU; one that spins takes all of it
            raise Wrong(f"without files it took {most_cpu:.0%} of a CPU to wait")
        c.result(f"clients without a file for them (at most {most_cpu:.0%} of a CPU)", n, None, t.check_no_leak(before))


# --- keys, hangups

def add_rows(store, n, rng):
    """Keys, faster than by the program; their secrets."""
    secrets, rows = [], []
    for _ in range(n):
        key_id = rng.randbytes(6).hex()
        secrets.append(f"sk-puna-{key_id}-{rng.randbytes(32).hex()}")
        rows.append((key_id, hashlib.sha256(secrets[-1].encode()).digest()))
    with sqlite3.connect(store) as db:
        db.executemany("INSERT INTO keys (id, name, hash, created, scopes, priority, models, origins) "
                       "VALUES (?, 'one of many', ?, 1, 31, 1, '', '')", rows)
    return secrets


def thousands_of_keys(c, n_keys=5000):
    """Each opens, no other does, and each that is revoked does no more, while all are read again and again."""
    folder, rng = c.folder(), c.random("thousands")
    store = folder / "store.db"
    first = keys(store, "add", "--scope", "all").stdout.strip()
    secrets, n, end = add_rows(store, n_keys, rng), 0, time.monotonic() + c.seconds
    n_rows = len(rows_of(store)["keys"])
    with target(folder, "--store", store, key=first) as t:
        c.warm(t)
        t.process.send_signal(signal.SIGHUP)
        c.warm(t, 1)
        before = t.settle()
        with Watchers(t, c.quiet, official=False) as w:
            good, gone = secrets[:], []
            while time.monotonic() < end or n < 300:
                if n % 100 == 0:
                    gone.append(good.pop(rng.randrange(len(good))))
                    with sqlite3.connect(store, timeout=PATIENCE_S) as db:
                        db.execute("UPDATE keys SET revoked = 2 WHERE id = ?", (gone[-1].split("-")[2],))
                    t.process.send_signal(signal.SIGHUP)
                    patience = time.monotonic() + PATIENCE_S
                    while t.ask("GET", "/v1/models", key=gone[-1])[0] != 401:
                        if time.monotonic() > patience:
                            raise Wrong("a key that was revoked still opens")
                bad = rng.choice(good)
                bad = bad[:-1] + ("0" if bad[-1] != "0" else "1")
                for key, status in ((rng.choice(good), 200), (bad, 401), (rng.choice(gone), 401)):
                    if (got := t.ask("GET", "/v1/models", key=key)[0]) != status:
                        raise Wrong(f"key {key} got {got}, expected {status}")
                    n += 1
        if len(rows_of(store)["keys"]) != n_rows:
            raise Wrong(f"{n_rows} rows before, {len(rows_of(store)['keys'])} after")
        c.result(f"right, wrong and revoked keys of {n_keys:,}", n, w,
                 t.check_no_leak(before, more_bytes=256 << 10, more_blocks=200))


def hangups(c):
    """Certificates come and go, good ones and bad ones, keys are made, and each storm of signals is answered."""
    folder, rng = c.folder(), c.random("hangups")
    authority = Authority(folder)
    chain, key = authority.issue("server")
    good, bad = chain.read_bytes(), b"no certificate"
    context = ssl.create_default_context(cafile=str(authority.root))
    store = folder / "store.db"
    secret = keys(store, "add", "--scope", "all").stdout.strip()
    n, end, last = 0, time.monotonic() + c.seconds, None
    with target(folder, "--store", store, "--tls-cert", chain, "--tls-key", key, key=secret, context=context) as t:
        for _ in range(20):
            t.process.send_signal(signal.SIGHUP)
        c.warm(t)
        before = t.settle()
        with Watchers(t, c.quiet, official=False) as w:
            while time.monotonic() < end or n < 200:
                part = folder / "part.pem"
                part.write_bytes(rng.choice((good, good, bad, b"", good[:len(good) // 3])))
                part.rename(chain)
                for _ in range(rng.randrange(1, 40)):
                    t.process.send_signal(signal.SIGHUP)
                    n += 1
                if rng.random() < 0.2:
                    last = add_rows(store, 1, rng)[0]
                    t.process.send_signal(signal.SIGHUP)
                time.sleep(0.002)
            chain.write_bytes(good)
            t.process.send_signal(signal.SIGHUP)
            patience = time.monotonic() + PATIENCE_S
            while last is not None and t.ask("GET", "/v1/models", key=last)[0] != 200:
                if time.monotonic() > patience:
                    raise Wrong("a key that was made does not open")
        c.result("hangups, with good and bad certificates", n, w, t.check_no_leak(before, more_bytes=512 << 10, more_blocks=2000))
