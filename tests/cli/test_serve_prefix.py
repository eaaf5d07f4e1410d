"""`puna serve --prefix-dir`: a restart finds long prefixes on disk, and answers are the same, whatever lies there
and whatever the disk does. Texts are the default model's."""
import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import tempfile

import pytest

import puna_server
from puna_server import PATIENCE_S, Server, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
SMALL = ("-c", 1024)
PAGE = 64
SYSTEM = "You know llamas, alpacas, guanacos and the high plains of the Andes where they live. " * 20
CASES = {
    "greedy": {"temperature": 0},
    "seeded": {"temperature": 1, "seed": 42, "top_p": 0.95},
}


def ask(server, case="greedy", question="What do they eat?", **options):
    """What must be equal, and how many tokens of the prompt were cached."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    document = server.post("/v1/chat/completions", {
        "model": MODEL, "messages": messages, "max_tokens": 20, "logprobs": True, "top_logprobs": 2, **CASES[case],
        **options})
    (choice,) = document["choices"]
    return choice, document["usage"]["prompt_tokens_details"]["cached_tokens"]


@pytest.fixture(scope="module")
def alone():
    with serving(*SMALL) as s:
        answers = {case: ask(s, case, cache_salt=case) for case in CASES}
    assert [n for _, n in answers.values()] == [0, 0]
    assert answers["greedy"][0] != answers["seeded"][0]
    return {case: choice for case, (choice, _) in answers.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prefixes of puna"


def start(folder, *args, **options):
    return Server(*SMALL, "--prefix-dir", folder, *args, **options)


@contextlib.contextmanager
def kept(folder, *args, told=(), **options):
    """A server that ends well and warns of these, a line each, in any order."""
    server = start(folder, *args, **options)
    try:
        yield server
        code, errors = server.stop()
        lines = errors.splitlines()
        assert code == 0 and len(lines) == len(told), errors
        assert all(line.startswith("puna: warning: ") for line in lines)
        assert all(any(text in line for line in lines) for text in told), errors
    finally:
        server.process.kill()
        server.process.communicate()


def pages(folder):
    """The files, those of longer prefixes later."""
    return sorted(folder.glob("*.page"), key=lambda f: f.stat().st_size)


def fill(folder, *args, **options):
    with kept(folder, *args) as s:
        answer = ask(s, **options)
    files = pages(folder)
    assert len(files) >= 4 and len(files) == len(list(folder.iterdir()))
    return answer, files


# --- a restart

def test_a_restart_keeps_prompts_warm(alone, folder):
    for case in CASES:
        assert fill(folder, case=case, cache_salt=case)[0] == (alone[case], 0)
    with kept(folder) as s:
        for case in CASES:
            choice, n_cached = ask(s, case, cache_salt=case)
            assert choice == alone[case] and n_cached >= 4 * PAGE and n_cached % PAGE == 0
        assert s.metric("puna_prompt_tokens_cached_total") == 2 * n_cached
        assert s.metric("puna_prompt_tokens_from_disk_total") == 2 * n_cached
        assert ask(s, cache_salt="another") == (alone["greedy"], 0)
        assert ask(s) == (alone["greedy"], 0)
    with open("/proc/cpuinfo") as f:
        other_kernels = ["--cpu", "avx2"] if " avx2 " in f.read() else []
    with kept(folder, "--draft-max", 0, "-t", 1, "-b", 100, *other_kernels) as s:
        assert ask(s, cache_salt="seeded") == (alone["greedy"], n_cached)
        choice, n_shared = ask(s, question="Where do they sleep?", cache_salt="greedy")
        assert 4 * PAGE <= n_shared <= n_cached


def test_without_the_option_nothing_is_written(folder):
    folder.mkdir()
    with serving(*SMALL) as s:
        ask(s)
        assert ask(s)[1] > 0
    assert list(folder.iterdir()) == []


def test_what_was_found_again_outlives_a_kill(alone, folder):
    s = start(folder)
    assert ask(s)[1] == 0
    n_whole = ask(s)[1] // PAGE
    wait_until(lambda: len(pages(folder)) == n_whole)
    assert s.stop(signal.SIGKILL) == (-signal.SIGKILL, "")
    with kept(folder) as s:
        assert ask(s) == (alone["greedy"], n_whole * PAGE)


def test_streams_and_many_choices_are_warm_too(alone, folder):
    fill(folder)
    with kept(folder, "--parallel", 4) as s:
        document = s.post("/v1/chat/completions", {
            "model": MODEL, "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "What do they eat?"}],
            "max_tokens": 20, "n": 3, "logprobs": True, "top_logprobs": 2, "temperature": 0})
        assert [c["message"] for c in document["choices"]] == [alone["greedy"]["message"]] * 3
        assert document["usage"]["prompt_tokens_details"]["cached_tokens"] >= 4 * PAGE


def test_files_are_for_their_owner_alone(folder):
    _, files = fill(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in files} == {0o600}


# --- files of something else

def test_another_type_or_arithmetic_has_files_of_its_own(alone, folder):
    _, files = fill(folder)
    (other, n_cached), more = fill(folder, "--cache-type", "q8_0")
    assert n_cached == 0 and len(more) == 2 * len(files)
    with kept(folder) as s:
        choice, n_cached = ask(s)
        assert choice == alone["greedy"] and n_cached == PAGE * len(files)
    with kept(folder, "--cache-type", "q8_0") as s:
        assert ask(s, case="greedy") == (other, n_cached)


def test_another_model_has_files_of_its_own(alone, folder, tmp_path):
    """Of the same name and shape: one byte of one matrix differs."""
    _, files = fill(folder)
    source = subprocess.run([puna_server.PUNA, "inspect", "--json"], capture_output=True, check=True)
    document = json.loads(source.stdout)
    tensor = next(t for t in document["tensors"] if t["name"] == "blk.29.ffn_down.weight")
    path = os.path.join(os.environ.get("PUNA_MODELS") or os.path.expanduser("~/.local/share/puna/models"), MODEL + ".gguf")
    with open(path, "rb") as f:
        data = bytearray(f.read())
    data[tensor["offset"] + 1000] ^= 0x40
    other = tmp_path / (MODEL + ".gguf")
    other.write_bytes(data)
    with kept(folder, other) as s:
        assert ask(s)[1] == 0
    assert len(pages(folder)) == 2 * len(files)
    other.rename(tmp_path / "elsewhere.gguf")
    with kept(folder, "--alias", MODEL, tmp_path / "elsewhere.gguf") as s:  # wherever it lies
        assert ask(s)[1] == PAGE * len(files)


def damage(kind, files):
    """Something is wrong with the file of the third page; what is told."""
    third = files[2]
    data = bytearray(third.read_bytes())
    if kind == "bit":
        data[-1000] ^= 1
        third.write_bytes(data)
        return "the page is damaged"
    if kind == "cut":
        third.write_bytes(data[:-1])
        return "bytes with a page of"
    if kind == "empty":
        third.write_bytes(b"")
        return "the file ends at byte 0"
    if kind == "foreign":
        third.write_bytes(files[3].read_bytes())
        return "it is of another prefix"
    if kind == "noise":
        third.write_bytes(os.urandom(len(data)))
        return "not a file of keys and values"
    if kind == "huge":
        third.write_bytes(data[:40] + b"\xff" * 16 + data[56:])
        os.truncate(third, 1 << 40)
        return "it is of another prefix"
    third.unlink()
    if kind == "pipe":
        os.mkfifo(third)
        return "not a regular file"
    if kind == "folder":
        third.mkdir()
        return "cannot be opened: Is a directory"
    third.symlink_to("/dev/zero")
    return "cannot be opened: Too many levels of symbolic links"


@pytest.mark.parametrize("kind", ["bit", "cut", "empty", "foreign", "noise", "huge", "pipe", "folder", "link"])
def test_a_bad_file_costs_a_warning(alone, folder, kind):
    _, files = fill(folder)
    told = damage(kind, files)
    server = start(folder)
    assert ask(server) == (alone["greedy"], 2 * PAGE)
    assert ask(server)[0] == alone["greedy"]
    server.process.send_signal(signal.SIGKILL)
    (line,) = server.process.communicate()[1].splitlines()
    assert line.startswith(f"puna: warning: {files[2]}: ") and told in line and line.endswith("; the prompt is computed")


def test_a_warning_that_nobody_reads_holds_nothing_up(alone, folder):
    _, files = fill(folder)
    damage("bit", files)
    server = start(folder)
    try:
        server.fill_stderr()
        assert ask(server) == (alone["greedy"], 2 * PAGE)
        assert ask(server)[0] == alone["greedy"]
        code, errors = server.stop()
        assert code == 0 and set(errors) == {"x"}
    finally:
        server.process.kill()


# --- disks, limits and processes

def test_a_limit_of_file_sizes_costs_a_warning(alone, folder):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with kept(folder, told=["more than a file may have here, 100000; no prefixes are kept"], preexec_fn=limit) as s:
        assert ask(s)[0] == alone["greedy"]
        assert ask(s)[0] == alone["greedy"]
    assert pages(folder) == []


# --- folders

def refusal(folder, user=None, code=4):
    """What is said at the start, before it is seen that there is no such model (code 3)."""
    done = subprocess.run([puna_server.PUNA, "serve", "--port", "0", "--prefix-dir", folder, "/none.gguf"], user=user,
                          capture_output=True, text=True, timeout=PATIENCE_S, env=os.environ | {"HOME": "/nonexistent"})
    assert done.returncode == code and done.stdout == ""
    return done.stderr.removeprefix("puna serve: option --prefix-dir: ")


def test_a_folder_that_cannot_be_made_ends_the_start(tmp_path):
    assert refusal("/proc/prefixes") == "/proc/prefixes: No such file or directory\n"
    file, broken = tmp_path / "file", tmp_path / "broken"
    file.write_text("")
    broken.symlink_to(tmp_path / "nothing/at all")
    assert refusal(file) == f"{file}: Not a directory\n"
    assert refusal(file / "below") == f"{file}/below: Not a directory\n"
    assert refusal(broken) == f"{broken}: No such file or directory\n"
    assert sorted(tmp_path.iterdir()) == [broken, file]


def test_a_folder_is_made_where_there_is_one_to_make_it_in(tmp_path):
    for name in ("typo", "typo/x/y"):
        assert refusal(f"{tmp_path / name}/prefixes//") == (
            f"{tmp_path / name}/prefixes//: there is no folder {tmp_path / name} to make it in\n")
    assert list(tmp_path.iterdir()) == []
    refusal(f"{tmp_path}/prefixes//", code=3)
    assert [p.name for p in tmp_path.iterdir()] == ["prefixes"]


@pytest.fixture
def others_folder():
    """Whoever runs the tests owns it; the user is another one, who may run the program."""
    user = 65534
    if os.getuid() != 0 or subprocess.run([puna_server.PUNA, "version"], user=user, capture_output=True).returncode != 0:
        pytest.skip("no other user can run the program here")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name), user


def test_a_folder_of_somebody_else_is_told_at_the_start(others_folder):
    folder, user = others_folder
    warning = f"puna: warning: {folder}: Permission denied; prefixes in it are read, and none are kept\n"
    assert refusal(folder, user, 3).startswith(warning + "puna serve: /none.gguf: ")
    assert refusal(folder / "mine", user) == f"{folder}/mine: Permission denied\n"
    os.chmod(folder, 0o711)  # it may not be listed, so that its limit could not be kept
    assert refusal(folder, user, 3).startswith(warning)
    os.chmod(folder, 0o700)
    assert refusal(folder, user) == f"{folder}: Permission denied\n"
    os.chmod(folder, 0o777)
    assert refusal(folder, user, 3).startswith("puna serve: /none.gguf: ")
    assert list(folder.iterdir()) == []


@pytest.fixture
def mounted(folder, tmp_path, monkeypatch):
    """Starts servers for which the folder is mounted otherwise."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("unshare -rm is not allowed here")
    folder.mkdir()

    def prepare(mount):
        script = tmp_path / "puna"
        script.write_text(f'#!/bin/sh\nexec unshare -rm sh -euc \'d=$1; shift; {mount}; exec "$@"\' '
                          f'sh "{folder}" "{puna_server.PUNA}" "$@"\n')
        script.chmod(0o700)
        monkeypatch.setattr(puna_server, "PUNA", str(script))
    return prepare


def test_a_disk_that_is_nearly_full_costs_a_warning(alone, folder, mounted):
    mounted('mount -t tmpfs -o size=8m none "$d"')
    with kept(folder, told=["8388608 bytes are free, of which 268435456 stay so; no prefixes are kept"]) as s:
        assert ask(s)[0] == alone["greedy"]


def test_a_folder_that_may_only_be_read_is_read(alone, folder, mounted):
    _, files = fill(folder)
    mounted('mount --bind "$d" "$d"; mount -o remount,bind,ro "$d"')
    with kept(folder, told=["Read-only file system; prefixes in it are read, and none are kept"]) as s:
        assert ask(s) == (alone["greedy"], PAGE * len(files))
        for _ in range(2):
            ask(s, question="Where do they sleep?", cache_salt="another")


def test_the_limit_holds(alone, folder):
    for i in range(3):
        with kept(folder, "--prefix-limit", "8M") as s:
            assert ask(s, cache_salt=str(i))[0] == alone["greedy"]
            assert ask(s, cache_salt=str(i))[0] == alone["greedy"]
        assert 3 <= len(pages(folder)) and sum(f.stat().st_size for f in pages(folder)) <= 8 << 20
    with kept(folder, "--prefix-limit", "1M", told=["are more than the limit of the folder, 1048576"]) as s:
        ask(s, cache_salt="more")


def test_two_servers_on_one_folder(alone, folder):
    with kept(folder) as a, kept(folder) as b:
        for s in (a, b, a, b):
            assert ask(s)[0] == alone["greedy"]
    files = list(folder.iterdir())
    assert len(files) == len(pages(folder))
    with kept(folder) as a, kept(folder) as b:
        for s in (a, b):
            assert ask(s) == (alone["greedy"], PAGE * len(files))


# --- options

@pytest.mark.parametrize("options, told", [
    (["--prefix-limit", "1G"], "option --prefix-limit changes nothing without --prefix-dir"),
    (["--prefix-dir", "x", "--no-prefix-cache"], "option --prefix-dir changes nothing with --no-prefix-cache"),
    (["--prefix-dir", ""], "option --prefix-dir: the name is empty"),
    (["--prefix-dir", "x", "--prefix-limit", "many"], "option --prefix-limit: 'many' is not a number of bytes below 2^64"),
    (["--prefix-dir", "x" * 5000], "the name of the folder is too long"),
])
def test_options_that_make_no_sense_are_refused(options, told):
    done = subprocess.run([puna_server.PUNA, "serve", "--port", "0", *options], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert done.returncode in (2, 4) and done.stdout == "" and done.stderr.startswith("puna serve: ")
    assert told in done.stderr
