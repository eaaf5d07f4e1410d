"""The programs of examples/ against the real server: what they ask, and whether they print what it
answers. Between the two stands a relay that keeps the bytes of both."""
import contextlib
import http.client
import io
import json
import os
import pathlib
import re
import select
import shutil
import socket
import socketserver
import subprocess
import sys
import threading

import pytest

from test_serve_http import ALIAS, PUNA, Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NODE_MODULES = ROOT / "tests/js/node_modules"
TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
LIMIT = 60
WHOLE = ["chat.sh", "chat.py", "chat.mjs"]
STREAMS = ["chat_stream.sh", "chat_stream.py", "chat_stream.mjs"]
MESSAGES = [{"role": "system", "content": "Act like you are a helpful assistant."},
            {"role": "user", "content": "Hi there!"}]
FIRST_TEXT = re.compile(rb'"content":"[^"].*?\n\n', re.DOTALL)


class Relay(socketserver.ThreadingTCPServer):
    """Passes an exchange on to the server. With a gate, an answer stops behind the event of its first
    text until the gate opens."""
    daemon_threads = True

    def __init__(self, upstream, gate=None):
        super().__init__(("127.0.0.1", 0), Exchange)
        self.upstream, self.gate, self.asked, self.told = upstream, gate, b"", b""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def request(self):
        """Head, and body as the object that it is."""
        head, _, body = self.asked.partition(b"\r\n\r\n")
        return head.decode(), json.loads(body)

    @property
    def body(self):
        """The answer's, out of its chunks."""
        answer = http.client.HTTPResponse(Told(self.told))
        answer.begin()
        assert answer.status == 200
        return answer.read()


class Told:
    """As much of a socket as HTTPResponse reads from."""

    def __init__(self, data):
        self.data = data

    def makefile(self, _):
        return io.BytesIO(self.data)


class Exchange(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError), \
                socket.create_connection(self.server.upstream, timeout=LIMIT) as upstream:
            while True:
                for s in select.select([self.request, upstream], [], [])[0]:
                    piece = s.recv(65536)
                    if not piece:
                        return
                    if s is upstream:
                        self.answer(piece)
                    else:
                        self.server.asked += piece
                        upstream.sendall(piece)

    def answer(self, piece):
        before = len(self.server.told)
        self.server.told += piece
        first = self.server.gate and FIRST_TEXT.search(self.server.told)
        end = max(first.end() - before, 0) if first else 0
        self.request.sendall(piece[:end])
        if first:
            self.server.gate.wait(LIMIT)
        self.request.sendall(piece[end:])


@pytest.fixture(scope="module")
def server():
    s = Server("--alias", ALIAS, TINY)
    yield s
    assert s.stop() == (0, "")


def command(name, folder):
    """What runs a program; skips where that is not installed."""
    if name.endswith(".sh"):
        return ["sh", EXAMPLES / name]
    if name.endswith(".py"):
        return [sys.executable, EXAMPLES / name]
    node = shutil.which("node")
    if node is None or not NODE_MODULES.is_dir():
        pytest.skip("no node, or no tests/js/node_modules: tools/setup test installs both")
    # Node looks for packages beside the program.
    shutil.copy(EXAMPLES / name, folder)
    (folder / "node_modules").symlink_to(NODE_MODULES)
    return [node, folder / name]


def start(name, folder, relay):
    host, port = relay.server_address
    environment = dict(os.environ, OPENAI_BASE_URL=f"http://{host}:{port}/v1", OPENAI_API_KEY="sesame",
                       no_proxy=host)
    environment.pop("PYTHONUNBUFFERED", None)  # a program has to flush by itself
    return subprocess.Popen(command(name, folder), env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def finish(process, printed=b""):
    out, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors) == (0, b"")
    return printed + out


def check_request(relay, **more):
    head, body = relay.request
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert re.search(r"^authorization: bearer sesame\r?$", head, re.MULTILINE | re.IGNORECASE)
    assert body == {"model": ALIAS, "messages": MESSAGES, "max_tokens": 512, **more}


def events(body):
    parts = body.decode().split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    return [json.loads(p.removeprefix("data: ")) for p in parts[:-2]]


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_is_printed_whole(server, name, tmp_path):
    with Relay(server.address) as relay:
        printed = finish(start(name, tmp_path, relay))
        check_request(relay)
    text = json.loads(relay.body)["choices"][0]["message"]["content"]
    assert text
    assert printed == (relay.body if name.endswith(".sh") else f"{text}\n".encode())


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_printed_as_it_comes(server, name, tmp_path):
    """The rest comes when the first text has been printed, or never."""
    gate = threading.Event()
    with Relay(server.address, gate) as relay:
        process = start(name, tmp_path, relay)
        assert select.select([process.stdout], [], [], LIMIT)[0], "nothing printed before the end"
        first = os.read(process.stdout.fileno(), 65536)
        gate.set()
        printed = finish(process, first)
        check_request(relay, stream=True)
    pieces = [e["choices"][0]["delta"].get("content", "") for e in events(relay.body)]
    assert len(pieces) > 2
    assert printed == (relay.body if name.endswith(".sh") else "".join([*pieces, "\n"]).encode())


# --- tools/demo-server

@pytest.fixture
def demo(tmp_path):
    """demo(PATH in front): the finished run; its server has ended as well."""
    if not pathlib.Path(os.environ.get("PUNA_TEST_MODEL", "")).is_file():
        pytest.skip("no default model: tools/fetch-default-model brings it")
    puna, pid = tmp_path / "puna", tmp_path / "pid"
    puna.write_text(f'#!/bin/sh\necho $$ >"{pid}"\nexec "{PUNA}" "$@"\n')
    puna.chmod(0o755)

    def run(folder=None):
        path = os.pathsep.join([*([str(folder)] if folder else []), os.environ["PATH"]])
        done = subprocess.run([ROOT / "tools/demo-server", puna], env=dict(os.environ, PATH=path),
                              capture_output=True, text=True, timeout=LIMIT)
        assert not pathlib.Path("/proc", pid.read_text().strip()).exists()
        return done
    return run


def test_the_demo_shows_what_it_runs(demo):
    done = demo()
    assert (done.returncode, done.stderr) == (0, "")
    commands = re.findall(r"^\$ (.*)$", done.stdout, re.MULTILINE)
    url = re.search(r"^listening on (\S+)$", done.stdout, re.MULTILINE)[1]
    assert [c.split()[-1] for c in commands[1:3]] == ["examples/chat.sh", "examples/chat_stream.sh"]
    assert all(c.startswith(f"OPENAI_BASE_URL={url}/v1 sh ") for c in commands[1:3])
    assert '"object":"chat.completion"' in done.stdout
    assert done.stdout.count("data: [DONE]") == 1


def test_a_demo_that_fails_stops_its_server(demo, tmp_path):
    (tmp_path / "bin").mkdir()
    curl = tmp_path / "bin/curl"
    curl.write_text("#!/bin/sh\necho 'curl: no way there' >&2\nexit 7\n")
    curl.chmod(0o755)
    done = demo(curl.parent)
    assert done.returncode == 1 and done.stderr == "curl: no way there\n"


# --- documents

def test_the_readmes_commands_are_the_servers(server):
    """The curl program of README.md, and the addresses that it lists."""
    text = (ROOT / "README.md").read_text()
    shown = re.search(r"\$ (curl .*?\\\n.*?)\n", text)[1]
    base = "http://{}:{}".format(*server.address)
    assert "http://127.0.0.1:8080/" in shown
    done = subprocess.run(["sh", "-c", shown.replace("http://127.0.0.1:8080", base)], capture_output=True,
                          timeout=LIMIT, env=dict(os.environ, no_proxy=server.address[0]))
    assert json.loads(done.stdout)["object"] == "chat.completion"
    listed = re.search(r"There\s+are (`.*?`) below\s(`.*?);\s+(`/health.*?),\s+which", text, re.DOTALL)
    paths, prefixes = (re.findall(r"`([\w/{}-]+)`", listed[i]) for i in (1, 2))
    bare = re.findall(r"`(/[\w.]+)`", listed[3])
    assert len(paths) == 12 and len(prefixes) == 3 and len(bare) == 4
    for path in [*(f"{p}/{x}" for p in prefixes for x in paths), *bare]:
        query = "?start_time=0" if "/usage/" in path else ""
        assert get(server, path.replace("{id}", ALIAS) + query)[0] in (200, 405)


@pytest.mark.parametrize("name", ["tools", "structured output", "embeddings"])
def test_the_readme_lists_what_the_server_lacks(server, name):
    text = " ".join((ROOT / "README.md").read_text().split())
    lacks = re.search(r"Not there yet: (.*?)\. ", text)[1]
    offered = json.loads(get(server, "/v1/capabilities")[1])[name.replace(" ", "_")]
    assert (name in lacks) is not offered


def get(server, path):
    connection = http.client.HTTPConnection(*server.address, timeout=LIMIT)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def readme_commands():
    """Commands of README whose whole output it shows, and that output; not those of speeds or a random answer."""
    blocks = re.findall(r"^    \$ (.*(?:\n(?!    \$ )    .*)*)", (ROOT / "README.md").read_text(), re.M)
    for block in blocks:
        command, *shown = block.split("\n    ")
        if re.search(r"puna (score|tokenize|detokenize|run .*--temp 0)", command) and "[...]" not in shown:
            yield pytest.param(command, shown, id=command[:60])


@pytest.mark.parametrize("command, shown", list(readme_commands()))
def test_the_readme_shows_what_the_program_prints(command, shown):
    done = subprocess.run(["bash", "-c", command.replace("build/release/puna", PUNA)], capture_output=True,
                          text=True, timeout=LIMIT)
    assert done.stdout.rstrip("\n").split("\n") == shown, done.stderr


def test_every_program_is_documented_and_tested():
    names = sorted(p.name for p in EXAMPLES.iterdir() if p.is_file() and p.suffix in {".sh", ".py", ".mjs"})
    assert names == sorted(WHOLE + STREAMS)
    text = (EXAMPLES / "README.md").read_text()
    assert sorted(set(re.findall(r"examples/(\w+\.\w+)`", text))) == names
    assert all("http://127.0.0.1:8080/v1" in (EXAMPLES / n).read_text() for n in names)
