"""Quantised arithmetic against --exact on a text: perplexities and the mean KL divergence over all
positions, with each type of keys and values; and, of the default model with its weights as BF16, with
each kind of numerics.

Usage: kl.py [--text FILE] [MODEL [OTHER.f32]...]   Needs numpy; writes about 1.2 GB below $TMPDIR while
it runs. The text is LICENSE (over 2,000 tokens) and MODEL the default model unless given. Each OTHER is
another program's logits for the same tokens (f32 rows, as `puna score --logits` writes them), reported
beside Puna's; llamacpp_logits.py makes llama.cpp's.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

import token_common as common
from program import PUNA, ROOT


def run(text, model, logits, *options):
    with open(text, "rb") as file:
        out = subprocess.run([PUNA, "score", "--json", "--logits", logits, *options, model],
                             stdin=file, check=True, capture_output=True).stdout
    return json.loads(out)


def log_softmax(row):
    row = row.astype(np.float64)
    row -= row.max()
    return row - np.log(np.exp(row).sum())


def compare(name, reference, other, ids):
    n = len(ids)
    a = np.memmap(reference, np.float32, "r").reshape(n, -1)
    b = np.memmap(other, np.float32, "r").reshape(a.shape)
    kl, top1, loss_a, loss_b = np.zeros(n), 0, 0.0, 0.0
    for i in range(n):
        p, q = log_softmax(a[i]), log_softmax(b[i])
        kl[i] = (np.exp(p) * (p - q)).sum()
        top1 += p.argmax() == q.argmax()
        if i + 1 < n:
            loss_a -= p[ids[i + 1]]
            loss_b -= q[ids[i + 1]]
    exact, own = (np.exp(loss / (n - 1)) for loss in (loss_a, loss_b))
    print(f"{name}: {n} tokens, perplexity {own:.4f} (exact {exact:.4f}, difference {own - exact:+.4f}), "
          f"mean KL {kl.mean():.6f}, 99th percentile {np.quantile(kl, 0.99):.6f}, "
          f"same first token {top1 / n:.4f}", flush=True)
    return kl


def difference(own, other):
    """Mean of own - other and its standard error: by blocks, as neighbours are not independent."""
    blocks = [part.mean() for part in np.array_split(own - other, len(own) // 32)]
    return np.mean(blocks), np.std(blocks, ddof=1) / np.sqrt(len(blocks))


def write_bf16(model, path):
    """The model with all its matrices as BF16."""
    reader = gguf.GGUFReader(model)
    w = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            w.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1])
    bf16 = gguf.GGMLQuantizationType.BF16
    for t in reader.tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type)
        if len(t.shape) > 1:
            w.add_tensor(t.name, gguf.quants.quantize(values, bf16), raw_dtype=bf16)
        else:
            w.add_tensor(t.name, values)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", default=ROOT / "LICENSE")
    parser.add_argument("model", nargs="?")
    parser.add_argument("others", nargs="*")
    args = parser.parse_args()
    text, others, model = args.text, args.others, args.model or common.find_default_model()
    if model is None:
        print("skipped: the default model is not in the model folder; tools/fetch-default-model brings it")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        exact, packed = pathlib.Path(folder, "exact.f32"), pathlib.Path(folder, "packed.f32")
        ids = [t["id"] for t in run(text, model, exact, "--exact")["tokens"]]
        own = {}
        for cache_type in ("q16", "q8_0", "f16"):
            run(text, model, packed, "--cache-type", cache_type)
            own[cache_type] = compare(f"puna, {cache_type} keys", exact, packed, ids)
        for other in others:
            mean, error = difference(own["q16"], compare(other, exact, other, ids))
            print(f"puna, q16 keys, has {mean:+.6f} +- {error:.6f}")
            assert mean <= 2 * error, "Puna is further from its exact arithmetic than the other"
        if args.model is None:
            bf16_model = pathlib.Path(folder, "bf16.gguf")
            write_bf16(model, bf16_model)
            run(text, bf16_model, exact, "--exact")
            for numerics in ("portable", "bf16"):
                run(text, bf16_model, packed, "--numerics", numerics)
                own[numerics] = compare(f"BF16 weights, {numerics} numerics", exact, packed, ids)
    assert max(kl.mean() for kl in own.values()) < 0.01, "the quantised path is further from the exact one than it should be"


if __name__ == "__main__":
    main()
