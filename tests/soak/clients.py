"""What clients do wrong: they vanish, stop reading, send what is no request, come by the thousand."""
import contextlib
import pathlib
import selectors
import socket
import ssl
import threading
import time

from certificates import Authority
from puna_server import wait_until
from target import ASKED, NAMES, Answer, Watchers, Wrong, chat, encoded, raw_request, reset, target

CORPUS = pathlib.Path(__file__).resolve().parent.parent / "fuzz/corpus"


# --- vanishing

def leave(s, manner, rng):
    if manner == "resets":
        reset(s)
        return
    if manner == "half-closes":
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_WR)
        if rng.random() < 0.5:
            with contextlib.suppress(OSError):
                s.recv(1 << 16)
    s.close()


MANNERS = ("closes", "resets", "half-closes")
LONG = chat("Go on.", max_tokens=900, ignore_eos=True)
LEAVERS = [raw_request(i) for i in range(len(ASKED))] + [
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(b) + b
    for b in (encoded(LONG), encoded(LONG | {"stream": True}), encoded(LONG | {"stream": True, "n": 4, "logprobs": True}))] + [
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (b'{"model":"tiny",', b'"prompt":"a","max_tokens":500,', b'"stream":true}')) +
    b"0\r\n\r\n"]


def vanish_once(t, stage, manner, rng, wrap=None):
    """Before, within or behind the request, or within the answer."""
    data = rng.choice(LEAVERS)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        s = socket.create_connection(t.address, timeout=60)
        try:
            if wrap is not None:
                s = wrap(s, stage, rng)
            if stage == "connected":
                return
            if stage == "head":
                s.sendall(data[:rng.randrange(1, data.index(b"\r\n\r\n") + 4)])
            elif stage == "body":
                s.sendall(data[:rng.randrange(data.index(b"\r\n\r\n") + 4, len(data) + 1)])
            elif stage == "asked":
                s.sendall(data)
            elif stage == "answered in part":
                s.sendall(data)
                s.recv(rng.choice((1, 10, 300, 4000)))
            elif stage == "pipelined":
                s.sendall(data * rng.randrange(2, 5))
                s.recv(rng.choice((1, 1000, 20000)))
            if rng.random() < 0.2:
                time.sleep(rng.random() * 0.02)
        except TimeoutError as e:
            raise Wrong(f"nothing came: {stage}, {data[:200]}") from e
        finally:
            leave(s, manner, rng)


STAGES = ("connected", "head", "body", "asked", "answered in part", "pipelined")


def in_threads(n, run):
    """run(i) in n threads; the first error of any is raised."""
    errors = []

    def guarded(i):
        try:
            run(i)
        except Exception as e:  # pylint: disable=broad-except
            errors.append(e)
    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def vanish_many(c, t, seconds, wrap=None):
    """As many as there is time for, three at once, each stage and manner in turn. Returns how many."""
    counts = [0, 0, 0]

    def run(i):
        rng = c.random(f"vanish {i}")
        end = time.monotonic() + seconds
        while time.monotonic() < end or counts[i] < len(STAGES) * len(MANNERS):
            stage, manner = STAGES[counts[i] % len(STAGES)], MANNERS[counts[i] // len(STAGES) % len(MANNERS)]
            vanish_once(t, stage, manner, rng, wrap)
            counts[i] += 1
    in_threads(3, run)
    return sum(counts)


def vanish(c):
    with target(c.folder()) as t:
        vanish_many(c, t, 0.5)
        c.warm(t)
        before = t.settle()
        with Watchers(t, c.quiet) as w:
            n = vanish_many(c, t, c.seconds)
        return c.result(f"clients close, reset or half-close at {len(STAGES)} stages", n, w, t.check_no_leak(before))


def vanish_in_tls(c):
    folder = c.folder()
    authority = Authority(folder)
    chain, key = authority.issue("server")
    context = ssl.create_default_context(cafile=str(authority.root))

    def wrap(s, stage, rng):
        if stage != "connected":
            return context.wrap_socket(s, server_hostname="127.0.0.1")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()  # its first words, cut, or others
        half = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            half.do_handshake()
        hello = bytearray(outgoing.read())
        if rng.random() < 0.5:
            hello[rng.randrange(len(hello))] ^= 1 << rng.randrange(8)
        s.sendall(hello[:rng.randrange(1, len(hello) + 1)])
        if rng.random() < 0.5:
            s.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                s.recv(rng.randrange(1, 2000))
        return s
    with target(folder, "--tls-cert", chain, "--tls-key", key, context=context) as t:
        vanish_many(c, t, 0.5, wrap)
        c.warm(t)
        before = t.settle()
        with Watchers(t, c.quiet) as w:
            n = vanish_many(c, t, c.seconds, wrap)
        return c.result("the same with TLS, its handshake cut or damaged", n, w, t.check_no_leak(before, more_bytes=256 << 10,
                                                                                              more_blocks=600))


# --- not reading

def unread(t, data):
    """A socket that takes little of its answer."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.connect(t.address)
    s.sendall(data)
    return s


def stop_reading(c):
    """Their answers are longer than what the kernel takes. Each keeps its place among the sequences until it is given up, so
    there are more places than they take."""
    def crowd(t, n):
        sockets = []
        for i in range(n):
            sockets.append(unread(t, LEAVERS[-2] if i % 2 else raw_request(NAMES.index("openapi")) * 40))
        return sockets

    with target(c.folder(), "--parallel", 60) as t:
        def rounds(w, n_least, end):
            n = 0
            while time.monotonic() < end or n < n_least:
                sockets = crowd(t, 24)
                n += 1
                seen = w.n_same
                while w.n_same < seen + 10 and w.wrong is None:  # others go on meanwhile
                    time.sleep(0.01)
                for i, s in enumerate(sockets):
                    leave(s, MANNERS[i % 3], c.random("stop"))
            return 24 * n
        with Watchers(t, c.quiet) as w:
            rounds(w, 3, 0)
        before = t.settle()
        with Watchers(t, c.quiet) as w:
            n = rounds(w, 1, time.monotonic() + c.seconds)
        return c.result("clients do not read their answers", n, w, t.check_no_leak(before))


# --- garbage

def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.randrange(4)):
        what, at = rng.randrange(5), rng.randrange(len(data) + 1)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at:at] = rng.randbytes(rng.randrange(1, 30))
        elif what == 2:
            del data[at:at + rng.randrange(1, 40)]
        elif what == 3:
            data[at:at] = data[:rng.randrange(len(data) + 1)]
        elif at < len(data):
            data[at] = rng.randrange(256)
    return bytes(data)


def garbage_once(t, heads, bodies, rng):
    kind = rng.randrange(4)
    if kind == 0:
        data = rng.randbytes(rng.randrange(1, 3000))
    elif kind == 1:
        data = mutated(rng.choice(heads), rng)
    elif kind == 2:
        data = mutated(rng.choice(LEAVERS), rng)
    else:
        body = mutated(rng.choice(bodies), rng)
        path = rng.choice(("chat/completions", "completions", "embeddings", "tokenize", "detokenize", "apply-template",
                           "keys/ephemeral"))
        data = b"POST /v1/%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body))
        data += body
    with contextlib.suppress(ConnectionError):
        with socket.create_connection(t.address, timeout=60) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while piece := s.recv(1 << 16):
                if not piece.startswith(b"HTTP/1.1 ") and piece[:4] == b"HTTP":
                    raise Wrong(f"{piece[:100]} to {data}")


def garbage(c):
    heads = [p.read_bytes() for folder in ("http", "http_head") for p in sorted((CORPUS / folder).iterdir())]
    bodies = [p.read_bytes() for folder in ("api_chat", "api_completion", "api_other", "chat", "conversation") for p in sorted((CORPUS / folder).iterdir())]

    def many(t, seconds):
        counts = [0, 0, 0]

        def run(i):
            rng, end = c.random(f"garbage {i}"), time.monotonic() + seconds
            while time.monotonic() < end or counts[i] < 20:
                garbage_once(t, heads, bodies, rng)
                counts[i] += 1
        in_threads(3, run)
        return sum(counts)
    with target(c.folder()) as t:
        many(t, 0.5)
        c.warm(t)
        before = t.settle()
        with Watchers(t, c.quiet) as w:
            n = many(t, c.seconds)
        return c.result("random bytes, damaged heads, bodies and JSON", n, w, t.check_no_leak(before))


# --- many

def read_streams(sockets, limit_s=300):
    """What each was sent, to its end."""
    got = {s: bytearray() for s in sockets}
    with selectors.DefaultSelector() as selector:
        for s in sockets:
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ)
        n_open, end = len(sockets), time.monotonic() + limit_s
        while n_open > 0:
            if time.monotonic() > end:
                raise Wrong(f"{n_open} streams of {len(sockets)} did not end")
            for key, _ in selector.select(1):
                try:
                    piece = key.fileobj.recv(1 << 16)
                except ConnectionError as e:
                    raise Wrong(f"a stream ended so: {e}, {got[key.fileobj]!r}") from e
                got[key.fileobj] += piece
                if not piece:
                    selector.unregister(key.fileobj)
                    n_open -= 1
    return [bytes(g) for g in got.values()]


def dechunked(data):
    head, _, rest = data.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        n = int(size, 16)
        body, rest = body + rest[:n], rest[n + 2:]
    return Answer(int(head.split()[1]), body)


def many_streams(c, n_streams=1000):
    """All are open at once, behind one that takes all places and does not read; a third leaves then, the others get all of
    theirs."""
    data = raw_request(NAMES.index("chat stream"), "Connection: close\r\n")
    expected = c.quiet[NAMES.index("chat stream")]

    def is_full(t):
        before = t.metrics()
        time.sleep(0.2)
        return t.metric("puna_requests_running") == 4 and t.metric("puna_steps_total") == before["puna_steps_total"]

    def crowd(t):
        first = unread(t, LEAVERS[-2])
        wait_until(lambda: is_full(t))
        sockets = [socket.create_connection(t.address, timeout=60) for _ in range(n_streams)]
        for s in sockets:
            s.sendall(data)
        wait_until(lambda: t.metric("puna_requests_running") + t.metric("puna_requests_waiting") > n_streams)
        first.close()
        for i, s in enumerate(sockets):
            if i % 3 == 0:
                leave(s, MANNERS[i // 3 % 3], c.random("streams"))
        rest = [s for i, s in enumerate(sockets) if i % 3]
        for got in read_streams(rest):
            if dechunked(got) != expected:
                raise Wrong(f"a stream: {got!r} instead of {expected}")
        for s in rest:
            s.close()

    with target(c.folder(), "--queue", 4 * n_streams) as t:
        crowd(t)
        before = t.settle()
        n, end = 0, time.monotonic() + c.seconds
        with Watchers(t, c.quiet, official=False, which=[0, 1, 6]) as w:
            while time.monotonic() < end or n == 0:
                crowd(t)
                n += n_streams
        return c.result(f"{n_streams:,} streams open at once, a third of them left", n, w, t.check_no_leak(before))
