"""Vectors of `puna serve` against hidden states that transformers computed in f32, of every shape of the
Llama family and of the default model (tests/golden/logits/embeddings.json, made by
make_logits_golden.py). Bounds are those of the packed path: q16 keys and values and, with the default
model, int8 activations."""
import json
import math
import sys

import pytest

import shapes
import token_common as common
from program import ROOT

sys.path.insert(0, str(ROOT / "tests/cli"))
from puna_server import serving  # noqa: E402

GOLDEN = json.loads((ROOT / "tests/golden/logits/embeddings.json").read_text())
TEXTS = [name for name in GOLDEN if name not in shapes.SHAPES]


def embed(server, model, given, **options):
    answer = server.post("/v1/embeddings", {"model": model, "input": given, **options})
    (one,) = answer["data"]
    return one["embedding"], answer["usage"]["prompt_tokens"]


def cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_vectors_of_every_shape_equal_transformers(name, tmp_path):
    golden = GOLDEN[name]
    shapes.write_gguf(name, tmp_path / "model.gguf")
    with serving(tmp_path / "model.gguf") as s:
        for pooling in ("mean", "last"):
            vector, n = embed(s, "model", golden["ids"], pooling=pooling)
            assert n == len(golden["ids"])
            assert max(abs(x - y) for x, y in zip(vector, golden[pooling], strict=True)) <= 5e-4


@pytest.fixture(scope="module")
def default_model():
    path = common.find_default_model()
    if path is None:
        pytest.skip("the default model is not in the model folder; tools/fetch-default-model brings it")
    with serving(path) as s:
        yield s, path.stem


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_vectors_of_the_default_model_are_near_transformers(default_model, pooling):
    server, name = default_model
    vectors = {}
    for text in TEXTS:
        golden = GOLDEN[text]
        vectors[text], n = embed(server, name, text, pooling=pooling)
        assert n == len(golden["ids"])
        assert embed(server, name, golden["ids"], pooling=pooling)[0] == vectors[text]
        assert cosine(vectors[text], golden[pooling]) > 0.999
    between = cosine(*(GOLDEN[text][pooling] for text in TEXTS))  # nearer to its own than the texts are
    assert all(cosine(vectors[text], GOLDEN[text][pooling]) > between for text in TEXTS)
