"""puna score --exact against log-probabilities that transformers computed in f32.

Every shape of the Llama family (tests/golden/logits/shapes.json, made by make_logits_golden.py):
largest difference of a log-probability <= 1e-3, and the 64 greedy tokens equal. The packed path is
compared with the same goldens under a bound for its f16 keys and values.
"""
import json
import pathlib
import subprocess

import pytest

import shapes
from program import PUNA

GOLDEN = json.loads(
    (pathlib.Path(__file__).resolve().parent.parent / "golden/logits/shapes.json").read_text())


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")

    def path(name):
        file = folder / f"{name}.gguf"
        if not file.exists():
            shapes.write_gguf(name, file)
        return file

    return path


def score(path, ids, *options):
    text = " ".join(map(str, ids))
    done = subprocess.run([PUNA, "score", "--ids", "--json", *options, path], input=text, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["tokens"]


def largest_difference(tokens, expected):
    return max(abs(t["logprob"] - x) for t, x in zip(tokens[1:], expected, strict=True))


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_exact_logprobs_equal_transformers(name, model_path):
    golden = GOLDEN[name]
    assert largest_difference(score(model_path(name), golden["ids"], "--exact"),
                              golden["logprobs"]) <= 1e-3


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_exact_greedy_tokens_equal_transformers(name, model_path):
    golden = GOLDEN[name]
    ids = golden["ids"][:16] + golden["greedy"]
    tokens = score(model_path(name), ids, "--exact", "--top", "1")
    assert [t["top"][0]["id"] for t in tokens[16:]] == golden["greedy"]


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_packed_path_stays_near(name, model_path):
    golden = GOLDEN[name]
    assert largest_difference(score(model_path(name), golden["ids"]), golden["logprobs"]) <= 2e-2
