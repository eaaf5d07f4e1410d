"""Options of `puna serve` from a file and the environment: what goes before what, what is refused."""
import os
import re
import signal
import subprocess

import pytest

from gguf_file import llama
from puna_server import NO_STORE, PUNA, SANDBOX, Server, serving


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """Without keys, and without what the variables of whoever runs the tests would change."""
    for name in [name for name in os.environ if name.startswith("PUNA_SERVE_")]:
        monkeypatch.delenv(name)
    for name, value in NO_STORE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.gguf"
    path.write_bytes(llama())
    return path


@pytest.fixture
def config(tmp_path):
    """Writes a file and gives its path."""
    def write(text):
        path = tmp_path / "puna.conf"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path
    return write


def run(*args, **variables):
    return subprocess.run([PUNA, "serve", *map(str, args)], capture_output=True, text=True, timeout=60, check=False,
                          env=os.environ | variables)


def printed(*args, **variables):
    """{name: [(value, source)]} of what is set, as --print-config says."""
    done = run("--print-config", *args, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    found, lines = {}, done.stdout.splitlines()
    for source, line in zip(lines[::2], lines[1::2], strict=True):
        assert source.startswith("# ")
        if not line.startswith("#"):
            name, value = line.split(" = ", 1)
            found.setdefault(name, []).append((value, source[2:]))
    return found


def refusal(*args, **variables):
    done = run(*args, **variables)
    assert done.stdout == "" and done.stderr.startswith("puna serve: ") and done.stderr.count("\n") == 1
    return done.returncode, done.stderr.removeprefix("puna serve: ").removesuffix("\n")


def test_a_file_configures_the_server(path, config):
    file = config(f"# the whole of it\nmodel = {path}\nport = 0\nlog = none\nalias = one\nalias = two\nno-prefix-cache = true\n"
                  "parallel = 2\n")
    with serving("--config", file, *SANDBOX) as s:
        assert [m["id"] for m in s.ask("GET", "/v1/models")[1]["data"]] == ["small", "one", "two"]


def test_the_line_goes_before_the_environment_and_that_before_the_file(path, config):
    file = config("port = 1\nparallel = 1\nqueue = 1\nalias = f1\nalias = f2\ncors-origin = https://f.example\nno-auth = true\n"
                  "batch-size = 1\n")
    found = printed("--config", file, "--port", 3, "--alias", "l", "-b", 3, path, PUNA_SERVE_PORT="2", PUNA_SERVE_PARALLEL="2",
                    PUNA_SERVE_ALIAS="e1, e2 ", PUNA_SERVE_NO_AUTH="false", PUNA_SERVE_CORS_ORIGIN="https://a.example,https://b.example")
    assert {name: found[name] for name in ("model", "port", "parallel", "queue", "alias", "cors-origin", "no-auth", "batch-size")} == {
        "model": [(str(path), "command line")], "port": [("3", "command line")], "parallel": [("2", "environment")],
        "queue": [("1", f"{file}, line 3")], "alias": [("l", "command line")], "batch-size": [("3", "command line")],
        "cors-origin": [("https://a.example", "environment"), ("https://b.example", "environment")],
        "no-auth": [("false", "environment")]}
    assert found["log"] == [("text", "default")] and found["max-connections"] == [("4096", "default")]
    assert found["exact" if "exact" in found else "no-cache"] == [("false", "default")]


def test_a_file_may_be_named_by_the_environment(config):
    file = config("port = 99\n")
    assert printed(PUNA_SERVE_CONFIG=str(file))["port"] == [("99", f"{file}, line 1")]
    assert printed("--config", config("port = 98\n"), PUNA_SERVE_CONFIG="/nonexistent")["port"][0][0] == "98"


def test_what_is_printed_is_a_file_that_says_the_same(path, config):
    args = ["--port", 7, "--alias", "été", "--alias", "a # b", "--no-auth", "--log", "json", "--host", "unix:/x y", "--host", "::1", path]
    first = run("--print-config", *args)
    file = config(first.stdout)
    second = run("--print-config", "--config", file)
    assert second.returncode == 0

    def values(text):
        return [line for line in text.splitlines() if not line.startswith("# ")]
    assert values(first.stdout) == values(second.stdout)
    assert "alias = été" in values(first.stdout) and "host = ::1" in values(first.stdout)


def test_every_option_is_printed_once_or_has_no_place_in_a_file():
    names = re.findall(r"^ +(?:-\w, )?--([\w-]+)", run("--help").stdout, re.MULTILINE)
    lines = [line for line in run("--print-config").stdout.splitlines() if not line.startswith("# ")]
    assert [re.match(r"#?([a-z-]+) =", line)[1] for line in lines] == [
        "model", *(n for n in names if n not in ("help", "config", "print-config"))]


def test_what_a_file_cannot_say_is_printed_as_a_remark(path):
    out = run("--print-config", "--alias", "a\nb", "--alias", '"q"', "--alias", " x ", path).stdout
    assert '# not for a file: alias = "a\\nb"\n' in out and '# not for a file: alias = "\\"q\\""\n' in out


@pytest.mark.parametrize("text, message", [
    ("prot = 1\n", "line 1: there is no option 'prot'; there is 'port'"),
    ("\nmax-conections = 1\n", "line 2: there is no option 'max-conections'; there is 'max-connections'"),
    ("nonsense = 1\n", "line 1: there is no option 'nonsense'"),
    ("port = 1\n# x\nport = 2\n", "line 3: 'port' is set in line 1 already"),
    ("ctx = 9\nctx-size = 9\n", "line 2: 'ctx-size' is set in line 1 already"),
    ("model = a\nmodel = b\n", "line 2: 'model' is set in line 1 already"),
    ("port = x\n", "line 1: option --port: 'x' is not a whole number from 0 to 65535"),
    ("pooling = max\n", "line 1: option --pooling: 'max' is neither 'mean' nor 'last'"),
    ("cors-origin = app\n", "line 1: option --cors-origin: 'app' is not like "),
    ("no-auth = yes\n", "line 1: option --no-auth: 'yes' is neither true nor false"),
    ("config = x\n", "line 1: 'config' has no place in a file"),
    ("print-config = true\n", "line 1: 'print-config' has no place in a file"),
    ("help = true\n", "line 1: there is no option 'help'"),
    ("port 1\n", "line 1: 'port 1' is not like name = value"),
    ("host = \"a\"\n", "line 1: host: a value has no quotation marks round it"),
    ("port = 1\n" + "# x\n" * 20000, "more than 65536 bytes"),
    (b"\x00\x01", "line 1: bytes that are no UTF-8, or a control character")])
def test_a_bad_file_is_refused_with_its_name_and_line(config, text, message):
    file = config(text)
    code, said = refusal("--config", file)
    assert code == 2 and said.startswith(f"{file}: {message}")


# --- SIGHUP

def names_of(server):
    return [model["id"] for model in server.ask("GET", "/v1/models")[1]["data"]]


def replace(path, text):
    """As editors do: another file gets the name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def reload(server):
    server.process.send_signal(signal.SIGHUP)
    return server.process.stderr.readline()


def test_aliases_of_the_file_are_read_again(path, config):
    """In the sandbox, which is on by default."""
    changed = "puna serve: SIGHUP: the model has other aliases\n"
    file = config("alias = one\nalias = two\nparallel = 2\n")
    s = Server("--config", file, *SANDBOX, path)
    assert names_of(s) == ["small", "one", "two"]
    replace(file, "alias = two\nparallel = 3\nalias = meta-llama/three\n")
    assert reload(s) == changed
    assert names_of(s) == ["small", "two", "meta-llama/three"]
    answer = s.post("/v1/completions", {"model": "meta-llama/three", "prompt": "a", "max_tokens": 1})
    assert answer["model"] == "meta-llama/three"
    status, document = s.ask("POST", "/v1/completions", {"model": "one", "prompt": "a", "max_tokens": 1})
    assert (status, document["error"]["code"]) == (404, "model_not_found")
    replace(file, "alias = four\nalias four\n")
    assert reload(s) == f"puna serve: SIGHUP: the aliases stay: {file}: line 2: 'alias four' is not like name = value\n"
    replace(file, "".join(f"alias = {i}\n" for i in range(65)))
    assert reload(s) == f"puna serve: SIGHUP: the aliases stay: {file}: line 65: option --alias: more than 64 names\n"
    file.unlink()
    assert reload(s) == f"puna serve: SIGHUP: the aliases stay: {file}: No such file or directory\n"
    assert names_of(s) == ["small", "two", "meta-llama/three"]
    replace(file, "# none\n")
    assert reload(s) == changed
    assert names_of(s) == ["small"]
    assert s.stop() == (0, "")


def test_each_name_is_listed_once(path, config):
    file = config("alias = a\nalias = small\nalias = a\nalias = b\n")
    s = Server("--config", file, *SANDBOX, path)
    assert names_of(s) == ["small", "a", "b"]
    replace(file, "alias = b\nalias = b\nalias = small\nalias = a\n")
    assert reload(s) == "puna serve: SIGHUP: the model has other aliases\n"
    assert names_of(s) == ["small", "b", "a"]
    s.stop()
    with serving(*SANDBOX, path, "--alias", "a", "--alias", "a", "--alias", "small") as s:
        assert names_of(s) == ["small", "a"] == s.ask("GET", "/v1/capabilities")[1]["models"]


def test_of_a_file_that_a_start_would_refuse_nothing_is_read_again(path, config):
    file = config("alias = one\nparallel = 2\n")
    s = Server("--config", file, *SANDBOX, "--queue", 5, path)
    for text, message in (
            ("nonsense = 1\n", f"{file}: line 2: there is no option 'nonsense'"),
            ("parallel = abc\n", f"{file}: line 2: option --parallel: 'abc' is not a whole number from 1 to 1024"),
            ("parallel = 1\nparallel = 1\n", f"{file}: line 3: 'parallel' is set in line 2 already"),
            ("cors-origin = app\n", f"{file}: line 2: option --cors-origin: 'app' is not like "),
            ("config = x\n", f"{file}: line 2: 'config' has no place in a file"),
            ("queue-per-key = 6\n", "option --queue-per-key: 6 is more than the 5 of --queue"),
            ("prefix-limit = 1G\n", "option --prefix-limit changes nothing without --prefix-dir")):
        replace(file, "alias = two\n" + text)
        assert reload(s).startswith(f"puna serve: SIGHUP: the aliases stay: {message}")
        assert refusal("--config", file, "--queue", 5, path)[1].startswith(message)
        assert names_of(s) == ["small", "one"]
    replace(file, "alias = two\nqueue = abc\n")  # the line goes before it
    assert reload(s) == "puna serve: SIGHUP: the model has other aliases\n"
    assert names_of(s) == ["small", "two"]
    assert s.stop() == (0, "")


def test_aliases_of_the_line_stay(path, config):
    file = config("alias = one\n")
    with serving("--config", file, *SANDBOX, "--alias", "mine", path) as s:
        replace(file, "alias = two\n")
        s.process.send_signal(signal.SIGHUP)
        assert s.ask("GET", "/health")[0] == 200
        assert names_of(s) == ["small", "mine"]  # and nothing was said


def test_no_more_names_come_from_a_file_than_from_the_line(config):
    file = config("".join(f"alias = {i}\n" for i in range(200)))
    code, said = refusal("--config", file)
    n = int(re.fullmatch(re.escape(str(file)) + r": line (\d+): option --alias: more than (\d+) names", said)[2])
    assert (code, said.split(": ")[1]) == (2, f"line {n + 1}")


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert refusal("--config", tmp_path / "no") == (3, f"{tmp_path}/no: No such file or directory")
    assert refusal("--config", tmp_path) == (4, f"{tmp_path}: Is a directory")


@pytest.mark.parametrize("name, value, message", [
    ("PROT", "1", "there is no option 'prot'; there is 'port'"), ("PORT", "x", "option --port: 'x' is not a whole number"),
    ("PORT", "", "option --port: '' is not a whole number"), ("NO_AUTH", "1", "option --no-auth: '1' is neither true nor false"),
    ("ALIAS", "a,,b", "option --alias: a name must not be empty"), ("port", "1", "there is no option '????'"),
    ("X" * 80, "1", "there is no option of that name")])
def test_a_bad_variable_is_named(path, name, value, message):
    code, said = refusal(path, **{f"PUNA_SERVE_{name}": value})
    assert code == 2 and said.startswith(f"PUNA_SERVE_{name}: {message}")
