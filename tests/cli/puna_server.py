"""A running `puna serve`, for the tests of its API."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

PUNA = os.path.abspath(os.environ.get("PUNA", "build/release/puna"))
LINE = re.compile(r"listening on (https?)://(.*):(\d+)\n")
ENDING = "puna serve: draining: {} being served, for {} s at most; Ctrl-C again quits at once\n"
DATA = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
# No store, which cannot be named as it has to be there then; the models from where they are.
NO_STORE = {"PUNA_STORE": "", "XDG_DATA_HOME": "/nonexistent",
            "PUNA_MODELS": os.environ.get("PUNA_MODELS") or f"{DATA}/puna/models"}
# What `make tsan-api` asks of every server; for those that a test starts without the environment.
SANDBOX = ["--sandbox", os.environ["PUNA_SERVE_SANDBOX"]] if "PUNA_SERVE_SANDBOX" in os.environ else []
# For what happens soon on a machine with nothing else to do.
PATIENCE_S = float(os.environ.get("PUNA_TEST_PATIENCE") or 60)


class Server:
    """address is (host, port). Without a log, unless args ask for one, and without the keys of who runs the tests.
    Where it speaks TLS, context is the client's."""

    def __init__(self, *args, context=None, stderr=subprocess.PIPE, **options):
        options.setdefault("env", os.environ | NO_STORE)
        command = [PUNA, "serve", "--port", "0", "--log", "none", *map(str, args)]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=stderr, **options)
        self.line = self.process.stdout.readline()
        scheme, host, port = LINE.fullmatch(self.line).groups()
        assert (scheme == "https") == (context is not None)
        self.context = context
        self.address = (host.strip("[]"), int(port))
        self.url = f"{scheme}://{host}:{port}"

    def connect(self):
        s = socket.create_connection(self.address, timeout=30)
        return self.context.wrap_socket(s, server_hostname=self.address[0]) if self.context else s

    def ask(self, method, path, body=None, timeout=PATIENCE_S, key=None):
        """Status and JSON document (or text) of an exchange."""
        connection = (http.client.HTTPSConnection(*self.address, timeout=timeout, context=self.context) if self.context
                      else http.client.HTTPConnection(*self.address, timeout=timeout))
        with contextlib.closing(connection):
            connection.request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body),
                               {} if key is None else {"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers["content-type"] == "application/json"
            return answer.status, json.loads(text) if is_json else text

    def post(self, path, body, **options):
        status, document = self.ask("POST", path, body, **options)
        assert status == 200, document
        return document

    def metrics(self):
        """All samples, of one moment: {name with its labels: value}."""
        _, text = self.ask("GET", "/metrics")
        return {name: float(value) for name, value in re.findall(r"^([^# ]+) (\S+)$", text, re.MULTILINE)}

    def metric(self, name):
        return self.metrics()[name]

    def is_idle(self):
        return all(self.metric(f"puna_{name}") == 0 for name in
                   ("requests_preparing", "requests_running", "requests_waiting", "kv_pages_in_use"))

    def fill_stderr(self):
        """So that it takes nothing more, as nobody reads it before stop()."""
        fill_pipe(self.process.pid, 2)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def fill_pipe(process, number):
    full = os.open(f"/proc/{process}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(full, b"x" * 4096)
    os.close(full)


def begin_to_read(s):
    """A client that took little so far has room for its answer from now on: through a window of 4 KiB the kernel sends at
    times no more than its probes, which are 0.2 s apart."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)


@contextlib.contextmanager
def serving(*args, **options):
    """A server that ends well, whatever becomes of the test."""
    server = Server(*args, **options)
    try:
        yield server
        assert server.stop() == (0, "")
    finally:
        server.process.kill()
        sys.stderr.write(server.process.communicate()[1])  # what it said, if it ended by itself


def wait_until(condition, limit_s=PATIENCE_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
