"""`puna score` as a user meets it, on small models made here; its numbers are proved by
tests/oracle/test_logits.py."""
import json
import math
import os
import struct
import subprocess

import pytest

from gguf_file import BOOL, I32, LLAMA_TOKENS, STRING, U32, llama

PUNA = os.environ.get("PUNA", "build/release/puna")


def run(*args, data=b""):
    data = data.encode() if isinstance(data, str) else data
    return subprocess.run([PUNA, "score", *map(str, args)], input=data, capture_output=True, timeout=60)


def output(*args, data=b""):
    done = run(*args, data=data)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def document(*args, data=b""):
    return json.loads(output("--json", *args, data=data))


def failure(*args, data=b""):
    """Exit code and the one line on stderr; nothing on stdout."""
    done = run(*args, data=data)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"puna score: ")
    return done.returncode, done.stderr.decode()


@pytest.fixture
def model(tmp_path):
    """model(...): path of gguf_file.llama(...)."""
    def make(*args, **changes):
        path = tmp_path / "model.gguf"
        path.write_bytes(llama(*args, **changes))
        return path
    return make


def test_pieces_are_escaped_so_that_a_token_is_a_line(model):
    tokens = LLAMA_TOKENS + ["\u010a", "\x1b[\u202e"]  # the first is the byte 0A
    path = model(len(tokens), ggml__tokens=(STRING, tokens),
                 ggml__token_type=(I32, [1] * (len(tokens) - 1) + [4]))
    lines = output("--ids", path, data="0 95 96 59").splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines[:4]] == ["!", r"\n", r"\x1b[\u{202e}", r"\\"]


def test_json_shows_the_replacement_character_for_each_ill_formed_part(model):
    tokens = LLAMA_TOKENS + [b"a\xe2\x82\xff".decode("latin-1").translate({0x82: 0x124})]
    path = model(len(tokens), ggml__tokens=(STRING, tokens))  # U+0124 stands for the byte 82
    assert document("--ids", path, data="0 95")["tokens"][1]["piece"] == "a\ufffd\ufffd"


N = len(LLAMA_TOKENS)


def test_rows_of_the_embedding_without_a_token_are_never_scored(model, tmp_path):
    """Padded matrices: the weights are zero, so that each of N tokens has the probability 1 / N."""
    path = model(N + 33)
    answer = document("--ids", "--top", "100", "--logits", tmp_path / "l", path, data="1 2")
    scored = answer["tokens"][1]
    assert scored["logprob"] == pytest.approx(-math.log(N))
    assert [t["id"] for t in scored["top"]] == list(range(N))
    assert (tmp_path / "l").stat().st_size == 2 * N * 4
    assert f"token id {N}: the vocabulary has {N} tokens" in failure("--ids", path, data=f"1 {N}")[1]


@pytest.mark.parametrize("ids", ["1 2 3", "[1, 2, 3]", "1,2\t3\n"])
def test_ids_are_read_as_detokenize_reads_them(model, ids):
    assert [t["id"] for t in document("--ids", model(), data=ids)["tokens"]] == [1, 2, 3]


def test_the_end_of_text_is_scored_where_the_file_says_that_it_stands_there(model):
    path = model(ggml__add_eos_token=(BOOL, True), ggml__eos_token_id=(U32, 5))
    assert [t["id"] for t in document(path, data="ab")["tokens"]] == [64, 65, 5]
    assert [t["id"] for t in document("--no-bos", path, data="ab")["tokens"]] == [64, 65]


@pytest.mark.parametrize("ids, message", [("[1,2", "'[1' is not a token id"), ("1 2]", "'2]' is not"),
                                          ("1 x", "'x' is not"), ("[1] [2]", "'1]' is not")])
def test_bad_ids_are_named(model, ids, message):
    code, line = failure("--ids", model(), data=ids)
    assert code == 2 and message in line
    for option in ("--special", "--no-bos"):
        assert "--ids excludes" in failure("--ids", option, model(), data="1 2")[1]


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_model_whose_logits_overflow_is_an_error(model, options):
    path = model(tensors=[("token_embd.weight", "F32", [32, N], floats(*[1] * 32 * N)),
                          ("output_norm.weight", "F32", [32], floats(*[3e38] * 32))])
    done = run("--ids", *options, path, data="1 2 3")
    assert done.returncode == 5 and b"model.gguf: the logit of token 0 after 1 tokens is " in done.stderr
    assert not options or done.stdout == b""


def test_a_perplexity_beyond_all_numbers_is_null(model):
    rows = floats(*[1] * 32) * (N - 1) + floats(*[-1] * 32)
    path = model(tensors=[("token_embd.weight", "F32", [32, N], rows),
                          ("output_norm.weight", "F32", [32], floats(*[1e30] * 32))])
    answer = document("--ids", path, data=f"1 {N - 1}")
    assert answer["perplexity"] is None and answer["sum"] < -1e30


def test_the_default_context_is_the_models_at_most_8192(model):
    path = model(llama__context_length=(U32, 100000))
    line = failure("--json", path, data="a" * 8193)[1]
    assert "8193 tokens do not fit the context of 8192" in line
    assert document("--ctx", "8200", path, data="a" * 8193)["n_scored"] == 8192
    assert "65 tokens do not fit the context of 64" in failure("--json", model(), data="a" * 65)[1]
