"""Small random Llama models, one for each shape that the family has.

Weights come from a counter-based integer hash, so every machine makes the same bytes. write_gguf()
stores a shape as GGUF (F32 unless told otherwise); hf_model() in make_logits_golden.py builds the
same model in transformers.
"""
import numpy as np
import gguf

# value_dim and rope_dim are head_dim where they are None.
BASE = dict(n_layers=2, n_embd=128, n_ff=160, n_heads=2, n_kv_heads=2, head_dim=64, value_dim=None,
            rope_dim=None, n_vocab=320, ctx=2048, rope_base=10000.0, tied=False, bias=False, scaling=None,
            eps=1e-5, n_prompt=300)

SHAPES = {
    "mha": {},
    "gqa4_tied": dict(n_heads=4, n_kv_heads=1, n_embd=256, tied=True, rope_base=500000.0),
    "head80": dict(head_dim=80, n_embd=160),
    "head96": dict(head_dim=96, n_embd=192),
    "head128_wide": dict(head_dim=128, n_heads=3, n_kv_heads=1, n_embd=192),
    "seventy_b_like": dict(n_heads=16, n_kv_heads=2, head_dim=16, n_embd=256, n_ff=224),
    "llama3_scaling": dict(rope_base=500000.0, scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64)),
    "linear_scaling": dict(scaling=dict(rope_type="linear", factor=4.0)),
    "yarn_scaling": dict(scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=64)),
    "biases": dict(bias=True),
    "half_rope": dict(rope_dim=32),
    "narrow_values": dict(n_heads=4, value_dim=48),
    "wide_values_part_rope": dict(n_heads=4, value_dim=96, rope_dim=48),
    # beyond two spans of keys, which attention computes apart and merges
    "long_prompt": dict(n_heads=4, n_kv_heads=1, n_embd=256, rope_base=500000.0, n_prompt=1300),
}


def shape(name):
    s = {**BASE, **SHAPES[name]}
    for key in ("value_dim", "rope_dim"):
        s[key] = s[key] or s["head_dim"]
    return s


def uniform(seed, n):
    """n floats in [-1, 1) from SplitMix64 of a counter."""
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0).astype(np.float32)


def weights(s):
    """{GGUF name: array (rows, cols)} with q and k in the row order of transformers."""
    q, k = s["n_heads"] * s["head_dim"], s["n_kv_heads"] * s["head_dim"]
    v, o = s["n_kv_heads"] * s["value_dim"], s["n_heads"] * s["value_dim"]
    d, ff, out = s["n_embd"], s["n_ff"], {}

    def matrix(name, rows, cols, gain=1.0):
        seed = sum(ord(ch) * 1000003 ** (i % 5) for i, ch in enumerate(name)) % 2**32
        out[name] = uniform(seed, rows * cols).reshape(rows, cols) * np.float32(gain * (3 / cols) ** 0.5)

    def vector(name, n, centre):
        matrix(name, 1, n)
        out[name] = (centre + 0.2 * uniform(len(name) * 7919 + ord(name[4]), n)).astype(np.float32)

    matrix("token_embd.weight", s["n_vocab"], d, gain=2.0 if s["tied"] else d**0.5)
    vector("output_norm.weight", d, 1.0)
    if not s["tied"]:
        matrix("output.weight", s["n_vocab"], d, gain=2.0)
    for i in range(s["n_layers"]):
        p = f"blk.{i}."
        vector(p + "attn_norm.weight", d, 1.0)
        vector(p + "ffn_norm.weight", d, 1.0)
        for stem, rows, cols in (("attn_q", q, d), ("attn_k", k, d), ("attn_v", v, d),
                                 ("attn_output", d, o), ("ffn_gate", ff, d), ("ffn_up", ff, d),
                                 ("ffn_down", d, ff)):
            matrix(p + stem + ".weight", rows, cols, gain=2.0 if stem in ("attn_q", "attn_k") else 1.0)
            if s["bias"]:
                vector(p + stem + ".bias", rows, 0.0)
    return out


def to_gguf_rows(name, array, s):
    """transformers rotates halves of a head's first rope_dim rows, GGUF neighbouring pairs: those of q
    and k move."""
    for stem, heads in (("attn_q.", s["n_heads"]), ("attn_k.", s["n_kv_heads"])):
        if stem in name:
            rows = array.reshape(heads, s["head_dim"], -1).copy()
            halves = rows[:, :s["rope_dim"]].reshape(heads, 2, s["rope_dim"] // 2, -1)
            rows[:, :s["rope_dim"]] = halves.swapaxes(1, 2).reshape(heads, s["rope_dim"], -1)
            return rows.reshape(array.shape)
    return array


def llama3_factors(s):
    """Divisors that llama.cpp's converter stores in rope_freqs.weight."""
    c = s["scaling"]
    base = s["rope_base"] ** (np.arange(0, s["head_dim"], 2) / s["head_dim"])
    low = c["original_max_position_embeddings"] / c["low_freq_factor"]
    high = c["original_max_position_embeddings"] / c["high_freq_factor"]
    factors = []
    for wavelength in 2 * np.pi * base:
        if wavelength < high:
            factors.append(1.0)
        elif wavelength > low:
            factors.append(c["factor"])
        else:
            smooth = (c["original_max_position_embeddings"] / wavelength - c["low_freq_factor"]) / (
                c["high_freq_factor"] - c["low_freq_factor"])
            factors.append(1.0 / ((1.0 - smooth) / c["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def byte_vocabulary(n_vocab):
    """The 256 byte tokens of byte-level BPE, one merge, fillers, two control tokens at the end."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for b in range(256):
        if b in printable:
            letters[b] = chr(b)
        else:
            letters[b] = chr(256 + extra)
            extra += 1
    tokens = [letters[b] for b in range(256)]
    tokens += ["ab"] + [f"<filler{i}>" for i in range(n_vocab - 259)] + ["<|begin|>", "<|end|>"]
    return tokens, [1] * (n_vocab - 2) + [3, 3]


def write_gguf(name, path, matrix_type=gguf.GGMLQuantizationType.F32):
    s = shape(name)
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(name)
    w.add_block_count(s["n_layers"])
    w.add_context_length(s["ctx"])
    w.add_embedding_length(s["n_embd"])
    w.add_feed_forward_length(s["n_ff"])
    w.add_head_count(s["n_heads"])
    w.add_head_count_kv(s["n_kv_heads"])
    w.add_key_length(s["head_dim"])
    w.add_value_length(s["value_dim"])
    w.add_rope_dimension_count(s["rope_dim"])
    w.add_layer_norm_rms_eps(s["eps"])
    w.add_rope_freq_base(s["rope_base"])
    if s["scaling"] and s["scaling"]["rope_type"] in ("linear", "yarn"):
        kinds = dict(linear=gguf.RopeScalingType.LINEAR, yarn=gguf.RopeScalingType.YARN)
        w.add_rope_scaling_type(kinds[s["scaling"]["rope_type"]])
        w.add_rope_scaling_factor(s["scaling"]["factor"])
        if s["scaling"]["rope_type"] == "yarn":
            w.add_rope_scaling_orig_ctx_len(s["scaling"]["original_max_position_embeddings"])
    tokens, kinds = byte_vocabulary(s["n_vocab"])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges(["a b"])
    w.add_bos_token_id(s["n_vocab"] - 2)
    w.add_eos_token_id(s["n_vocab"] - 1)
    for key, array in weights(s).items():
        array = to_gguf_rows(key, array, s)
        if array.shape[0] == 1 or key.endswith(("norm.weight", ".bias")):
            w.add_tensor(key, array.reshape(-1))
        elif matrix_type == gguf.GGMLQuantizationType.F32:
            w.add_tensor(key, array)
        else:
            w.add_tensor(key, gguf.quants.quantize(array, matrix_type), raw_dtype=matrix_type)
    if s["scaling"] and s["scaling"]["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(s))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def prompt(name):
    s = shape(name)
    return [int(v) for v in ((uniform(77, s["n_prompt"]).astype(np.float64) + 1) / 2 * (s["n_vocab"] - 2))]
