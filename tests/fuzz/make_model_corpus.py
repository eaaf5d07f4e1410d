#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/model: the smallest models that load, and the same bent at the places where
configuration, tensors or RoPE go wrong (see fuzz_model.c)."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cli"))
from gguf_file import ALIGNMENT, BLOCKS, BOOL, F32, I32, STRING, U32, gguf

OUT = HERE / "corpus/model"
SMALL_NUMBER = b"\x3c"  # in every byte: 1.06 as f16, 0.0115 as f32


def n_bytes(kind, dims):
    _, block, block_bytes = BLOCKS[kind]
    n_items = 1
    for d in dims:
        n_items *= d
    return -(-(n_items // block * block_bytes) // ALIGNMENT) * ALIGNMENT


def model(kind="F16", embd=16, heads=1, ff=16, keys=(), without=(), more=(), tokenizer=True):
    """One layer, one KV head of 16, four tokens."""
    pairs = [("general.architecture", STRING, "llama"), ("llama.block_count", U32, 1),
             ("llama.embedding_length", U32, embd), ("llama.context_length", U32, 32),
             ("llama.feed_forward_length", U32, ff), ("llama.attention.head_count", U32, heads),
             ("llama.attention.head_count_kv", U32, 1),
             ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)]
    if tokenizer:
        pairs += [("tokenizer.ggml.model", STRING, "llama"),
                  ("tokenizer.ggml.tokens", STRING, ["<unk>", "<s>", "</s>", "a"]),
                  ("tokenizer.ggml.scores", F32, [0.0, 0.0, 0.0, -1.0]),
                  ("tokenizer.ggml.token_type", I32, [2, 3, 3, 1])]
    width = heads * 16
    tensors = [("token_embd.weight", kind, [embd, 4]), ("output_norm.weight", "F32", [embd]),
               ("blk.0.attn_norm.weight", "F32", [embd]), ("blk.0.ffn_norm.weight", "F32", [embd]),
               ("blk.0.attn_q.weight", kind, [embd, width]), ("blk.0.attn_k.weight", kind, [embd, 16]),
               ("blk.0.attn_v.weight", kind, [embd, 16]), ("blk.0.attn_output.weight", kind, [width, embd]),
               ("blk.0.ffn_gate.weight", kind, [embd, ff]), ("blk.0.ffn_up.weight", kind, [embd, ff]),
               ("blk.0.ffn_down.weight", kind, [ff, embd])]
    changed = {k[0] for k in keys}
    pairs = [p for p in pairs if p[0] not in changed and p[0] not in without] + list(keys)
    tensors = [t for t in tensors if t[0] not in without] + list(more)
    data = gguf(pairs, tensors)
    n = sum(n_bytes(kind, dims) for _, kind, dims in tensors)
    return data[:len(data) - n] + SMALL_NUMBER * n


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    scaling = "llama.rope.scaling."
    files = {
        "f16": model(),
        "f32-bare": model("F32", tokenizer=False),
        "q8": model("Q8_0", embd=32, heads=2, ff=32),
        "bias": model(more=[("blk.0.attn_q.bias", "F32", [16]), ("output.weight", "F16", [16, 4]),
                            ("output.bias", "F32", [4])]),
        "rope-freqs": model(more=[("rope_freqs.weight", "F32", [8])]),
        "linear": model(keys=[(scaling + "factor", F32, 4.0)]),
        "yarn": model(keys=[(scaling + "type", STRING, "yarn"), (scaling + "factor", F32, 4.0),
                            (scaling + "original_context_length", U32, 8)]),
        "partial-rotation": model(keys=[("llama.rope.dimension_count", U32, 8)]),
        "long-context": model(keys=[("llama.context_length", U32, 1 << 28)]),
        "heads-array": model(keys=[("llama.attention.head_count", U32, [1])]),
        "fast-rope": model(keys=[(scaling + "factor", F32, 1e-5)]),
        "window": model(keys=[("llama.attention.sliding_window", U32, 4)]),
        "not-causal": model(keys=[("llama.attention.causal", BOOL, False)]),
        "experts": model(keys=[("llama.expert_count", U32, 8)]),
        "no-norm": model(without=["output_norm.weight"]),
        "surplus": model(more=[("blk.00.attn_q.weight", "F16", [16, 16])]),
        "no-heads": model(keys=[("llama.attention.head_count", U32, 0)]),
        "huge-layers": model(keys=[("llama.block_count", U32, 1024)]),
    }
    for name, data in files.items():
        (OUT / f"{name}.gguf").write_bytes(data)


if __name__ == "__main__":
    main()
