"""`puna serve` in its sandbox: what is in force, that everything a server does later still works in it, and what
other processes see of it. That forbidden acts fail is in tests/unit/test_sandbox.c, where a process can try."""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess

import httpx
import pytest

from certificates import Authority
from gguf_file import I32, LLAMA_TOKENS, U16, gguf, llama
from puna_server import NO_STORE, PATIENCE_S, PUNA, Server, wait_until

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
NOBODY = 65534
PROMPT = "llamas and alpacas and guanacos and vicunas of the high plains " * 20
BODY = {"model": "tiny", "prompt": PROMPT, "max_tokens": 4, "temperature": 0}


@contextlib.contextmanager
def serving(*args, told=(), **options):
    """A server that ends well and says on stderr what the expressions match, a line each; .sandbox: its line of it,
    behind those of all addresses."""
    server = Server(*args, **options)
    try:
        server.sandbox = next(line for line in server.process.stdout if not line.startswith("listening on ")).rstrip()
        yield server
        code, errors = server.stop()
        lines = errors.splitlines()
        assert code == 0 and len(lines) == len(told), errors
        assert all(re.fullmatch(expression, line) for expression, line in zip(told, lines)), errors
    finally:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module", autouse=True)
def kernel():
    """Whether a server can be told to have its sandbox or not to start, here."""
    done = subprocess.run([PUNA, "serve", "--sandbox", "on", "--port", "0", "/no/such.gguf"], capture_output=True, text=True,
                          env=os.environ | NO_STORE, timeout=PATIENCE_S, check=False)
    assert done.returncode == 3, done.stderr  # not asked for before there is a model
    with serving(TINY) as server:
        if not re.fullmatch(r"sandbox: Landlock \d+ and seccomp", server.sandbox):
            pytest.skip(f"this kernel cannot do it: {server.sandbox}")


def statuses(server):
    """What the kernel says of each thread: {name: value}."""
    return [dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
            for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()]


# --- what is in force

@pytest.mark.parametrize("args", [[], ["--sandbox", "auto"], ["--sandbox", "on"]])
def test_every_thread_is_in_it(args, tmp_path):
    warned = [r"puna: warning: 3 threads, but .*"] if len(os.sched_getaffinity(0)) < 3 else []
    with serving(*args, "-t", 3, "--prefix-dir", tmp_path / "prefixes", TINY, told=warned) as server:
        assert re.fullmatch(r"sandbox: Landlock [1-9]\d* and seccomp", server.sandbox)
        server.post("/v1/completions", BODY)
        found = statuses(server)
        assert len(found) >= 5  # sockets, engine, two that compute with it, disk
        assert {(s["Seccomp"], s["NoNewPrivs"]) for s in found} == {("2", "1")}
        limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_off_leaves_everything_as_it_is():
    with serving("--sandbox", "off", TINY) as server:
        assert server.sandbox == "sandbox: off"
        assert {(s["Seccomp"], s["NoNewPrivs"]) for s in statuses(server)} == {
            tuple(re.search(rf"^{name}:\t(\d)", pathlib.Path("/proc/self/status").read_text(), re.MULTILINE)[1]
                  for name in ("Seccomp", "NoNewPrivs"))}


def test_another_mode_is_refused_by_name():
    done = subprocess.run([PUNA, "serve", "--sandbox", "yes", TINY], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", "puna serve: option --sandbox: 'yes' is not auto, on or off\n")


# --- kernels that lack a part: here, a filter in front says so

class Condition(ctypes.Structure):
    """struct scmp_arg_cmp."""
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


ALLOW, ERRNO, EQUAL, SET_MODE_FILTER = 0x7fff0000, 0x00050000, 4, 1
LACKING = {"Landlock": (b"landlock_create_ruleset", 38, []), "seccomp": (b"seccomp", 22, [Condition(0, EQUAL, SET_MODE_FILTER, 0)])}


def without(*names):
    """For a child: its kernel has none of them."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p

    def filter_calls():
        context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
        for name in names:
            call, error, conditions = LACKING[name]
            assert library.seccomp_rule_add_array(context, ctypes.c_uint32(ERRNO | error), library.seccomp_syscall_resolve_name(call),
                                                  ctypes.c_uint(len(conditions)), (Condition * len(conditions))(*conditions)) == 0
        assert library.seccomp_load(context) == 0
    return filter_calls


@pytest.mark.parametrize("names, line", [
    (["Landlock"], "sandbox: seccomp, no Landlock"), (["seccomp"], r"sandbox: Landlock \d+, no seccomp"),
    (["Landlock", "seccomp"], "sandbox: none")])
def test_a_kernel_that_lacks_a_part_does_without_it_or_not_at_all(names, line):
    with serving(TINY, preexec_fn=without(*names)) as server:
        assert re.fullmatch(line, server.sandbox)
        server.post("/v1/completions", BODY)
    done = subprocess.run([PUNA, "serve", "--port", "0", "--sandbox", "on", TINY], preexec_fn=without(*names), capture_output=True,
                          text=True, env=os.environ | NO_STORE, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        6, "", f"puna serve: option --sandbox on: this kernel has no {' and no '.join(names)}\n")


# --- everything goes on working

def certificate_of(server):
    with server.connect() as s:
        return s.getpeercert(binary_form=True)


def renew(authority, files):
    """As programs that renew certificates do it: other files get the names. The new one's bytes."""
    for new, old in zip(authority.issue("next"), files):
        os.replace(shutil.copy(new, f"{old}.new"), old)
    return ssl.PEM_cert_to_DER_cert(files[0].read_text().split("-----END", 1)[0] + "-----END CERTIFICATE-----\n")


def test_certificates_keys_prefixes_sockets_and_the_end_work_in_it(tmp_path):
    authority = Authority(tmp_path)
    folder = tmp_path / "tls"
    folder.mkdir()
    files = [pathlib.Path(shutil.copy(file, folder)) for file in authority.issue("first")]
    context = ssl.create_default_context(cafile=authority.root)
    store, prefixes, local = tmp_path / "keys/store.db", tmp_path / "prefixes", tmp_path / "run/puna.sock"
    local.parent.mkdir()

    def puna_keys(*args):
        return subprocess.run([PUNA, "keys", "--store", store, *args], capture_output=True, text=True, timeout=PATIENCE_S,
                              check=True).stdout.strip()
    first = puna_keys("add")
    with serving("--sandbox", "on", "--tls-cert", files[0], "--tls-key", files[1], "--store", store, "--prefix-dir", prefixes,
                 "--host", "127.0.0.1", "--host", f"unix:{local}", TINY, context=context,
                 told=["puna serve: SIGHUP: read the certificate again"]) as server:
        whole = server.post("/v1/completions", BODY, key=first)
        assert server.ask("POST", "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}],
                                                            "max_tokens": 2}, key=first)[0] == 200
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(local))) as client:
            assert client.get("http://localhost/health").json() == {"status": "ok"}
        second = puna_keys("add")  # with a journal beside the store
        wait_until(lambda: server.ask("GET", "/v1/models", key=second)[0] == 200)
        puna_keys("revoke", second.split("-")[2])
        wait_until(lambda: server.ask("GET", "/v1/models", key=second)[0] == 401)
        before, new = certificate_of(server), renew(authority, files)
        third = puna_keys("add")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: certificate_of(server) == new != before)
        assert server.ask("GET", "/v1/models", key=third)[0] == 200
    assert not local.exists() and list(local.parent.iterdir()) == []
    assert list(prefixes.glob("*.page"))
    with serving("--sandbox", "on", "--store", store, "--prefix-dir", prefixes, TINY) as server:  # and reads them
        again = server.post("/v1/completions", BODY, key=first)
        assert again["choices"] == whole["choices"] and again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


def test_a_store_that_is_made_later_is_found(tmp_path):
    """In a folder that is made then, too."""
    with serving("--sandbox", "on", TINY, env=os.environ | NO_STORE | {"XDG_DATA_HOME": str(tmp_path)}) as server:
        assert server.ask("GET", "/v1/models")[0] == 200
        subprocess.run([PUNA, "keys", "--store", tmp_path / "puna/store.db", "add"], check=True, capture_output=True, timeout=PATIENCE_S)
        wait_until(lambda: server.ask("GET", "/v1/models")[0] == 401)


def test_packed_weights_are_kept_and_read_again(tmp_path):
    environment = os.environ | NO_STORE | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for _ in range(2):
        with serving("--sandbox", "on", "--cache-min", 0, TINY, env=environment) as server:
            wait_until(lambda: list(tmp_path.glob("cache/puna/packed/*.packed")))
            server.post("/v1/completions", BODY)
    with serving("--sandbox", "on", TINY, env=environment | {"XDG_CACHE_HOME": str(tmp_path / "none")}):
        assert not (tmp_path / "none").exists()  # too small a model


def test_a_split_model_behind_links_loads(tmp_path):
    """As programs that download models leave them: names in one folder, files in another."""
    def keys(i):
        return {"split__no": (U16, i), "split__count": (U16, 2), "split__tensors__count": (I32, 12)}
    folder = tmp_path / "blobs"
    folder.mkdir()
    (folder / "a").write_bytes(llama(**keys(0)))
    (folder / "b").write_bytes(gguf([(name.replace("__", "."), *value) for name, value in keys(1).items()],
                                    [("output.weight", "F32", [32, len(LLAMA_TOKENS)])]))
    for i, name in enumerate("ab"):
        (tmp_path / f"model-{i + 1:05}-of-00002.gguf").symlink_to(f"blobs/{name}")
    with serving("--sandbox", "on", "model-00001-of-00002.gguf", cwd=tmp_path) as server:
        (name,) = (m["id"] for m in server.ask("GET", "/v1/models")[1]["data"])
        server.post("/v1/completions", {"model": name, "prompt": "ab", "max_tokens": 2})


# --- as seen by others

def test_no_mapping_of_the_model_can_be_written_to():
    """Of a process whose files in /proc its user may read."""
    with serving("--sandbox", "off", TINY) as server:
        server.post("/v1/completions", BODY)
        maps = [line.split(maxsplit=5) for line in pathlib.Path(f"/proc/{server.process.pid}/maps").read_text().splitlines()]
        rights = [fields[1] for fields in maps if fields[-1] == str(TINY)]
        assert rights and all("w" not in r and "x" not in r for r in rights)
        assert not any("w" in fields[1] and "x" in fields[1] for fields in maps)


LOOK = f"""
import ctypes, os, sys
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
SEIZE = 0x4206
traced = libc.ptrace(SEIZE, pid, None, None) == 0
print(traced, os.access(f"/proc/{{pid}}/mem", os.R_OK), os.access(f"/proc/{{pid}}/environ", os.R_OK))
"""


def look(server):
    """Whether another process of the user nobody can trace, and read memory and environment."""
    done = subprocess.run(["/usr/bin/python3", "-c", LOOK, str(server.process.pid)], user=NOBODY, group=NOBODY, extra_groups=[],
                          capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout.split()


def may_trace_others():
    with contextlib.suppress(FileNotFoundError):
        return pathlib.Path("/proc/sys/kernel/yama/ptrace_scope").read_text() == "0\n"
    return True


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a server as somebody else")
def test_it_needs_no_privilege_and_hides_its_memory_from_its_own_user(tmp_path_factory):
    folder = pathlib.Path("/tmp") / f"puna-nobody-{os.getpid()}"  # one above which all are open to nobody
    folder.mkdir(mode=0o755)
    try:
        for file in (PUNA, TINY):
            shutil.copy(file, folder)
        (folder / "home").mkdir()
        os.chown(folder / "home", NOBODY, NOBODY)
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home")}
        options = {"executable": folder / "puna", "user": NOBODY, "group": NOBODY, "extra_groups": [], "env": environment, "cwd": "/"}
        with serving("--sandbox", "on", "--prefix-dir", folder / "home/prefixes", "--host", "127.0.0.1",
                     "--host", f"unix:{folder}/home/s", folder / "tiny.gguf", **options) as server:
            assert re.search(r"^Uid:\s65534\s65534\s65534\s65534$", pathlib.Path(
                f"/proc/{server.process.pid}/status").read_text(), re.MULTILINE)
            server.post("/v1/completions", BODY)
            assert {s["CapEff"] for s in statuses(server)} == {"0" * 16}
            assert look(server) == ["False", "False", "False"]
        assert list((folder / "home/prefixes").glob("*.page"))
        with serving("--sandbox", "off", folder / "tiny.gguf", **options) as server:
            assert look(server) == [str(may_trace_others()), "True", "True"]  # what the test can see
    finally:
        shutil.rmtree(folder)
