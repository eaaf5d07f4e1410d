#!/usr/bin/env python3
"""Reads what gen_gguf writes with the Python package `gguf` and checks it.

    python3 tests/oracle/gen_gguf_check.py build/release/gen_gguf
Shapes and types of every tensor, finite values of the right size, a vocabulary that `tokenizers`
accepts and that gives every text back, llama3 rope factors as transformers computes them, the
same bytes twice, and errors for what cannot be.
"""
import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

TYPES = ("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS "
         "Q4_K_M Q5_K_M").split()


def generate(tool, path, *options):
    subprocess.run([tool, *map(str, options), "-o", path], check=True, stdout=subprocess.DEVNULL)
    return GGUFReader(path)


def value(reader, key):
    return reader.fields[key].contents()


def check_values(reader):
    """Every tensor finite, matrices with mean 0 and the expected root mean square."""
    for t in reader.tensors:
        x = dequantize(t.data, t.tensor_type).astype(np.float64)
        assert np.isfinite(x).all(), t.name
        cols = int(t.shape[0])
        rms = np.sqrt((x * x).mean())
        if t.name.endswith("norm.weight"):
            assert abs(x.mean() - 1) < 0.05, t.name
        elif len(t.shape) == 2:
            tied = all(o.name != "output.weight" for o in reader.tensors)
            want = 3 / cols**0.5 if t.name == "output.weight" or (
                tied and t.name == "token_embd.weight") else (
                1 if t.name == "token_embd.weight" else 1 / cols**0.5)
            assert abs(rms / want - 1) < 0.1, (t.name, rms, want)
            assert abs(x.mean()) < 0.05 * want, (t.name, x.mean(), want)


def check_vocabulary(reader):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    tokens = value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in value(reader, "tokenizer.ggml.merges")]
    assert len(tokens) == value(reader, "llama.vocab_size") == len(set(tokens))
    assert len(value(reader, "tokenizer.ggml.token_type")) == len(tokens)
    vocab = {t: i for i, t in enumerate(tokens)}
    for left, right in merges:
        assert left in vocab and right in vocab and left + right in vocab, (left, right)
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    text = "Hello, is the end of you and the äöü 中文 🦙\n\t  thing?"
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text and len(ids) < len(text.encode())
    kinds = value(reader, "tokenizer.ggml.token_type")
    for name, expected in (("bos", "<|begin_of_text|>"), ("eos", "<|end_of_text|>"),
                           ("eot", "<|eot_id|>"), ("eom", "<|eom_id|>")):
        token = value(reader, f"tokenizer.ggml.{name}_token_id")
        assert tokens[token] == expected and kinds[token] == 3


def check_rope_freqs(reader, factor):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    dim = value(reader, "llama.rope.dimension_count")
    base = value(reader, "llama.rope.freq_base")
    parameters = {"rope_type": "llama3", "rope_theta": base, "factor": factor, "low_freq_factor": 1.0,
                  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config = LlamaConfig(head_dim=dim, rope_parameters=parameters)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / base ** (np.arange(0, dim, 2) / dim)
    factors = next(t.data for t in reader.tensors if t.name == "rope_freqs.weight")
    assert np.allclose(plain / factors, scaled.numpy(), rtol=1e-5), (plain / factors, scaled)


def types_of(reader):
    return {t.name: t.tensor_type.name for t in reader.tensors}


def check_mix(reader, base):
    """The _M mixes on 16 layers, as llama.cpp's llama_tensor_get_type does them."""
    types = types_of(reader)
    more = [i for i in range(16) if i < 2 or i >= 14 or (i - 2) % 3 == 2]
    for i in range(16):
        for part in ("attn_v", "ffn_down"):
            want = "Q6_K" if i in more else base
            assert types[f"blk.{i}.{part}.weight"] == want, (i, part)
        for part in ("attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"):
            assert types[f"blk.{i}.{part}.weight"] == base
    assert types["output.weight"] == "Q6_K" and types["token_embd.weight"] == base


def check_refusals(tool, folder):
    for options in (["--shape", "9b"], ["--type", "Q4_2"], ["--heads", "3"], ["--rope-dim", "3"],
                    ["--rope-scaling", "linear"], ["--rope-scaling", "cubic"], ["--vocab", "100"]):
        path = folder / "refused.gguf"
        result = subprocess.run([tool, *options, "-o", path], capture_output=True, text=True)
        assert result.returncode != 0 and result.stderr.count("\n") == 1, (options, result)
        assert not path.exists() and not pathlib.Path(f"{path}.part").exists()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", help="path of gen_gguf")
    tool = str(pathlib.Path(parser.parse_args().tool).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = folder / "m.gguf"
        for kind in TYPES:
            reader = generate(tool, path, "--type", kind)
            check_values(reader)
            matrices = {t.tensor_type.name for t in reader.tensors if len(t.shape) == 2}
            assert kind.endswith("_M") or matrices == {kind}, matrices
        check_vocabulary(reader)
        first = path.read_bytes()
        generate(tool, path, "--type", TYPES[-1])
        assert path.read_bytes() == first
        generate(tool, path, "--type", TYPES[-1], "--seed", 1)
        assert path.read_bytes() != first
        for kind, base in (("Q4_K_M", "Q4_K"), ("Q5_K_M", "Q5_K")):
            check_mix(generate(tool, path, "--type", kind, "--layers", 16), base)
        types = types_of(generate(tool, path, "--shape", "135m", "--layers", 2, "--vocab", 4096))
        assert types["token_embd.weight"] == "Q8_0" and types["blk.0.attn_q.weight"] == "Q5_0"
        for shape, factor in (("1b", 32.0), ("8b", 8.0)):
            reader = generate(tool, path, "--shape", shape, "--layers", 1, "--type", "Q2_K",
                              "--embd", 256, "--ff", 512, "--heads", 4, "--kv-heads", 2)
            check_rope_freqs(reader, factor)
            check_vocabulary(reader)
            assert value(reader, "tokenizer.ggml.bos_token_id") == 128000
            assert value(reader, "tokenizer.ggml.eot_token_id") == 128009
        for bias, mlp in itertools.product((False, True), repeat=2):
            options = ["--bias"] * bias + ["--mlp-bias"] * mlp
            reader = generate(tool, path, "--value-length", 32, "--rope-scaling", "yarn",
                              "--rope-factor", 4, "--rope-original-ctx", 512, "--tied", *options)
            names = [t.name for t in reader.tensors if t.name.endswith(".bias")]
            assert len(names) == 2 * (4 * bias + 3 * mlp), names
            shapes = {t.name: [int(n) for n in t.shape] for t in reader.tensors}
            assert shapes["blk.0.attn_v.weight"] == [256, 64]
            assert shapes["blk.0.attn_output.weight"] == [128, 256]
            assert value(reader, "llama.rope.scaling.type") == "yarn"
        check_refusals(tool, folder)
    print("gen_gguf: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
