"""`puna bench` as a user meets it, on a small model made here. Its numbers are not tested."""
import json
import os
import re
import subprocess

import pytest

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


def test_the_type_of_keys_and_values_is_used_and_reported(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama())
    q16, q8_0, f16 = (document(*option, path)["memory"] for option in (
        [], ["--cache-type", "q8_0"], ["--cache-type", "f16"]))
    assert (q16["kv_type"], q8_0["kv_type"], f16["kv_type"]) == ("q16", "q8_0", "f16")
    for key in ("kv_bytes_per_token", "kv_pool_bytes"):
        assert q8_0[key] < f16[key] < q16[key]


def test_numerics_are_used_and_reported(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama(tensors=[("blk.0.ffn_up.weight", "BF16", [32, 32])]))
    options = ["-p", "4", "-d", "none", "--parallel", "none"]
    plain = document(*options, path)
    assert plain["numerics"] == "portable" and "bf16_ops_per_second" not in plain["machine"]
    options += ["--cpu", "ref", "--numerics", "bf16"]
    bf16 = document(*options, path)
    assert bf16["numerics"] == "bf16" and bf16["machine"]["bf16_ops_per_second"]["median"] > 0
    assert bf16["tests"][0]["bf16_ops_per_second"] > 0
    text = run(*SHORT, *options, path).stdout.decode()
    assert "kernels ref, numerics bf16\n" in text and "  bf16 " in text


def test_tells_whether_cores_were_shared(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama())
    options = ["-p", "4", "-d", "none", "--parallel", "none"]
    done = document(*options, path)
    rates = done["machine"]["additions_per_second"]
    assert rates["best"] >= rates["median"] > 0
    assert rates["best"] >= done["tests"][0]["additions_per_second"] > 0
    assert "  adds " in run(*SHORT, *options, path).stdout.decode()


def test_tells_how_many_cpus_it_had(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama())
    options = ["-t", "2", "-p", "4", "-d", "none", "--parallel", "none", path]
    assert 0 < json.loads(run("--json", *SHORT, *options).stdout)["machine"]["cpus"] < 2.5
    on_one = ["taskset", "-c", str(min(os.sched_getaffinity(0))), PUNA, "bench", "--json", *SHORT, *options]
    done = subprocess.run(on_one, capture_output=True, check=True)
    assert 0 < json.loads(done.stdout)["machine"]["cpus"] < 1.5
    text = run(*SHORT, *options).stdout.decode()
    assert re.search(r"^  CPUs +[\d.]+ of 2, that this process had", text, re.MULTILINE)


def test_lists_say_which_tests_run(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama())
    tests = document("-p", "3,5", "-d", "none", "--parallel", "2", path)["tests"]
    assert [(t["test"], t["tokens"], t["depth"], t["batch"]) for t in tests[:2]] == [
        ("prefill", 3, 0, 1), ("prefill", 5, 0, 1)]
    assert [(t["test"], t["depth"], t["batch"]) for t in tests[2:]] == [("decode", 0, 2)]


@pytest.mark.parametrize("option, value", [
    ("-p", "12x"), ("-p", ",1"), ("-p", "1,"), ("-p", ""), ("-d", "-1"), ("--n-depth", "1048577"),
    ("-p", "1,2,3,4,5,6,7,8,9"), ("--parallel", "17"), ("--parallel", "2,0"), ("-p", "0"), ("--parallel", "9" * 30)])
def test_lists_that_are_none_are_refused_by_name(option, value):
    done = run(option, value, "nosuch.gguf")
    name = {"-p": "n-prompt", "-d": "n-depth"}.get(option, option.lstrip("-"))
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"puna bench: option --{name}: '{value}' is neither")


def test_tests_that_do_not_fit_the_context_are_refused_when_asked_for(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama())
    only = {"-p": ["-d", "none", "--parallel", "none"], "-d": ["-p", "none", "--parallel", "none"]}
    for option, value, needed in [("-p", "8,9", 9), ("-d", "8", 9)]:
        done = run(*SHORT, option, value, *only[option], path)
        assert (done.returncode, done.stdout, done.stderr.decode()) == (
            2, b"", f"puna bench: a test of {needed} tokens does not fit a context of 8 (--ctx)\n")
    assert [t["tokens"] for t in document("-p", "8", *only["-p"], path)["tests"]] == [8]
    assert len(document("-d", "7", *only["-d"], path)["tests"]) == 1


@pytest.mark.parametrize("options", [["-p", "none"], []])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_test_at_all_is_refused(tmp_path, options, form):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama())
    done = run(*SHORT, *form, *options, "-d", "none", "--parallel", "none", path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"puna bench: no test is left: --n-prompt, --n-depth and --parallel are 'none' or")


def test_a_report_that_cannot_be_written_is_an_error_with_the_reason(tmp_path):
    folder = tmp_path.joinpath(*["x" * 200] * 15)  # so that the report is longer than stdio's buffer
    folder.mkdir(parents=True)
    (folder / "m.gguf").write_bytes(llama())
    for options in ([], ["--json"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PUNA, "bench", *SHORT, *options, folder / "m.gguf"], stdout=full,
                                  stderr=subprocess.PIPE, timeout=120)
        assert (done.returncode, done.stderr) == (
            4, b"puna bench: standard output cannot be written: No space left on device\n")
