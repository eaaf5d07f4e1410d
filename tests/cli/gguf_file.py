"""A small GGUF v3 writer for the tests of the command line, so that they need no package."""

import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q",
           I64: "q", F64: "d"}
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144)}
ALIGNMENT = 32


def string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def scalar(kind, value):
    return string(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


def key(name, kind, value):
    """A pair; a list is an array of `kind`."""
    if isinstance(value, list):
        items = b"".join(scalar(kind, v) for v in value)
        return string(name) + struct.pack("<IIQ", ARRAY, kind, len(value)) + items
    return string(name) + struct.pack("<I", kind) + scalar(kind, value)


def gguf(pairs=(), tensors=()):
    """pairs: (name, kind, value); tensors: (name, type, dims) of zeros, or (name, type, dims, data)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(key(*p) for p in pairs)
    body = b""
    for name, kind, dims, *data in tensors:
        type_id, block, block_bytes = BLOCKS[kind]
        head += string(name) + struct.pack("<I", len(dims))
        head += b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", type_id, len(body))
        n_items = 1
        for d in dims:
            n_items *= d
        body += data[0] if data else bytes(n_items // block * block_bytes)
        body += bytes(-len(body) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + body


LLAMA_TOKENS = [chr(c) for c in range(33, 127)] + ["\u0120"]  # a byte each; the last is the blank


def llama(rows=len(LLAMA_TOKENS), tensors=(), **changes):
    """A model of one layer that computes: zero weights, so that all tokens are equally probable.
    rows: of the embedding; tensors replace or join the usual ones; changes: values of keys, `llama__`
    for "llama.", `ggml__` for "tokenizer.ggml."."""
    keys = {"block_count": (U32, 1), "context_length": (U32, 64), "embedding_length": (U32, 32),
            "feed_forward_length": (U32, 32), "attention.head_count": (U32, 2),
            "attention.layer_norm_rms_epsilon": (F32, 1e-5)}
    pairs = {"general.architecture": (STRING, "llama")} | {"llama." + k: v for k, v in keys.items()}
    pairs |= {"tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "gpt-2"),
              "tokenizer.ggml.tokens": (STRING, LLAMA_TOKENS), "tokenizer.ggml.merges": (STRING, [])}
    for name, value in changes.items():
        name = name.replace("__", ".")
        pairs["tokenizer." + name if name.startswith("ggml.") else name] = value
    shapes = {"token_embd.weight": [32, rows], "output_norm.weight": [32]}
    for name, dims in [("attn_norm", [32]), ("ffn_norm", [32])] + [(n, [32, 32]) for n in (
            "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")]:
        shapes[f"blk.0.{name}.weight"] = dims
    named = {name: (name, "F32", dims) for name, dims in shapes.items()}
    named |= {t[0]: t for t in tensors}
    return gguf([(k, *v) for k, v in pairs.items()], list(named.values()))
