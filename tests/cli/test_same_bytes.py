"""The same bytes come out whatever computes them (promise 1): compilers, kernel sets, threads and
prompt chunks; on the default model, and with the builds for other CPUs on small models of random weights."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PUNA = os.environ.get("PUNA", str(ROOT / "build/release/puna"))
CLANG = ROOT / "build/clang/puna"
GENERATOR = ROOT / "build/release/gen_gguf"
AARCH64, POWER = ([ROOT / "tools/run-cross", ROOT / f"build/{name}/puna"] for name in ("aarch64", "powerpc64le"))
TINY = ROOT / "build/tiny.gguf"
TEXT = """The puna is the high grassland of the central Andes, above the line where trees grow. Llamas
and alpacas graze there; nights are cold, and the rain falls from December to March. 1,234 x 5.6 =
6910.4? Je crois que oui. Die Höhe beträgt über 3'500 m; 海拔。\n"""
SHORT = "Llamas graze on the puna, 3'500 m up. 海拔"  # `ref` is slow


def run(command, text):
    done = subprocess.run([str(word) for word in command], input=text.encode(), capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode()


def output(command, text):
    code, out, message = run(command, text)
    assert code == 0, message
    return out


def kernel_sets():
    """Sets that this machine runs, as `puna score` says."""
    usable = []
    for name in ("ref", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm"):
        code, _, message = run([PUNA, "score", "--cpu", name], "a b")
        if code == 0:
            usable.append(name)
        else:
            assert name in message and name != "ref", message
    return usable


@pytest.fixture(scope="module")
def expected():
    return output([PUNA, "score", "--json", "--top", "3", "--threads", "2"], TEXT)


WAYS = [
    ["--threads", "1"],
    ["--threads", "2", "--batch-size", "1"],
    ["--threads", "2", "--batch-size", "7"],
    ["--threads", "3", "--batch-size", "64"],
    ["--threads", "2", "--ctx", "1000"],
]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_scores_do_not_depend_on_threads_and_chunks(way, expected):
    assert output([PUNA, "score", "--json", "--top", "3", *way], TEXT) == expected


@pytest.mark.parametrize("cache_type", ["q8_0", "f16"])
@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_scores_with_other_keys_do_not_depend_on_threads_and_chunks(way, cache_type, expected):
    command = [PUNA, "score", "--json", "--top", "3", "--cache-type", cache_type]
    assert output([*command, *way], SHORT) == output(command, SHORT)
    assert output([*command, *way], TEXT) != expected


@pytest.mark.parametrize("name", ["ref", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm"])
def test_scores_do_not_depend_on_the_kernel_set(name):
    if name not in kernel_sets():
        pytest.skip(f"this CPU does not run {name}")
    for options in ([], ["--cache-type", "f16"]):
        command = [PUNA, "score", "--json", "--top", "3", *options]
        assert output([*command, "--cpu", name], SHORT) == output(command, SHORT)


def test_scores_do_not_depend_on_the_compiler(expected):
    if not CLANG.exists():
        pytest.skip("build/clang/puna is not built")
    assert output([CLANG, "score", "--json", "--top", "3"], TEXT) == expected
    for options in (["--cpu", "ref"], ["--cache-type", "f16"]):
        command = ["score", "--json", "--top", "3", *options]
        assert output([CLANG, *command], SHORT) == output([PUNA, *command], SHORT)


@pytest.mark.parametrize("options", [["--temp", "0"], ["--temp", "0.9", "--seed", "7"]], ids=" ".join)
def test_answers_do_not_depend_on_what_computes_them(options):
    command = ["run", "-n", "16", *options, "-p", "Name three animals of the Andes."]
    answer = output([PUNA, *command], "")
    assert len(answer) > 20
    for way in (["--threads", "1"], ["--batch-size", "3"], ["--draft-max", "0"], ["--draft-max", "64"],
                ["--cpu", "avx2"]):
        if way[-1] == "avx2" and "avx2" not in kernel_sets():
            continue
        assert output([PUNA, *command, *way], "") == answer
    if CLANG.exists():
        assert output([CLANG, *command], "") == answer


def test_answers_behind_a_long_prompt_do_not_depend_on_threads():
    """Over 512 keys, and with four threads fewer KV heads than threads, which then share spans."""
    prompt = "The llama is an animal of the Andes, the vicuna its wild cousin. " * 80
    command = [PUNA, "run", "-n", "8", "--temp", "0", "--draft-max", "0"]
    answers = {output([*command, "--threads", n], prompt) for n in ("1", "2", "4")}
    assert len(answers) == 1


@pytest.mark.parametrize("cache_type, shape_type", [
    *(("q16", t) for t in ("Q4_0", "Q8_0", "Q4_K", "Q6_K", "IQ4_XS", "BF16", "F32")), ("f16", "F32")])
def test_scores_do_not_depend_on_the_architecture(cache_type, shape_type, tmp_path):
    if not all(p.exists() for p in (AARCH64[-1], POWER[-1], GENERATOR)):
        pytest.skip("build/{aarch64,powerpc64le}/puna or build/release/gen_gguf is not built")
    model = tmp_path / "model.gguf"
    subprocess.run([GENERATOR, "--shape", "tiny", "--type", shape_type, "-o", model], check=True,
                   capture_output=True)
    ids = " ".join(str(i * i % 250 + 3) for i in range(24))
    command = ["score", "--ids", "--json", "--top", "3", "--cache-type", cache_type, model]
    there = output([PUNA, *command], ids)
    for name in ("neon", "i8mm"):
        assert output([*AARCH64, *command, "--cpu", name], ids) == there
    assert output([*POWER, *command], ids) == there


def test_scores_in_numerics_bf16_are_those_of_ref_whatever_computes_them(tmp_path):
    if not GENERATOR.exists():
        pytest.skip("build/release/gen_gguf is not built")
    model = tmp_path / "model.gguf"
    subprocess.run([GENERATOR, "--shape", "tiny", "--type", "BF16", "-o", model], check=True,
                   capture_output=True)
    ids = " ".join(str(i * i % 250 + 3) for i in range(40))
    portable = ["score", "--ids", "--json", "--top", "3", model]
    command = [*portable, "--numerics", "bf16"]
    expected = output([PUNA, *command, "--cpu", "ref"], ids)
    assert expected != output([PUNA, *portable], ids)
    code, _, message = run([PUNA, *command, "--cpu", "avx512"], ids)
    for way in WAYS if code == 0 else []:
        assert output([PUNA, *command, *way], ids) == expected
    assert code == 0 or "AVX512" in message
    for build in ([CLANG], AARCH64, POWER):
        if build[-1].exists():
            assert output([*build, *command, "--cpu", "ref"], ids) == expected
    if CLANG.exists() and code == 0:
        assert output([CLANG, *command], ids) == expected


@pytest.mark.parametrize("cpu, sets, refusal", [
    ("max", b"ref neon i8mm", None),
    ("neoverse-n1", b"ref neon", "kernel set 'i8mm' needs the CPU feature FEAT_I8MM"),
    ("cortex-a53", b"ref", "kernel set 'i8mm' needs the CPU feature FEAT_DotProd")])
def test_the_aarch64_build_takes_what_the_cpu_has(cpu, sets, refusal, monkeypatch):
    if not AARCH64[-1].exists() or not TINY.exists():
        pytest.skip("build/aarch64/puna or build/tiny.gguf is not built")
    monkeypatch.setenv("QEMU_CPU", cpu)
    assert output([*AARCH64, "version"], "").splitlines()[2].split() == [b"kernels", *sets.split()]
    code, _, message = run([*AARCH64, "score", "--ids", "--cpu", "i8mm", TINY], "1 2 3")
    assert (code, refusal is None or refusal in message) == (0 if refusal is None else 6, True)


def test_a_build_for_another_cpu_has_ref_alone():
    if not POWER[-1].exists() or not TINY.exists():
        pytest.skip("build/powerpc64le/puna or build/tiny.gguf is not built")
    assert output([*POWER, "version"], "").splitlines()[2].split() == [b"kernels", b"ref"]
    code, _, message = run([*POWER, "score", "--ids", "--cpu", "avx2", TINY], "1 2 3")
    assert code == 6 and "kernel set 'avx2' needs the CPU feature AVX2" in message
