"""What all commands share: how errors are said. The binary is $PUNA (default build/release/puna)."""
import os
import pathlib
import re
import signal
import subprocess

import pytest

from gguf_file import I32, LLAMA_TOKENS, STRING, U32, gguf, llama

PUNA = os.path.abspath(os.environ.get("PUNA", "build/release/puna"))


def run(*args, data=b"", **options):
    return subprocess.run([PUNA, *map(str, args)], input=data, capture_output=True, timeout=60, **options)


def failure(*args, **options):
    """Exit code and the one line on stderr; nothing on stdout."""
    done = run(*args, **options)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and done.stderr.startswith(f"puna {args[0]}: ".encode())
    return done.returncode, done.stderr.decode()


@pytest.fixture
def model(tmp_path):
    """model(...): path of gguf_file.llama(...), or of the bytes `data`."""
    def make(*args, data=None, **changes):
        path = tmp_path / "model.gguf"
        path.write_bytes(llama(*args, **changes) if data is None else data)
        return path
    return make


HOSTILE = b"x\n\x1b[31mEVIL\x1b[2J\xff \xc2\x9b \xe2\x80\xae"
ESCAPED = r"x\n\x1b[31mEVIL\x1b[2J\xff \u{9b} \u{202e}"


def test_an_error_is_one_line_whatever_the_file_says(model):
    path = model(data=gguf([("general.architecture", STRING, "llama"),
                            ("tokenizer.ggml.model", STRING, HOSTILE)]))
    for command in ("tokenize", "score"):
        assert f"'{ESCAPED}' is not supported" in failure(command, path)[1]
    path = model(general__architecture=(STRING, HOSTILE))
    assert f"architecture '{ESCAPED}'" in failure("run", "-p", "x", path)[1]


def test_a_long_text_from_a_file_leaves_room_for_what_is_said_about_it(model):
    path = model(general__architecture=(STRING, "\u20ac" * 300))
    assert f"architecture '{32 * chr(0x20ac)}' is not supported, only 'llama'" in failure("run", "-p", "x", path)[1]
    path = model(ggml__model=(STRING, "\u20ac" * 300))
    assert f"'{32 * chr(0x20ac)}' is not supported (gpt2 and llama are)" in failure("score", path)[1]


def test_an_error_is_one_line_whatever_was_typed(tmp_path):
    for command in ("run", "inspect", "tokenize", "detokenize", "score", "bench"):
        code, line = failure(command, b"no\n\x1b/such.gguf".decode())
        assert code == 3 and r"no\n\x1b/such.gguf" in line
    done = run("no\x1bsuch")
    assert done.returncode == 2 and rb"no\x1bsuch" in done.stderr


def test_whatever_lies_here_under_the_name_is_meant(tmp_path):
    (tmp_path / "folder.gguf").mkdir()
    code, line = failure("inspect", "folder.gguf", cwd=tmp_path)
    assert code != 3 and "folder.gguf" in line and "no model" not in line


COMPUTING = ["run", "score", "bench", "serve"]
PROMPT = {"run": ["--raw", "-p", "x"], "serve": ["--port", "0"]}


@pytest.mark.parametrize("command", COMPUTING)
def test_a_broken_file_is_named_once(model, command):
    path = model(data=llama()[:-64])
    code, line = failure(command, *PROMPT.get(command, []), path, data=b"ab")
    assert code == 5 and line.count(str(path)) == 1 and "cut off" in line
    path = model(ggml__model=(STRING, "none"))
    code, line = failure(command, *PROMPT.get(command, []), path, data=b"ab")
    assert code == 6 and line.count(str(path)) == 1


@pytest.mark.parametrize("command", COMPUTING)
def test_a_kernel_set_that_does_not_exist_is_not_blamed_on_the_model(model, command, tmp_path):
    line = f"puna {command}: option --cpu: 'foo' is not ref, avx2, avxvnni, avx512, amx, neon or i8mm\n"
    assert failure(command, "--cpu", "foo", *PROMPT.get(command, []), model()) == (2, line)
    # Neither looked for nor fetched, for there is no place to look in.
    assert failure(command, "--cpu", "foo", *PROMPT.get(command, []), env={}) == (2, line)


@pytest.mark.parametrize("command", [*COMPUTING, "inspect"])
def test_a_type_of_keys_that_does_not_exist_is_refused_by_name(model, command):
    line = f"puna {command}: option --cache-type: 'q8' is not q16, q8_0 or f16\n"
    assert failure(command, "--cache-type", "q8", *PROMPT.get(command, []), env={}) == (2, line)


@pytest.mark.parametrize("command", ["run", "score"])
def test_exact_takes_no_type_of_keys(command):
    code, line = failure(command, "--exact", "--cache-type", "q16", *PROMPT.get(command, []), env={})
    assert code == 2 and "--cache-type" in line and "--exact" in line


@pytest.mark.parametrize("command", COMPUTING)
def test_numerics_that_do_not_exist_are_refused_by_name(model, command):
    line = f"puna {command}: option --numerics: 'bf' is not portable or bf16\n"
    assert failure(command, "--numerics", "bf", *PROMPT.get(command, []), env={}) == (2, line)


@pytest.mark.parametrize("command", ["run", "score"])
def test_exact_takes_no_numerics(command):
    code, line = failure(command, "--exact", "--numerics", "bf16", *PROMPT.get(command, []), env={})
    assert code == 2 and "--numerics" in line and "--exact" in line


@pytest.mark.parametrize("command", COMPUTING)
def test_numerics_that_a_kernel_set_lacks_are_an_error_that_says_what_they_take(command):
    """neon or avx2 has none; a CPU that has neither says that first."""
    for name in ("avx2", "neon"):
        code, line = failure(command, "--cpu", name, "--numerics", "bf16", *PROMPT.get(command, []), env={})
        assert code == 6 and f"kernel set '{name}'" in line and ("AVX512_BF16" in line) != ("needs" in line)


@pytest.mark.parametrize("command", COMPUTING)
@pytest.mark.parametrize("name", ["blk.0.attn_norm.weight", "token_embd.weight"])
def test_numerics_that_would_change_nothing_are_refused(model, command, name):
    """The embedding multiplies where it is the output, too; a norm never does."""
    dims = [32] if "norm" in name else [32, len(LLAMA_TOKENS)]
    tied = model(tensors=[(name, "BF16", dims)])
    options = ["--cpu", "ref", "--numerics", "bf16", *PROMPT.get(command, [])]
    if name == "token_embd.weight" and command == "score":
        assert run(command, *options, tied, data=b"ab").returncode == 0
    path = model(tensors=[(name, "BF16", dims), ("output.weight", "F32", [32, len(LLAMA_TOKENS)])])
    code, line = failure(command, *options, path, data=b"ab")
    assert code == 2 and "no matrix of the model is BF16" in line and line.count(str(path)) == 1


@pytest.mark.parametrize("command", COMPUTING)
def test_a_context_longer_than_the_models_is_refused(model, command):
    code, line = failure(command, "--ctx", "65", *PROMPT.get(command, []), model(), data=b"ab")
    assert code == 2 and "a context of 65 tokens: the model was made for 64" in line


def test_too_little_memory_for_a_context_is_refused_with_both_numbers(model):
    code, line = failure("serve", "--kv-size", "1K", "--port", "0", model())
    assert code == 2
    assert re.search("1024 bytes for keys and values are too few: a context of 64 tokens takes [0-9]+; give as many, or a shorter", line)


@pytest.mark.parametrize("command", COMPUTING)
def test_a_context_of_more_positions_than_have_angles_is_refused(model, command):
    path = model(llama__context_length=(U32, 1 << 21))
    code, line = failure(command, "--ctx", 2**20 + 1, *PROMPT.get(command, []), path, data=b"ab")
    assert code == 6 and "a context of 1048577 tokens: at most 1048576 are supported" in line


@pytest.mark.parametrize("args, message", [
    (["--threads", "-1"], "option --threads: '-1' is not a whole number from 1 to 1024"),
    (["--threads", "99999999999999999999"], "is not a whole number from 1 to 1024"),
    (["-c", "0"], "option --ctx: '0' is not a whole number from 1 to 16777216"),
    (["--top-k", "99999999999"], "is not a whole number from -2147483648 to 2147483647"),
    (["-n", "ten"], "option --n-predict: 'ten' is not a whole number from -1 to 16777216"),
    (["--seed", "-2"], "option --seed: '-2' is not a whole number from -1 to 18446744073709551615"),
    (["--top-p", "much"], "option --top-p: 'much' is not a number"),
    (["--temperature", "warm"], "option --temperature: 'warm' is not a number"),
    (["--ctx-size=0"], "option --ctx-size: '0' is not"),
    (["-top-k", "5"], "unknown option -top-k; names have two dashes: --top-k (see puna run --help)"),
    (["-temp=1"], "unknown option -temp=1; names have two dashes: --temp, --temperature (see"),
    (["-prompt", "Hi"], "unknown option -prompt; names have two dashes: --prompt (see"),
    (["-raw"], "unknown option -raw; names have two dashes: --raw (see"),
    (["x", "-raw", "-r"], "unknown option -raw; names"),
    (["-draft", "x"], "unknown option -draft; names have two dashes: --draft-max, --draft (see"),
    (["-xyz"], "unknown option -xyz (see"),
    (["-x", "-xyz"], "unknown option -x (see"),
    (["-ngl", "0"], "unknown option -ngl (see puna run --help)"),
    (["-n5x"], "'5x' is not a whole number"),
    (["-m", "x"], "unknown option -m; name the model without an option (see puna run --help)"),
    (["--model=x"], "unknown option --model=x; name the model without an option"),
    (["-model", "x"], "unknown option -model; name the model without an option (see"),
    (["--mode=x"], "unknown option --mode=x (see"),
    (["--top", "1"], "unknown option --top; names are written in full: --top-k, --top-p (see puna run --help)"),
    (["--top=1"], "unknown option --top=1; names are written in full: --top-k, --top-p (see"),
    (["--thread"], "unknown option --thread; names are written in full: --threads (see"),
    (["--rawest"], "unknown option --rawest (see"),
    (["--=x"], "unknown option --=x (see"),
    (["--raw=x"], "option --raw=x takes no value"),
    (["--threads"], "option --threads needs a value"),
])
def test_a_bad_option_is_named_with_what_it_takes(args, message):
    code, line = failure("run", *args)
    assert code == 2 and message in line


COMMANDS = ["run", "serve", "keys", "inspect", "tokenize", "detokenize", "score", "bench", "version"]


def test_help_is_asked_for_in_any_form():
    general = run("--help").stdout
    for form in (["-h"], ["help"]):
        assert run(*form).stdout == general and run(*form).returncode == 0
    for command in COMMANDS:
        assert command.encode() in general
        text = run(command, "--help").stdout
        assert text.startswith(f"Usage: puna {command} ".encode())
        for form in ([command, "-h"], ["help", command], ["--help", command]):
            assert run(*form).stdout == text
    done = run("help", "nosuch")
    assert (done.returncode, done.stdout) == (2, b"") and b"unknown command 'nosuch'" in done.stderr
    for form in ("help", "--help", "-h"):
        done = run(form, "run", "ex\ntra")
        assert (done.returncode, done.stdout, done.stderr) == (
            2, b"", b"puna: surplus argument 'ex\\ntra' (see puna --help)\n")


def test_no_beginning_of_a_name_is_taken_for_it(model):
    """--draft once set --draft-max where there is no --draft."""
    path = model()
    for command in COMMANDS:
        names = re.findall(r"--([\w-]+)", "".join(re.findall(r"^ +-.*", run(command, "--help").stdout.decode(), re.M)))
        assert "help" in names
        for name in names:
            for short in {name[:len(name) // 2], name[:-1]} - {*names}:
                code, line = failure(command, f"--{short}", path)
                assert code == 2 and f"unknown option --{short}; " in line and f"--{name}" in line.split(": ", 2)[2]
    assert failure("serve", "--draft", "3", path) == (
        2, "puna serve: unknown option --draft; names are written in full: --draft-max (see puna serve --help)\n")


ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("document, form", [("README.md", "--{}"), ("docs/puna.1", "-{}")])
def test_documents_know_every_option(document, form):
    text = (ROOT / document).read_text()
    for command in COMMANDS:
        options = re.findall(r"^ +(?:-\w, )?--([\w-]+)", run(command, "--help").stdout.decode(), re.M)
        assert [o for o in options if not re.search(re.escape(form.format(o)) + r"\b", text)] == []


def readme_rows():
    """What README and the manual say of the options of every command that computes: names, then the whole row."""
    table = (ROOT / "README.md").read_text().split("Those of every command that computes:", 1)[1].split("\n\n")[1]
    return [(re.findall(r"--([\w-]+)", row.split(" | ")[0]), row) for row in table.split("\n") if "`-" in row]


def manual_rows():
    part = (ROOT / "docs/puna.1").read_text().split(".Ss Options of all that compute\n", 1)[1]
    rows = part.split("\n.El", 1)[0].split("\n.It ")[1:]
    return [(re.findall(r" -([\w-]+)", row.split("\n")[0]), row) for row in rows]


@pytest.mark.parametrize("rows", [readme_rows, manual_rows])
def test_every_command_that_computes_has_the_options_that_documents_give_it(rows):
    texts = {command: run(command, "--help").stdout.decode() for command in COMMANDS}
    texts = {command: text for command, text in texts.items() if "\nComputing:" in text}
    options = [(name, row) for names, row in rows() for name in names]
    assert list(texts) == ["run", "serve", "score", "bench"] and len(options) == 10
    for name, row in options:
        without = re.search(r"not in\W[^;]*|$", row)[0]
        lacking = [c for c, text in texts.items() if not re.search(rf"^ +(-\w, )?--{name}\b", text, re.M)]
        assert lacking == [c for c in texts if re.search(rf"\b{c}\b", without)], name


FULL = b": standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", [["help"], ["--help"], ["version"], ["inspect"], ["inspect", "--json"],
                                     ["tokenize"], ["score"], ["score", "--json"]])
def test_output_that_cannot_be_written_is_an_error_with_the_reason(model, command):
    files = [model()] if command[0] in ("inspect", "tokenize", "score") else []
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PUNA, *command, *files], input=b"ab", stdout=full, stderr=subprocess.PIPE,
                              timeout=60)
    assert done.returncode == 4 and done.stderr.endswith(FULL) and done.stderr.count(b"\n") == 1


def test_bench_does_not_list_what_it_refuses(model):
    assert b"--exact" not in run("bench", "--help").stdout
    assert failure("bench", "--exact", model())[0] == 2


@pytest.mark.parametrize("command, size", [("run", 512), ("bench", 512), ("serve", 512), ("score", 128)])
def test_help_says_the_batch_of_the_command(command, size):
    assert f"computed together (default: {size});".encode() in run(command, "--help").stdout


@pytest.mark.parametrize("kind, bounds", [("F32", "f32|read"), ("Q8_0", "int8|f32|read")])
def test_run_compares_its_speed_with_the_machine_as_bench_does(model, kind, bounds):
    """Nothing of a F32 model is limited by the speed of integers."""
    rows = [(f"blk.0.{name}.weight", kind, [32, 32]) for name in (
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")]
    done = run("run", "--raw", "-p", "abcdefgh", "-n", "8", "--stats", "-t", "1", model(tensors=rows))
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 0 and [line.split()[:2] for line in lines] == [
        ["seed", "0"], ["numerics", "portable"], ["prompt", "8"], ["generation", "8"]]
    for line in lines[2:]:
        speed, share, most = map(float, re.search(
            rf" ([\d.]+) tokens/s +([\d.]+) % of this machine's ([\d.]+) \((?:{bounds})\)$", line).groups())
        assert share == pytest.approx(100 * speed / most, abs=0.1)


LEFT_OUT = b": warning: 2 bytes left out: the vocabulary has no token for them\n"


@pytest.mark.parametrize("command, data", [
    (["tokenize"], b"a\1b\2"), (["score"], b"a\1b\2"), (["run", "--raw", "-n", "1"], b"a\1b\2")])
def test_bytes_without_a_token_are_said(model, command, data):
    done = run(*command, model(), data=data)
    assert (done.returncode, done.stderr) == (0, b"puna " + command[0].encode() + LEFT_OUT)
    assert run(*command, model(), data=b"ab").stderr == b""


def test_bytes_without_a_token_are_said_of_messages_too(model):
    tokens = LLAMA_TOKENS + ["\u010a", "<|im_start|>", "<|im_end|>"]
    path = model(len(tokens), ggml__tokens=(STRING, tokens),
                 ggml__token_type=(I32, [1] * (len(tokens) - 2) + [3, 3]))
    done = run("run", "--system", "\1", "-n", "1", "--chat-template", "chatml", path, data=b"a\2b")
    assert (done.returncode, done.stderr) == (0, b"puna run" + LEFT_OUT)
    chat = b'{"messages": [{"role": "user", "content": "a\\u0001\\u0002"}]}'
    done = run("tokenize", "--chat", "--chat-template", "chatml", path, data=chat)
    assert (done.returncode, done.stderr) == (0, b"puna tokenize" + LEFT_OUT)


def test_a_way_to_cut_words_that_is_a_guess_is_said(model):
    path = model(ggml__pre=(STRING, ""))
    for command in (["score"], ["run", "--raw", "-n", "1"]):
        done = run(*command, path, data=b"ab")
        assert done.returncode == 0 and done.stderr.decode() == (
            f"puna: warning: {path}: without tokenizer.ggml.pre text is cut into words as by 'default', "
            "which may not be as the model learned it\n")
    assert run("score", model(ggml__pre=(STRING, "default")), data=b"ab").stderr == b""


@pytest.fixture
def draft(tmp_path):
    """draft(...): path of another gguf_file.llama(...)."""
    def make(*args, **changes):
        path = tmp_path / "draft.gguf"
        path.write_bytes(llama(*args, **changes))
        return path
    return make


RAW = ["run", "--raw", "-p", "abcdefgh", "-n", "40"]


def test_a_draft_of_another_vocabulary_is_refused_with_what_differs(model, draft):
    other = LLAMA_TOKENS[:7] + ["<7>"] + LLAMA_TOKENS[8:]
    for changes, text in [
            ({"ggml__tokens": (STRING, other)}, "token 7 is '<7>' (normal), not '(' (normal)"),
            ({"ggml__tokens": (STRING, LLAMA_TOKENS[:-1])}, "a vocabulary of 94 tokens (BPE), not of 95 (BPE)"),
            ({"ggml__eos_token_id": (U32, 3)}, "token 3 is '$' (an end of turn), not '$' (normal)")]:
        target, small = model(), draft(**changes)
        assert failure(*RAW, "--draft", small, target) == (
            2, f"puna run: {small}: no draft for {target}: {text}\n")


def test_a_draft_that_cannot_be_is_named(model, draft):
    code, line = failure(*RAW, "--draft", "no/such.gguf", model())
    assert code == 3 and "no/such.gguf" in line
    path = draft(llama__context_length=(U32, 0))
    code, line = failure(*RAW, "--draft", path, model())
    assert code == 5 and line.count(str(path)) == 1 and str(model()) not in line
    for more, text in [(["--draft-max", "0"], "--draft changes nothing with --draft-max 0"),
                       (["--exact"], "--draft changes nothing with --exact")]:
        assert failure(*RAW, "--draft", draft(), *more, model()) == (2, f"puna run: {text}\n")


def test_a_draft_of_less_context_is_warned_of_and_changes_nothing(model, draft):
    path = model()
    plain = run(*RAW, "--stats", path)
    done = run(*RAW, "--draft", draft(llama__context_length=(U32, 32)), path)
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    assert done.stderr == (b"puna run: warning: the draft model was made for 32 tokens, the context "
                           b"has 64: beyond those it guesses nothing\n")
    assert run(*RAW, "--draft", draft(), path).stderr == b""


def test_end_tokens_are_forbidden_when_they_are_to_be_ignored(model):
    """All logits are equal, so that greedily the lowest id that is allowed comes."""
    path = model(ggml__eos_token_id=(U32, 0))
    command = ["run", "--raw", "-p", "a", "-n", "3", "--temp", "0"]
    assert run(*command, path).stdout == b"\n"
    assert run(*command, "--ignore-eos", path).stdout == b'"""\n'


def test_a_reader_that_goes_away_ends_the_program_quietly(model):
    ids = " ".join("1" for _ in range(200000))
    process = subprocess.Popen([PUNA, "detokenize", "--json", model()], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(ids.encode())
    process.stdin.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (-signal.SIGPIPE, b"")


def test_version_names_the_kernel_sets_that_score_runs(model):
    lines = run("version").stdout.decode().splitlines()
    assert run("--version").stdout.decode().splitlines() == lines
    assert [line.split()[0] for line in lines] == ["puna", "compiler", "kernels", "numerics"]
    usable = [name for name in ("ref", "avx2", "avxvnni", "avx512", "amx", "neon", "i8mm")
              if run("score", "--cpu", name, model(), data=b"ab").returncode == 0]
    assert lines[2].split()[1:] == usable


def test_version_names_the_numerics_that_score_computes_in(model):
    path = model(tensors=[("blk.0.ffn_up.weight", "BF16", [32, 32])])
    usable = [name for name in ("portable", "bf16")
              if run("score", "--numerics", name, path, data=b"ab").returncode == 0]
    assert run("version").stdout.decode().splitlines()[3].split()[1:] == usable


@pytest.mark.parametrize("options, numerics", [([], "portable"), (["--cpu", "ref", "--numerics", "bf16"], "bf16")])
def test_stats_say_the_numerics(model, options, numerics):
    path = model(tensors=[("blk.0.ffn_up.weight", "BF16", [32, 32])])
    done = run("run", "--raw", "-p", "ab", "-n", "2", "--stats", "-t", "1", *options, path)
    assert re.search(rf"^numerics +{numerics}$", done.stderr.decode(), re.M)
    done = run("run", "--raw", "-p", "ab", "-n", "2", "--stats", "-t", "1", "--exact", path)
    assert re.search(r"^numerics +exact$", done.stderr.decode(), re.M)
