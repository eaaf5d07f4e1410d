"""`puna tokenize` and `puna detokenize` as a user meets them: both outputs, there and back, batches,
and what is wrong. Ids themselves are proved by tests/unit/test_token.c and tests/oracle/token_*.py."""
import json
import os
import pathlib
import random
import subprocess

import pytest

from gguf_file import BOOL, I32, STRING, U32, gguf

PUNA = os.environ.get("PUNA", "build/release/puna")
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden/token"
BPE, SPM = GOLDEN / "bpe.gguf", GOLDEN / "spm.gguf"


def run(*args, data=b""):
    data = data.encode() if isinstance(data, str) else data
    return subprocess.run([PUNA, *map(str, args)], input=data, capture_output=True, timeout=60)


def output(*args, data=b""):
    done = run(*args, data=data)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def document(*args, data=b""):
    return json.loads(output("tokenize", "--json", *args, data=data))


def failure(*args, data=b""):
    """Exit code and the one line on stderr."""
    done = run(*args, data=data)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and done.stderr.startswith(f"puna {args[0]}: ".encode())
    return done.returncode, done.stderr.decode()


def golden(name):
    for line in (GOLDEN / name).read_text().splitlines():
        text, ids = line.split("\t")
        yield bytes.fromhex(text), [int(i) for i in ids.split(",") if i]


@pytest.mark.parametrize("name,options", [("bpe", []), ("spm", []), ("bpe_special", ["--special"])])
def test_batches_give_the_golden_ids(name, options):
    model = GOLDEN / (name.removesuffix("_special") + ".gguf")
    cases = [(text, ids) for text, ids in golden(f"{name}.cases") if b"\0" not in text]
    lines = output("tokenize", "--json", "--batch", "--no-bos", *options, model,
                   data=b"".join(text + b"\0" for text, _ in cases)).splitlines()
    assert [json.loads(line)["ids"] for line in lines] == [ids for _, ids in cases]


def test_lines_are_ids_and_escaped_pieces():
    lines = output("tokenize", "--no-bos", BPE, data="a\n\t\\\x01é!").decode().splitlines()
    ids, pieces = zip(*(line.split("\t") for line in lines))
    assert [int(i) for i in ids] == document("--no-bos", BPE, data="a\n\t\\\x01é!")["ids"]
    assert "".join(pieces).replace(r"\xc3\xa9", "é") == r"a\n\t\\\x01é!"


def test_no_control_character_of_a_vocabulary_reaches_the_terminal(tmp_path):
    path = vocabulary(tmp_path, tokens=(STRING, ["a", "b", "\x1b[2J\u202e"]), merges=(STRING, []),
                      token_type=(I32, [1, 1, 4]))
    assert output("tokenize", path, data="a\x1b[2J\u202eb") == rb"""0	a
2	\x1b[2J\u{202e}
1	b
"""


def test_json_has_ids_and_pieces():
    answer = document("--no-bos", BPE, data='the "llamas"')
    assert list(answer) == ["ids", "pieces"]
    assert "".join(answer["pieces"]) == 'the "llamas"'
    assert len(answer["ids"]) == len(answer["pieces"])


def test_pieces_that_are_no_utf8_show_the_replacement_character():
    assert set(document("--no-bos", BPE, data="\U00020000")["pieces"]) == {"\ufffd"}


def test_splits_add_up_to_the_text():
    answer = document("--splits", BPE, data="It's 12 o'clock")
    assert answer["splits"] == [2, 2, 1, 1, 1, 2, 1, 5]


def test_special_tokens_are_text_unless_asked():
    text = "<|im_start|>hi<|im_end|>"
    assert not {0, 1, 2} & set(document(BPE, data=text)["ids"])
    ids = document("--special", BPE, data=text)["ids"]
    assert ids[0] == 1 and ids[-1] == 2


def test_bos_stands_in_front_where_the_file_says_so():
    assert document(SPM, data="a")["ids"][0] == 1
    assert document("--no-bos", SPM, data="a")["ids"][0] != 1
    assert document(BPE, data="a")["ids"][0] != 0


def test_eos_stands_behind_where_the_file_says_so(tmp_path):
    path = vocabulary(tmp_path, add_eos_token=(BOOL, True), eos_token_id=(U32, 1), bos_token_id=(U32, 0))
    assert document(path, data="ab")["ids"] == [2, 1]
    assert document("--no-bos", path, data="ab")["ids"] == [2]
    path = vocabulary(tmp_path, add_eos_token=(BOOL, True), add_bos_token=(BOOL, True),
                      eos_token_id=(U32, 1), bos_token_id=(U32, 0))
    assert document(path, data="ab")["ids"] == [0, 2, 1]
    assert document("--no-bos", path, data="ab")["ids"] == [2]


def test_an_empty_text_has_no_tokens_but_bos():
    assert document(SPM)["ids"] == [1]
    assert output("tokenize", "--no-bos", SPM) == b""


@pytest.mark.parametrize("model", [BPE, SPM])
def test_detokenize_is_the_inverse_for_any_bytes(model):
    rng = random.Random(4)
    for n in (0, 1, 2, 5, 50, 5000):
        data = rng.randbytes(n) + " \n  naïve ".encode() * (n % 3)
        ids = output("tokenize", model, data=data)
        ids = b" ".join(line.split(b"\t")[0] for line in ids.splitlines())
        assert output("detokenize", model, data=ids) == data


@pytest.mark.parametrize("form", ["{0} {1} {2}", "{0},{1},{2}", "[{0}, {1}, {2}]\n", "\n{0}\n{1}\t{2}\n",
                                  "[\n {0},\n {1},\n {2}\n]"])
def test_detokenize_reads_blanks_commas_and_json_arrays(form):
    ids = document("--no-bos", SPM, data="a b")["ids"][:3]
    ids += [ids[-1]] * (3 - len(ids))
    expected = output("detokenize", SPM, data=" ".join(map(str, ids)))
    assert output("detokenize", SPM, data=form.format(*ids)) == expected


def test_detokenize_shows_control_tokens_when_asked():
    assert output("detokenize", BPE, data="1 2") == b""
    assert output("detokenize", "--special", BPE, data="1 2") == b"<|im_start|><|im_end|>"


def test_detokenize_prints_json():
    ids = document("--no-bos", BPE, data='"é"\n')["ids"]
    assert json.loads(output("detokenize", "--json", BPE, data=str(ids))) == {"text": '"é"\n'}
    half = document("--no-bos", SPM, data=b"a\xe2\x82z")["ids"]
    assert json.loads(output("detokenize", "--json", SPM, data=str(half))) == {"text": "a\ufffdz"}


@pytest.mark.parametrize("data,message", [
    ("1,2x,3", "'2x' is not a token id"), ("-1", "'-1' is not a token id"),
    ("[1, 2", "'[1' is not a token id"), ("1.5", "'1.5' is not a token id"),
    ("5 99999999999999999999999", "token id 99999999999999999999999: the vocabulary has 421 tokens"),
    ("421", "token id 421: the vocabulary has 421 tokens"), ("[[1]]", "'[1]' is not a token id"),
])
def test_bad_ids_are_named(data, message):
    code, text = failure("detokenize", BPE, data=data)
    assert code == 2 and message in text


def vocabulary(tmp_path, **changes):
    pairs = {"model": (STRING, "gpt2"), "pre": (STRING, "smollm"), "tokens": (STRING, ["a", "b", "ab"]),
             "merges": (STRING, ["a b"])} | changes
    path = tmp_path / "v.gguf"
    path.write_bytes(gguf([("tokenizer.ggml." + k, *v) for k, v in pairs.items()]))
    return path


def test_bytes_without_a_token_are_counted_in_a_warning(tmp_path):
    done = run("tokenize", vocabulary(tmp_path), data="ab?b!")
    assert (done.returncode, done.stdout) == (0, b"2\tab\n1\tb\n")
    assert done.stderr.startswith(b"puna tokenize: warning: 2 bytes left out")


@pytest.mark.parametrize("command", ["tokenize", "detokenize"])
def test_bad_vocabularies_are_refused_by_name(tmp_path, command):
    code, text = failure(command, vocabulary(tmp_path, pre=(STRING, "qwen2")))
    assert code == 6 and "'qwen2'" in text and "v.gguf" in text
    code, text = failure(command, vocabulary(tmp_path, merges=(STRING, ["a c"])))
    assert code == 5 and "'a c'" in text
    code, text = failure(command, vocabulary(tmp_path, bos_token_id=(U32, 3)))
    assert code == 5 and "bos_token_id" in text


@pytest.mark.parametrize("command", ["tokenize", "detokenize"])
def test_files_and_options_that_do_not_exist_are_named(command):
    code, text = failure(command, "no/such.gguf")
    assert code == 3 and text.count("no/such.gguf") == 1
    code, text = failure(command, "--wrong", BPE)
    assert code == 2 and "--wrong" in text
    code, text = failure(command, BPE, "more")
    assert code == 2 and "more" in text
    code, text = failure("tokenize", "--splits", BPE)
    assert code == 2 and "--json" in text
    code, text = failure("tokenize", "--batch", BPE)
    assert code == 2 and "--batch needs --json or --time" in text


@pytest.mark.parametrize("data, message", [
    ("hello", "not JSON: line 1"), ('{"messages": []}', "has 0 messages, at least 1"), ("{}", "array 'messages'"),
    ('{"messages": [{"role": "user", "text": ""}]}', "unknown key 'text'"),
    (f'{{"messages": [{2**63}]}}', "line 1, column 33: an integer is not within -9223372036854775808 to 9223372036854775807")])
def test_a_bad_conversation_is_wrong_usage_and_no_bad_file(data, message):
    code, text = failure("tokenize", "--chat", "--chat-template", "chatml", BPE, data=data)
    assert code == 2 and message in text


def test_more_than_64_mib_is_refused():
    code, text = failure("tokenize", BPE, data=b"a" * ((64 << 20) + 1))
    assert code == 2 and "67108864 bytes" in text
