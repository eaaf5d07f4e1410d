"""Where `puna serve` listens: several addresses, local sockets, sockets of a service manager; and what it
tells that one. The manager is this file, which speaks sd_listen_fds(3) and sd_notify(3)."""
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time

import httpx
import pytest

from certificates import Authority
from gguf_file import U32, llama
from puna_server import NO_STORE, PUNA, SANDBOX, wait_until


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name, value in NO_STORE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("listen") / "quick.gguf"
    path.write_bytes(llama(llama__context_length=(U32, 8192)))
    return path


class Process:
    """addresses: as the server prints them. A program in front of it gets `prefix`."""

    def __init__(self, *args, n_addresses=1, prefix=(), **options):
        command = [*prefix, PUNA, "serve", "--log", "none", *map(str, args)]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self.addresses = [re.fullmatch(r"listening on (\S+)\n", self.process.stdout.readline())[1] for _ in range(n_addresses)]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@contextlib.contextmanager
def running(*args, **options):
    server = Process(*args, **options)
    try:
        yield server
        assert server.stop() == (0, "")
    finally:
        server.process.kill()
        server.process.communicate()


def refused(*args):
    done = subprocess.run([PUNA, "serve", "--port", "0", *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr.removeprefix("puna serve: ").removesuffix("\n")


def health(address, **options):
    if address.startswith("unix:"):
        name = address[5:]
        transport = httpx.HTTPTransport(uds="\0" + name[1:] if name.startswith("@") else name)
        with httpx.Client(transport=transport) as client:
            return client.get("http://localhost/health").json()
    return httpx.get(f"{address}/health", **options).json()


OK = {"status": "ok"}


# --- hosts

def test_several_addresses_are_one_server(path, tmp_path):
    local = tmp_path / "puna.sock"
    name, second = f"@puna-{os.getpid()}", "127.0.0.2"
    with running("--host", "127.0.0.1", "--host", f"unix:{local}", "--host", second, "--host", f"unix:{name}", "--port", 0,
                 path, n_addresses=4) as s:
        port = s.addresses[0].rsplit(":", 1)[1]
        assert s.addresses == [f"http://127.0.0.1:{port}", f"unix:{local}", f"http://{second}:{port}", f"unix:{name}"]
        assert [health(a) for a in s.addresses] == [OK] * 4
        assert stat.filemode(local.stat().st_mode) == "srw-------"
        done = subprocess.run(["curl", "-sS", "--unix-socket", local, "http://localhost/v1/completions", "-d",
                               '{"model": "quick", "prompt": "a", "max_tokens": 3, "stream": true}'],
                              capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.endswith("data: [DONE]\n\n")
    assert not local.exists()


@pytest.mark.parametrize("umask", [0, 0o22, 0o77])
def test_a_local_socket_has_the_mode_that_is_asked_for(path, tmp_path, umask):
    local = tmp_path / "puna.sock"
    with running("--host", f"unix:{local}", "--unix-mode", "660", path, umask=umask):
        assert stat.filemode(local.stat().st_mode) == "srw-rw----"


def test_many_local_clients_are_not_one_address(path, tmp_path):
    """As a proxy in front has many connections."""
    local = tmp_path / "puna.sock"
    with running("--host", f"unix:{local}", "--max-connections", 8, path), contextlib.ExitStack() as stack:
        for _ in range(8):
            c = stack.enter_context(socket.socket(socket.AF_UNIX))
            c.connect(str(local))
            c.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert c.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_client_of_a_local_socket_that_leaves_is_noticed(tmp_path):
    local, endless = tmp_path / "puna.sock", tmp_path / "quick.gguf"
    endless.write_bytes(llama(llama__context_length=(U32, 1 << 17)))
    body = b'{"model": "quick", "prompt": "a", "max_tokens": 131000}'
    with running("--host", f"unix:{local}", "-c", 1 << 17, endless):
        def pages():
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(local))) as client:
                return float(re.search(r"^puna_kv_pages_in_use (\S+)$", client.get("http://localhost/metrics").text, re.MULTILINE)[1])
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(str(local))
            c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: pages() > 0)
        wait_until(lambda: pages() == 0)


def test_an_abandoned_socket_is_replaced_and_no_other(path, tmp_path):
    local = tmp_path / "puna.sock"
    first = Process("--host", f"unix:{local}", path)
    code, message = refused("--host", f"unix:{local}", path)
    assert (code, message) == (4, f"cannot listen on unix:{local}: Address already in use")
    assert health(f"unix:{local}") == OK
    first.process.kill()
    first.process.communicate()
    assert local.exists()
    with running("--host", f"unix:{local}", path):
        assert health(f"unix:{local}") == OK
    local.write_text("precious")
    code, message = refused("--host", f"unix:{local}", path)
    assert (code, message) == (4, f"cannot listen on unix:{local}: Address already in use")
    assert local.read_text() == "precious"


def test_of_servers_that_find_an_abandoned_socket_one_looks_after_the_other(path, tmp_path):
    """Else the second might remove what the first has bound and does not listen on yet."""
    folder = tmp_path / "run"
    folder.mkdir()
    local = folder / "puna.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(local))
    before = local.stat().st_ino
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with subprocess.Popen([PUNA, "serve", "--log", "none", "--host", f"unix:{local}", path], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            def waits():
                assert process.poll() is None
                with contextlib.suppress(FileNotFoundError):  # one that was closed meanwhile
                    return str(folder) in [os.readlink(link) for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()]
            wait_until(waits)
            assert local.stat().st_ino == before
            os.close(lock)
            assert process.stdout.readline() == f"listening on unix:{local}\n"
            assert health(f"unix:{local}") == OK
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
        finally:
            process.kill()


def test_the_socket_of_a_successor_stays(path, tmp_path):
    local = tmp_path / "puna.sock"
    with running("--host", f"unix:{local}", path):
        local.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(local))
    assert local.exists()


def test_hosts_that_cannot_be_are_named(path, tmp_path):
    long = tmp_path / ("x" * 120)
    n = len(str(long).encode())
    for args, expected in (
            (["--host", ""], (2, "option --host: a host must not be empty")),
            (["--host", "unix:"], (4, "host 'unix:': the path is empty")), (["--host", "unix:@"], (4, "host 'unix:@': the path is empty")),
            (["--host", f"unix:{long}"], (4, f"host 'unix:{long}': the path has {n} bytes, at most 107")),
            (["--host", f"unix:{tmp_path}/no/such"], (4, f"cannot listen on unix:{tmp_path}/no/such: No such file or directory")),
            (["--host=127.0.0.1"] * 17, (2, "option --host: more than 16 hosts")),
            (["--unix-mode", "888"], (2, "option --unix-mode: '888' is not an octal number from 0 to 777")),
            (["--unix-mode", "1777"], (2, "option --unix-mode: '1777' is not an octal number from 0 to 777"))):
        assert refused(*args, path) == expected
    code, message = refused("--host", "127.0.0.1", "--host", "0.0.0.0", path)
    assert code == 2 and message.startswith("option --host: host '0.0.0.0' can be reached from other machines")


def test_local_sockets_speak_plainly_beside_tls(path, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    local = tmp_path / "puna.sock"
    with running("--host", "127.0.0.1", "--host", f"unix:{local}", "--port", 0, "--tls-cert", cert, "--tls-key", key, path,
                 n_addresses=2) as s:
        assert s.addresses[0].startswith("https://") and s.addresses[1] == f"unix:{local}"
        assert health(s.addresses[0], verify=ssl.create_default_context(cafile=authority.root)) == OK
        assert health(s.addresses[1]) == OK


# --- sockets of a service manager

# Says in the environment that the descriptors from 3 on are for the process that it becomes.
EXEC = [sys.executable, "-c", "import os, sys\nos.environ['LISTEN_PID'] = os.environ['WATCHDOG_PID'] = str(os.getpid())\n"
        "os.execv(sys.argv[1], sys.argv[1:])"]


def listening(*sockets):
    """Options of a process that has these as descriptors from 3 on."""
    numbers = [s.fileno() for s in sockets]

    def place():
        kept = [os.dup2(n, 100 + i) for i, n in enumerate(numbers)]
        for i, n in enumerate(kept):
            os.dup2(n, 3 + i, inheritable=True)
    return {"preexec_fn": place, "close_fds": False, "prefix": EXEC,
            "env": os.environ | {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(["puna"] * len(sockets))}}


def test_sockets_of_a_manager_are_listened_on_and_stay(path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "given.sock"))
        local.listen()
        for _ in range(2):  # the second finds them as the first did
            with running(path, n_addresses=2, **listening(tcp, local)) as s:
                assert s.addresses == [f"http://127.0.0.1:{tcp.getsockname()[1]}", f"unix:{tmp_path}/given.sock"]
                assert [health(a) for a in s.addresses] == [OK, OK]
                pid = s.process.pid
                environment = open(f"/proc/{pid}/environ", "rb").read()
                assert b"LISTEN_FDS=2" in environment  # it was told
                flags = [re.search(r"flags:\s+(\d+)", open(f"/proc/{pid}/fdinfo/{fd}").read())[1] for fd in (3, 4)]
                assert all(int(f, 8) & os.O_CLOEXEC for f in flags)
        assert (tmp_path / "given.sock").exists()
        with socket.create_connection(tcp.getsockname(), timeout=30) as c:  # waits for the next server
            c.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            with running(path, n_addresses=2, **listening(tcp, local)):
                assert c.recv(1000).startswith(b"HTTP/1.1 200 ")


def started(args, sockets, **environment):
    options = listening(*sockets)
    done = subprocess.run([*options.pop("prefix"), PUNA, "serve", "--port", "0", *map(str, args)], capture_output=True, text=True,
                          timeout=60, check=False, env=options.pop("env") | environment, **options)
    return done.returncode, done.stderr.removeprefix("puna serve: ").removesuffix("\n")


def test_sockets_that_will_not_do_are_refused(path):
    with socket.create_server(("127.0.0.1", 0)) as good, socket.socket() as deaf, socket.socket(type=socket.SOCK_DGRAM) as datagrams, \
            socket.create_server(("0.0.0.0", 0)) as far, open("/dev/null") as no_socket:
        assert started([path], [deaf]) == (4, "file descriptor 3 is no stream socket that listens")
        assert started([path], [good, datagrams]) == (4, "file descriptor 4 is no stream socket that listens")
        assert started([path], [no_socket]) == (4, "file descriptor 3: Socket operation on non-socket")
        code, message = started([path], [far])
        assert code == 2 and message.startswith("option --host: host '0.0.0.0' can be reached from other machines")
        assert started(["--host", "127.0.0.1", path], [good]) == (
            2, "option --host changes nothing: the service manager has opened 1 socket to listen on")
        assert started([path], [good], LISTEN_FDS="x") == (2, "LISTEN_FDS: 'x' is not a whole number from 0 to 16")
        assert started([path], [good], LISTEN_FDS="17") == (2, "LISTEN_FDS: '17' is not a whole number from 0 to 16")


def test_sockets_for_another_process_are_left_alone(path):
    with running("--port", 0, path, env=os.environ | {"LISTEN_PID": "1", "LISTEN_FDS": "1"}) as s:
        assert health(s.addresses[0]) == OK


# --- what it tells

class Manager:
    """Where messages go to."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(60)
        self.environment = os.environ | {"NOTIFY_SOCKET": name}

    def hear(self, *, besides=()):
        """The lines of the next message, but for those that begin so."""
        while True:
            lines = self.socket.recv(4096).decode().split("\n")
            if lines[0].split("=")[0] not in besides:
                return lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_manager_is_told_what_happens(path, tmp_path, is_abstract):
    with Manager(f"@puna-manager-{os.getpid()}" if is_abstract else str(tmp_path / "notify")) as manager:
        with running("--port", 0, path, env=manager.environment) as s:
            assert manager.hear() == ["STATUS=loading the model"]
            assert manager.hear() == ["READY=1", "STATUS=serving"]
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            s.process.send_signal(signal.SIGHUP)
            first, second = manager.hear()
            assert first == "RELOADING=1"
            assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            assert manager.hear() == ["READY=1"]
        assert manager.hear() == ["STOPPING=1", "STATUS=answers under way end"]


def test_a_hangup_ends_no_server(path):
    """Also where there is nothing to read again: no certificate, no store, no manager."""
    with running("--port", 0, *SANDBOX, path, env={"PATH": os.environ["PATH"]}) as s:
        for _ in range(3):
            s.process.send_signal(signal.SIGHUP)
            assert health(s.addresses[0]) == OK


def test_a_hangup_before_the_model_is_there_says_nothing_of_being_ready(tmp_path):
    """Loading lasts for as long as the test wants: what would fetch the model waits."""
    cert, key = Authority(tmp_path).issue("server")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("python3", 'case "$*" in *--version*) exit 0 ;; *) exec sleep 300 ;; esac'), ("curl", "exec sleep 300")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    with Manager(str(tmp_path / "notify")) as manager:
        process = subprocess.Popen(
            [PUNA, "serve", "--port", "0", "--log", "none", "--tls-cert", cert, "--tls-key", key], text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), "NOTIFY_SOCKET": str(tmp_path / "notify")})
        try:
            assert manager.hear() == ["STATUS=loading the model"]
            process.send_signal(signal.SIGHUP)
            while process.stderr.readline() != "puna serve: SIGHUP: read the certificate again\n":
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert manager.hear() == ["STOPPING=1", "STATUS=answers under way end"]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_ready_comes_when_the_model_is_there(tmp_path):
    """And never for one that is not."""
    with Manager(str(tmp_path / "notify")) as manager:
        done = subprocess.run([PUNA, "serve", "--port", "0", tmp_path / "no.gguf"], capture_output=True, text=True, timeout=60,
                              env=manager.environment, check=False)
        assert done.returncode == 3 and manager.hear() == ["STATUS=loading the model"]
        manager.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.socket.recv(100)


def test_signs_of_life_come_in_time_while_the_server_is_healthy(path, tmp_path):
    with Manager(str(tmp_path / "notify")) as manager:
        environment = manager.environment | {"WATCHDOG_USEC": "100000"}
        with running("--port", 0, path, prefix=EXEC, env=environment):
            for _ in range(10):
                assert manager.hear(besides=("STATUS", "READY")) == ["WATCHDOG=1"]
        with running("--port", 0, path, env=environment | {"WATCHDOG_PID": "1"}):  # another one's
            assert [manager.hear(besides=("WATCHDOG", "STOPPING"))[0] for _ in range(2)] == ["STATUS=loading the model", "READY=1"]
        assert manager.hear()[0] == "STOPPING=1"


def test_a_manager_that_is_gone_is_no_matter(path, tmp_path):
    with running("--port", 0, path, env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "10000"}) as s:
        assert health(s.addresses[0]) == OK


@pytest.mark.parametrize("variables, message", [
    ({"NOTIFY_SOCKET": "vsock:2:1"}, "NOTIFY_SOCKET: 'vsock:2:1' is neither a path nor a name after @, of 107 bytes at most"),
    ({"NOTIFY_SOCKET": "/" + "x" * 107}, "NOTIFY_SOCKET: '/" + "x" * 107 + "' is neither"),
    ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC: 'soon' is not a whole number")])
def test_what_a_manager_cannot_mean_is_refused(path, variables, message):
    done = subprocess.run([PUNA, "serve", "--port", "0", path], capture_output=True, text=True, timeout=60,
                          env=os.environ | variables, check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"puna serve: {message}")


# --- systemd itself

UNITS = pathlib.Path(__file__).resolve().parents[2] / "examples/systemd"


def test_the_example_service_starts_what_there_is():
    """Its command and file name options that exist; it may write where its keys are, and is not killed while
    answers end."""
    service = (UNITS / "puna.service").read_text()
    program, *args = re.search(r"^ExecStart=(.*)$", service, re.MULTILINE)[1].split()
    assert program.endswith("/bin/puna") and args == ["serve", "--config", "/etc/puna.conf"]
    done = subprocess.run([PUNA, "serve", "--config", UNITS / "puna.conf", "--print-config"], capture_output=True, text=True,
                          timeout=60, check=True)
    drain = int(re.search(r"^drain-timeout = (\d+)$", done.stdout, re.MULTILINE)[1])
    store = pathlib.Path(re.search(r"^store = (.*)$", done.stdout, re.MULTILINE)[1])
    assert str(store.parent) in [f"/var/lib/{name}" for name in re.search(r"^StateDirectory=(.*)$", service, re.MULTILINE)[1].split()]
    assert f"sudo -u puna env PUNA_STORE={store} puna keys add " in (UNITS.parents[1] / "docs/OPERATIONS.md").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", service, re.MULTILINE)[1]) > drain + 2


def test_systemd_understands_the_example_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    for name in ("puna.service", "puna.socket"):
        (tmp_path / name).write_text((UNITS / name).read_text().replace("/usr/local/bin/puna", PUNA))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / "puna.service", tmp_path / "puna.socket"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemds_own_activation_hands_sockets_over(path, tmp_path):
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("there is no systemd-socket-activate")
    local = tmp_path / "activated"
    command = ["systemd-socket-activate", "-l", local, PUNA, "serve", "--log", "none", *SANDBOX, path]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            wait_until(local.exists)
            assert health(f"unix:{local}") == OK  # waits for the model
            assert process.stdout.readline() == f"listening on unix:{local}\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
