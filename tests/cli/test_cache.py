"""The cache of packed weights as a user meets it: the same bytes with and without it, whatever happens to
the model, to the files and to the disk."""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PUNA = os.environ.get("PUNA", str(ROOT / "build/release/puna"))
GENERATOR = ROOT / "build/release/gen_gguf"
IDS = b" ".join(b"%d" % (i * i % 250 + 3) for i in range(24))
PART_LENGTH = 32 + len(".packed.XXXXXX")

if not GENERATOR.exists():
    pytest.skip("build/release/gen_gguf is not built", allow_module_level=True)


THREADS = str(min(2, len(os.sched_getaffinity(0))))  # of more there is a warning


class Puna:
    """The program with a home of its own."""

    def __init__(self, home):
        self.environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PATH": os.environ["PATH"]}
        self.folder = home / "cache/puna/packed"
        self.model = home / "model.gguf"

    def command(self, *options, command="score"):
        arguments = {"score": ["--ids", "--json", "--top", "3"],
                     "bench": ["--json", "-r", "1", "-p", "1", "-d", "none", "--parallel", "none"]}[command]
        return [PUNA, command, *arguments, "-t", THREADS, *options, str(self.model)]

    def run(self, *options, **more):
        command = self.command(*options, command=more.pop("command", "score"))
        return subprocess.run(command, input=IDS, capture_output=True, timeout=120, env=self.environment, **more)

    def files(self):
        return sorted(self.folder.iterdir()) if self.folder.exists() else []

    def answer(self, note=None, **more):
        """What is computed with the cache; it is what is computed without. Said on stderr: the note."""
        plain, kept = self.run("--no-cache"), self.run("--cache-min", "0", **more)
        warnings = [line for line in kept.stderr.splitlines(True) if line.startswith(b"puna: warning: ")]
        rest = b"".join(line for line in kept.stderr.splitlines(True) if line not in warnings)
        assert (kept.returncode, kept.stdout, rest) == (plain.returncode, plain.stdout, plain.stderr)
        if note is None:
            assert warnings == []
        else:
            assert len(warnings) == 1 and note.encode() in warnings[0]
        return kept.stdout

    def is_read(self):
        """Whether a start now reads the cache, as bench says."""
        done = self.run("--cache-min", "0", command="bench")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["load_from"] == "cache"

    def is_kept(self):
        """Whether a start leaves the file as it is, and warns of nothing: much sooner known than is_read."""
        before, = self.files()
        made = before.stat().st_ino
        self.answer()
        return before.stat().st_ino == made


def generate(path, *options):
    subprocess.run([GENERATOR, *options, "-o", path], check=True, capture_output=True)


@pytest.fixture
def puna(tmp_path):
    p = Puna(tmp_path)
    generate(p.model, "--type", "Q4_K_M")
    return p


@pytest.mark.parametrize("kind", ["Q4_K_M", "Q8_0", "BF16", "F32", "Q4_0"])
def test_scores_do_not_depend_on_the_cache(puna, kind):
    generate(puna.model, "--type", kind)
    first = puna.answer()
    assert len(puna.files()) == 1
    assert puna.answer() == first and puna.is_read()
    assert puna.answer(cwd=puna.model.parent) == first


def test_bench_says_where_the_weights_came_from(puna):
    assert not puna.is_read() and puna.is_read()
    command = [w for w in puna.command("--cache-min", "0", command="bench") if w != "--json"]
    out = subprocess.run(command, capture_output=True, env=puna.environment, check=True).stdout
    assert out.splitlines()[3].startswith(b"load ") and out.splitlines()[3].endswith(b", from the cache")
    assert json.loads(puna.run(command="bench").stdout)["load_from"] == "model"


def test_small_models_are_not_kept_unless_asked_for(puna):
    assert puna.run().returncode == 0 and puna.run("--cache-min", "2M").returncode == 0
    assert puna.files() == []
    assert puna.run("--cache-min", "512K").returncode == 0
    assert len(puna.files()) == 1


def test_without_the_cache_no_file_is_read_or_written(puna):
    assert puna.run("--no-cache").returncode == 0 and puna.files() == []
    puna.answer()
    file, = puna.files()
    file.write_bytes(b"")
    assert puna.run("--no-cache").stderr == b"" and file.read_bytes() == b""


def test_the_folder_is_found_as_the_base_directory_specification_says(puna, tmp_path):
    home = tmp_path / ".cache/puna/packed"
    for value in (None, "", "relative"):
        shutil.rmtree(tmp_path / ".cache", ignore_errors=True)
        puna.environment.pop("XDG_CACHE_HOME", None)
        if value is not None:
            puna.environment["XDG_CACHE_HOME"] = value
        puna.answer()
        assert len(list(home.iterdir())) == 1
    del puna.environment["HOME"]
    puna.answer("neither XDG_CACHE_HOME nor HOME names a place; they are not kept")


def test_a_byte_that_changes_anywhere_in_the_weights_is_noticed(puna):
    """In matrices of many groups of rows, so that most of them are not the first of a chunk."""
    generate(puna.model, "--type", "Q8_0", "--vocab", "2000")
    data = bytearray(puna.model.read_bytes())
    random.seed(1)
    first_answer = puna.answer()
    answers = set()
    head = json.loads(subprocess.run([PUNA, "inspect", "--json", puna.model], capture_output=True, check=True).stdout)
    tensors = [t for t in head["tensors"] if t["name"] not in ("token_embd.weight",) and "norm" not in t["name"]]
    for t in random.sample(tensors, 8):
        at = t["offset"] + random.randrange(t["bytes"])
        data[at] ^= 1
        puna.model.write_bytes(data)
        answers.add(puna.answer("the model has changed; the model is packed again"))
        assert puna.is_kept()
    assert puna.is_read()
    assert len(answers) > 4 and first_answer not in answers


def test_a_model_that_is_replaced_with_its_old_time_is_noticed(puna):
    old = puna.model.stat()
    puna.answer()
    time.sleep(3)  # so that the times of the file can be relied on
    puna.answer()
    generate(puna.model.with_suffix(".new"), "--type", "Q4_K_M", "--seed", "1")
    os.utime(puna.model.with_suffix(".new"), ns=(old.st_atime_ns, old.st_mtime_ns))
    os.rename(puna.model.with_suffix(".new"), puna.model)
    time.sleep(3)
    puna.answer("the model has changed; the model is packed again")
    assert puna.is_read()


def test_a_damaged_file_costs_a_warning(puna):
    first = puna.answer()
    file, = puna.files()
    good = file.read_bytes()
    random.seed(2)
    ends = [0, 1, 87, 88, 4095, 4096, len(good) - 1]
    bent = [good[:end] for end in ends] + [good + b"\0", b"\0" * len(good), os.urandom(len(good))]
    for at in [0, 8, 16, 24, 40, 56, 88] + [random.randrange(4096, len(good)) for _ in range(5)]:
        bent.append(good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1:])
    for data in bent:
        file.write_bytes(data)
        assert puna.answer(f"{file}: ") == first
        assert file.read_bytes()[88:] == good[88:] and puna.is_kept()
    assert puna.is_read()


def test_a_text_in_a_warning_is_one_line(puna, tmp_path):
    puna.environment["XDG_CACHE_HOME"] = str(tmp_path / "a\nb\x1b[31m")
    puna.answer()
    file, = (tmp_path / "a\nb\x1b[31m/puna/packed").iterdir()
    file.write_bytes(b"")
    puna.answer(r"a\nb\x1b[31m/puna")


# --- options

@pytest.mark.parametrize("command", ["score", "bench"])
@pytest.mark.parametrize("option", ["--cache-limit", "--cache-min"])
@pytest.mark.parametrize("value", ["", "x", "-1", "1.5G", "1GB", "1 G", "1E", "16777216T", "99999999999999999999"])
def test_a_size_that_is_none_is_refused(puna, command, option, value):
    done = puna.run(option, value, command=command)
    assert done.returncode == 2 and done.stderr.startswith(
        f"puna {command}: option {option}: '{value}' is not a number of bytes below 2^64".encode())


def test_sizes_have_units(puna):
    size = puna.run("--cache-min", "0").returncode or puna.files()[0].stat().st_size
    kib = size // 1024
    for limit, n_files in ((f"{kib}K", 0), (f"{kib + 1}K", 1), (f"{size - 1}", 0), (f"{size}", 1), ("1M", 1),
                           ("1G", 1), ("1T", 1), ("16777215T", 1)):
        assert puna.run("--cache-min", "0", "--cache-limit", limit).returncode == 0
        assert len(puna.files()) == n_files, limit


@pytest.mark.parametrize("options, named", [
    (["--exact", "--no-cache"], "option --no-cache: with --exact"),
    (["--exact", "--cache-limit", "1G"], "option --cache-limit: with --exact"),
    (["--exact", "--cache-min", "1G"], "option --cache-min: with --exact"),
    (["--no-cache", "--cache-limit", "1G"], "option --cache-limit changes nothing with --no-cache"),
    (["--no-cache", "--cache-min", "1G"], "option --cache-min changes nothing with --no-cache"),
])
def test_options_that_would_change_nothing_are_refused(puna, options, named):
    done = puna.run(*options)
    assert (done.returncode, done.stdout) == (2, b"") and named.encode() in done.stderr


def test_exact_keeps_nothing(puna):
    assert puna.run("--exact").returncode == 0 and puna.files() == []


# --- disks and processes

def test_a_limit_of_file_sizes_costs_a_warning(puna):
    """Writing on would be a signal that ends the program."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    puna.answer("more than a file may have here, 100000; packed weights are not kept", preexec_fn=limit)
    assert puna.files() == []


def test_a_folder_that_cannot_be_made_costs_a_warning(puna):
    puna.environment["XDG_CACHE_HOME"] = "/proc/none"
    puna.answer("/proc/none/puna/packed: No such file or directory; packed weights are not kept")


def in_a_namespace(puna, script, *options):
    """Runs the script with the command behind it in a mount namespace; None where that is not allowed."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("unshare -rm is not allowed here")
    puna.folder.mkdir(parents=True, exist_ok=True)
    command = puna.command("--cache-min", "0", *options)
    return subprocess.run(["unshare", "-rm", "sh", "-euc", script, "sh", str(puna.folder), *command], input=IDS,
                          capture_output=True, env=puna.environment, timeout=60)


def test_a_disk_that_is_too_small_costs_a_warning(puna):
    expected = puna.run("--no-cache").stdout
    done = in_a_namespace(puna, 'd=$1; shift; mount -t tmpfs -o size=1m none "$d"; "$@"; ls -A "$d"')
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert b"more than half of the 1048576 that are free; packed weights are not kept" in done.stderr


def test_a_folder_that_may_only_be_read_is_read(puna):
    expected = puna.answer()
    mount = 'd=$1; shift; mount --bind "$d" "$d"; mount -o remount,bind,ro "$d"; "$@"'
    done = in_a_namespace(puna, mount)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
    file, = puna.files()
    file.write_bytes(b"")
    done = in_a_namespace(puna, mount)
    assert (done.returncode, done.stdout) == (0, expected)
    assert done.stderr.count(b"\n") == 2 and b"Read-only file system" in done.stderr


def test_processes_that_store_at_once_leave_one_whole_file(puna):
    expected = puna.run("--no-cache").stdout
    for _ in range(5):
        started = [subprocess.Popen(puna.command("--cache-min", "0"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, env=puna.environment) for _ in range(4)]
        for process in started:
            out, err = process.communicate(IDS, timeout=60)
            assert (process.returncode, out, err) == (0, expected, b"")
        file, = puna.files()
        assert puna.is_read()
        file.unlink()


def heed_signals():
    """Who starts the suite in the background may have them ignored, which is handed down."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end_while_storing(puna, number):
    """Sends the signal as soon as a file is being written. Returns what is left of it."""
    for _ in range(20):
        process = subprocess.Popen(puna.command("--cache-min", "0"), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=puna.environment,
                                   preexec_fn=heed_signals)
        process.stdin.write(IDS)
        process.stdin.close()
        while process.poll() is None and not [f for f in puna.files() if len(f.name) == PART_LENGTH]:
            time.sleep(0.001)
        process.send_signal(number)
        out = process.stdout.read()
        if process.wait(timeout=60) == -number:
            assert json.loads(out)["n_scored"] == 23  # the output was out before
            return puna.files()
        for file in puna.files():  # it was done already
            file.unlink()
    pytest.fail("never caught it writing")


@pytest.fixture
def large(puna):
    generate(puna.model, "--type", "F32", "--embd", "1024", "--heads", "16", "--ff", "4096", "--layers", "2",
             "--vocab", "2000")
    return puna


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_while_storing_leaves_nothing(large, number):
    assert end_while_storing(large, number) == []
    large.answer()
    assert large.is_read()


def start_serving(puna):
    """With no packed weights yet."""
    for file in puna.files():
        file.unlink()
    return subprocess.Popen([PUNA, "serve", "--port", "0", "-t", THREADS, "--cache-min", "0", str(puna.model)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=puna.environment, preexec_fn=heed_signals)


def is_being_written(puna):
    return any(len(f.name) == PART_LENGTH for f in puna.files())


def test_a_server_listens_before_it_has_stored(large):
    seen = []
    while not any(seen) and len(seen) < 20:
        process = start_serving(large)
        assert process.stdout.readline().startswith(b"listening on ")
        seen.append(not [f for f in large.files() if len(f.name) != PART_LENGTH])
        while not large.files() or is_being_written(large):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == (b"", b"") and process.returncode == 0
    assert any(seen) and large.is_read()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_a_signal_while_a_server_stores_leaves_nothing(large, numbers):
    for _ in range(20):
        process = start_serving(large)
        while not large.files():
            time.sleep(0.0005)
        for number in numbers:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert errors == b"" and process.returncode in (0, 130)
        if large.files() == []:
            break
        assert not is_being_written(large)  # it was done already
    assert large.files() == []
    large.answer()
    assert large.is_read()


def test_what_a_killed_process_leaves_is_never_read_and_goes_some_day(large):
    part, = end_while_storing(large, signal.SIGKILL)
    assert len(part.name) == PART_LENGTH
    assert not large.is_read() and large.is_read()
    assert part.exists()
    old = time.time() - 4000
    os.utime(part, (old, old))
    large.answer()
    file, = large.files()
    assert file.name.endswith(".packed")
