"""What docs/OPERATIONS.md says for nginx and Caddy, with the real ones in front of a real server."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import textwrap

import pytest

from certificates import Authority
from puna_server import NO_STORE, serving, wait_until

DEFAULT = "SmolLM2-135M-Instruct.Q4_1"
LONG = {"model": DEFAULT, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 4000, "ignore_eos": True, "stream": True}
SERVERS = pathlib.Path("build/servers").absolute()
OPERATIONS = open("docs/OPERATIONS.md").read()

pytestmark = pytest.mark.skipif(not SERVERS.exists(), reason="no build/servers: tools/setup test unpacks it")


def example(start):
    """The indented text of the document that begins so."""
    (block,) = re.findall(rf"^((?:    {re.escape(start)}.*\n)(?:    .*\n|\n(?=    ))*)", OPERATIONS, re.MULTILINE)
    return textwrap.dedent(block)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def nginx(folder, sock, port, authority):
    chain, key = authority.issue("proxy")
    text = example("upstream puna.example")
    for said, meant in (("/run/puna.sock", sock), ("listen 443", f"listen 127.0.0.1:{port}"), ("llm.example", "localhost"),
                        ("/etc/ssl/llm.pem", chain), ("/etc/ssl/llm.key", key)):
        assert said in text
        text = text.replace(said, str(meant))
    paths = "".join(f"{p}_temp_path {folder}/{p};" for p in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
                                       f"http {{ access_log off; {paths}\n{text} }}\n")
    return [SERVERS / "usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"]


def caddy(folder, sock, port, authority):
    text = example("llm.example {")
    assert "/run/puna.sock" in text
    chain, key = authority.issue("proxy")
    text = text.replace("/run/puna.sock", str(sock)).replace("llm.example {", f"https://localhost:{port} {{\n    tls {chain} {key}")
    (folder / "Caddyfile").write_text("{\n    admin off\n    auto_https disable_redirects\n}\n" + text)
    return [SERVERS / "usr/bin/caddy", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]


class Proxied:
    def __init__(self, server, port, context):
        self.server, self.port, self.context = server, port, context

    def connect(self):
        return http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.context)

    def begin(self, body):
        c = self.connect()
        c.request("POST", "/v1/chat/completions", json.dumps(body))
        return c, c.getresponse()


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxied(request, tmp_path, authority):
    sock, port = tmp_path / "puna.sock", free_port()
    context = ssl.create_default_context(cafile=authority.root)
    with serving("--host", "127.0.0.1", "--host", f"unix:{sock}", env=os.environ | NO_STORE) as s:
        sock.chmod(0o666)
        environment = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        process = subprocess.Popen(request.param(tmp_path, sock, port, authority), env=environment)
        try:
            p = Proxied(s, port, context)

            def answers():
                with contextlib.suppress(OSError), contextlib.closing(p.connect()) as c:
                    c.request("GET", "/ready")
                    return c.getresponse().status == 200
            wait_until(answers)
            yield p
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def test_a_stream_comes_as_it_is_made(proxied):
    c, answer = proxied.begin(LONG)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    n_events = 0
    while n_events < 10:
        line = answer.readline()
        assert line, "the stream came to its end"
        n_events += line.startswith(b"data: {")
    assert proxied.server.metric("puna_requests_running") == 1  # it has not come to its end
    c.close()
    answer.close()
    wait_until(proxied.server.is_idle)  # who leaves the proxy has left the server


def test_answers_are_as_without_the_proxy(proxied):
    body = LONG | {"max_tokens": 12, "seed": 5, "stream": False}
    direct = proxied.server.post("/v1/chat/completions", body)
    c, answer = proxied.begin(body)
    with contextlib.closing(c):
        assert answer.status == 200 and json.load(answer)["choices"] == direct["choices"]
        c.request("POST", "/v1/chat/completions", json.dumps(body | {"messages": [], "n": 1}))
        answer = c.getresponse()
        assert answer.status == 400 and json.load(answer)["error"]["param"] == "messages"
        c.request("POST", "/v1/tokenize", json.dumps({"content": "a" * 3_000_000}))
        assert c.getresponse().status == 200
