"""`puna serve` over TLS, as openssl's own client, Python's and bare sockets meet it. What needs a handler
of its own is in tests/unit/test_http_tls.c; the JavaScript client is in tests/js/tls.test.mjs."""
import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import httpx
import openai
import pytest

from certificates import Authority
from gguf_file import U32, llama
from puna_server import PUNA, Server, serving, wait_until


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A model of no weight, which never ends by itself."""
    path = tmp_path_factory.mktemp("tls") / "quick.gguf"
    path.write_bytes(llama(llama__context_length=(U32, 1 << 17)))
    return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority):
    return authority.issue("server")


@pytest.fixture(scope="module")
def context(authority):
    return ssl.create_default_context(cafile=authority.root)


@pytest.fixture(scope="module")
def server(path, files, context):
    with serving(*options(files), "-c", 1 << 17, path, context=context) as s:
        yield s


def options(files):
    return ["--tls-cert", files[0], "--tls-key", files[1]]


def client_of(server, context):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60,
                         http_client=httpx.Client(verify=context))


COMPLETION = {"model": "quick", "prompt": "xyzzy", "temperature": 0, "max_tokens": 40}
LONG = COMPLETION | {"max_tokens": 131000, "stream": True}  # never over before somebody looks


# --- what is spoken

def s_client(server, authority, *args):
    host, port = server.address
    return subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}", "-CAfile", authority.root, "-verify_return_error",
                           "-verify_hostname", "localhost", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)


@pytest.mark.parametrize("args, expected", [
    (["-tls1_3"], "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
    (["-tls1_2"], "TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"],  # the client's choice
     "TLSv1.2, Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"),
    (["-groups", "P-384"], "TLSv1.3"), (["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1")])
def test_openssl_trusts_the_chain_and_agrees(server, authority, args, expected):
    done = s_client(server, authority, *args)
    assert done.returncode == 0 and expected in done.stdout and "Verify return code: 0 (ok)" in done.stdout
    assert "CN = between" in done.stdout  # it is sent
    assert "Compression: NONE" in done.stdout


@pytest.mark.parametrize("args", [
    ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], ["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"],
    ["-tls1_2", "-cipher", "AES128-GCM-SHA256"], ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
    ["-tls1_2", "-cipher", "NULL@SECLEVEL=0"], ["-tls1_2", "-cipher", "ADH@SECLEVEL=0"],
    ["-alpn", "h2"], ["-groups", "ffdhe2048"]])
def test_openssl_is_refused_what_is_weak_or_not_spoken(server, authority, args):
    done = s_client(server, authority, *args)
    assert done.returncode == 1 and "alert" in done.stderr and "Cipher is (NONE)" in done.stdout


def hello(*suites, version=0x0303):
    """A ClientHello of TLS 1.2 with these cipher suites, in its record."""
    def block(data, n):
        return len(data).to_bytes(n, "big") + data
    def extension(number, data):
        return struct.pack(">H", number) + block(data, 2)
    extensions = (extension(10, block(struct.pack(">HH", 23, 24), 2)) + extension(11, block(b"\0", 1)) +
                  extension(13, block(struct.pack(">6H", 0x0403, 0x0503, 0x0804, 0x0401, 0x0203, 0x0201), 2)))
    body = struct.pack(">H", version) + bytes(32) + b"\0" + block(b"".join(struct.pack(">H", s) for s in suites), 2) + b"\1\0"
    message = b"\1" + block(body + block(extensions, 2), 3)
    return b"\x16\x03\x01" + block(message, 2)


@pytest.mark.parametrize("suite, is_good", [
    (0xC02B, True), (0xCCA9, True),  # that the form of the others is not what is refused
    (0x0004, False), (0x0005, False), (0xC007, False), (0xC011, False),  # RC4
    (0x000A, False), (0xC008, False), (0x002F, False), (0xC009, False), (0xC023, False),  # 3DES and CBC
    (0x0001, False), (0x0003, False)])  # no encryption, export
def test_old_ciphers_are_refused(server, suite, is_good):
    with socket.create_connection(server.address, timeout=30) as s:
        s.sendall(hello(suite))
        answer = s.recv(7)
    assert answer[:1] == (b"\x16" if is_good else b"\x15") and (is_good or answer[5:7] == b"\x02\x28")  # handshake_failure


def test_keys_of_rsa_do_too(path, authority, context):
    with serving(*options(authority.issue("rsa", kind="RSA")), path, context=context) as s:
        assert s.ask("GET", "/health") == (200, {"status": "ok"})
        done = s_client(s, authority, "-tls1_2")
        assert "Cipher is ECDHE-RSA-AES256-GCM-SHA384" in done.stdout


# --- the official client

def test_the_official_client_speaks_tls(server, context, authority, monkeypatch):
    with client_of(server, context) as client:
        whole = client.completions.create(**COMPLETION)
        stream = client.completions.create(**COMPLETION, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == whole.choices[0].text != ""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        assert client.models.list().data[0].id == "quick"
    monkeypatch.delenv("SSL_CERT_FILE")
    with client_of(server, ssl.create_default_context()) as stranger, pytest.raises(openai.APIConnectionError):
        stranger.models.list()


def test_a_stream_that_its_reader_leaves_is_cancelled(server, context):
    for _ in range(3):
        with client_of(server, context) as client:
            stream = client.completions.create(**LONG)
            next(stream)
            assert server.metric("puna_kv_pages_in_use") > 0
            stream.close()
        wait_until(server.is_idle)


def request(document):
    body = json.dumps(document).encode()
    return b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("way", ["close", "reset", "close_notify"])
def test_whichever_way_a_client_goes_its_pages_are_freed(server, way):
    for document in (LONG, LONG | {"stream": False}):
        s = server.connect()
        s.sendall(request(document))
        wait_until(lambda: server.metric("puna_kv_pages_in_use") > 0)
        if way == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way == "close_notify":
            with contextlib.suppress(ssl.SSLError):  # what the server sent until then is in the way
                s.settimeout(0.05)
                s.unwrap()
        s.close()
        wait_until(server.is_idle)


def test_a_slow_reader_gets_every_byte(server):
    """Its stream is held back; no byte of any choice is lost."""
    document = COMPLETION | {"n": 4, "max_tokens": 2000, "stream": True}

    def texts(pause_s):
        with server.connect() as s:
            if pause_s > 0:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(request(document))
            data = b""
            while piece := s.recv(4096):
                data += piece
                time.sleep(pause_s)
        assert data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        found = [""] * 4
        for line in data.decode().split("\n"):
            for choice in json.loads(line[6:])["choices"] if line.startswith("data: {") else []:
                found[choice["index"]] += choice["text"]
        return found
    assert texts(0.005) == texts(0) == ["!" * 2000] * 4


# --- who never gets so far

def test_http_without_tls_is_told_so(server):
    with socket.create_connection(server.address, timeout=30) as s:
        s.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["message"] == "this port speaks TLS: the address begins with https://"


def test_half_handshakes_and_garbage_hold_nobody_up(server):
    with contextlib.ExitStack() as stack:
        for data in (b"", hello(0xC02B)[:20], hello(0xC02B), b"\x16\x03\x01\x40\x00", bytes(range(256)), b"\0" * 70000, b"\x80" * 9):
            for _ in range(10):
                s = stack.enter_context(socket.create_connection(server.address, timeout=30))
                with contextlib.suppress(ConnectionError):
                    s.sendall(data)
        assert server.ask("GET", "/health")[0] == 200


def test_many_shake_hands_at_once(server, context):
    n = 200
    gate = threading.Barrier(n)

    def visit(_):
        with socket.create_connection(server.address, timeout=60) as plain:
            gate.wait(60)
            with context.wrap_socket(plain, server_hostname="localhost") as s:
                s.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = b""
                while piece := s.recv(4096):
                    answer += piece
                return answer.startswith(b"HTTP/1.1 200 OK\r\n")
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        assert all(pool.map(visit, range(n)))


# --- other certificates

def serial(server, context):
    with server.connect() as s:
        return int(s.getpeercert()["serialNumber"], 16)


def test_a_hangup_reads_the_certificate_again_and_nobody_fails(path, authority, context, tmp_path):
    pairs = [authority.issue("first"), authority.issue("second")]
    own = tmp_path / "cert.pem", tmp_path / "key.pem"

    def place(pair):
        for source, target in zip(pair, own):
            shutil.copy(source, target)
    place(pairs[0])
    s = Server(*options(own), path, context=context)
    try:
        stop = threading.Event()

        def load(kind):
            n = 0
            while not stop.is_set():
                if kind == "stream":
                    with client_of(s, context) as client:
                        assert len(list(client.completions.create(**COMPLETION, stream=True))) > 1
                else:
                    assert s.ask("GET", "/health")[0] == 200
                n += 1
            return n
        first = serial(s, context)
        said = []
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load, kind) for kind in ("stream", "health", "health", "stream")]
            try:
                for i in range(20):
                    place(pairs[(i + 1) % 2])
                    s.process.send_signal(signal.SIGHUP)
                    said.append(s.process.stderr.readline())
                    assert (serial(s, context) == first) == (i % 2 == 1)
            finally:
                stop.set()
            assert all(done.result() > 0 for done in loads)
        assert said == ["puna serve: SIGHUP: read the certificate again\n"] * 20
        own[0].write_text("nothing\n")
        s.process.send_signal(signal.SIGHUP)
        assert s.process.stderr.readline() == f"puna serve: SIGHUP: the certificate stays: {own[0]}: there is none in PEM form\n"
        assert serial(s, context) == first
        assert s.stop() == (0, "")
    finally:
        s.process.kill()


def test_a_hangup_waits_for_nobody_who_reads_the_log(path, authority, context, tmp_path):
    """What is odd with a certificate is told as the log is: lines that nobody takes are lost."""
    own = tmp_path / "cert.pem", tmp_path / "key.pem"
    for source, target in zip(authority.issue("plain"), own):
        shutil.copy(source, target)
    s = Server(*options(own), path, context=context)
    try:
        first = serial(s, context)
        for source, target in zip(authority.issue("open"), own):
            shutil.copy(source, target)
        own[1].chmod(0o644)
        s.fill_stderr()
        s.process.send_signal(signal.SIGHUP)
        wait_until(lambda: serial(s, context) != first)
        code, errors = s.stop()
        assert code == 0 and set(errors) == {"x"}
    finally:
        s.process.kill()


def test_a_drain_lets_an_answer_end(path, files, context):
    s = Server(*options(files), path, context=context)
    with s.connect() as c:
        c.sendall(request(LONG | {"max_tokens": 2000}))
        data = c.recv(65536)
        s.process.send_signal(signal.SIGTERM)
        while piece := c.recv(65536):
            data += piece
    assert data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert s.process.wait(60) == 0
    s.process.communicate()


def test_what_is_odd_is_told_at_the_start(path, authority, context):
    cert, key = authority.issue("late", days=-1)
    key.chmod(0o644)
    s = Server("--tls-cert", cert, "--tls-key", key, path, context=context)
    code, errors = s.stop()
    assert code == 0 and len(errors.splitlines()) == 2
    assert errors.startswith(f"puna: warning: {cert}: the certificate has expired at 2")
    assert f"puna: warning: {key}: every user of this machine may read or write the key (mode 644)\n" in errors


def test_files_that_will_not_do_are_named(path, files, authority, tmp_path):
    cert, key = files
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    _, other = authority.issue("other")
    for args, code, message in (
            (["--tls-cert", cert], 2, "option --tls-cert needs --tls-key beside it"),
            (["--tls-cert", cert, "--tls-key", key, "--host", f"unix:{tmp_path}/s"], 2,
             "option --tls-cert changes nothing: every --host is a local socket, and those speak no TLS"),
            (["--tls-key", key], 2, "option --tls-key needs --tls-cert beside it"),
            (["--tls-cert", "nosuch", "--tls-key", key], 4, "nosuch: No such file or directory"),
            (["--tls-cert", cert, "--tls-key", cert], 4, f"{cert}: there is none in PEM form"),
            (["--tls-cert", pipe, "--tls-key", key], 4, f"{pipe}: no regular file"),
            (["--tls-cert", cert, "--tls-key", other], 4, f"{other}: it is not the key of the certificate in {cert}")):
        done = subprocess.run([PUNA, "serve", "--port", "0", *args, path], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (code, f"puna serve: {message}\n")
