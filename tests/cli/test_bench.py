"""`puna bench` as a user meets it, on a small model made here. Its numbers are not tested."""
import json
import os
import subprocess

from gguf_file import llama

PUNA = os.environ.get("PUNA", "build/release/puna")
SHORT = ["-r", "1", "--seconds", "1", "--ctx", "8", "-t", "1"]


def run(*args):
    return subprocess.run([PUNA, "bench", *args], capture_output=True, timeout=120)


def document(*args):
    done = run("--json", *SHORT, *args)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def test_a_path_that_is_no_utf8_shows_in_the_report(tmp_path):
    path = os.fsencode(tmp_path) + b"/m\xff\x1b.gguf"
    with open(path, "wb") as f:
        f.write(llama())
    assert document(path)["model"] == f"{tmp_path}/m\ufffd\x1b.gguf"
    done = run(*SHORT, path)
    assert done.returncode == 0 and done.stdout.startswith(rb"model    m\xff\x1b.gguf" + b"\n")
