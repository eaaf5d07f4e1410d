#!/usr/bin/env python3
"""Speed of `puna tokenize` and of tiktoken (and Hugging Face tokenizers) on the same text, one
thread each, with Llama 3's vocabulary: runs interleaved, medians of CPU time printed as MB/s (CPU
time, so that a busy machine does not decide). Then the same for
1 MB runs of one letter and of random letters, where a quadratic merge would show.

--llama3 is Llama 3's tokenizer.model; by default that of the Python package llama-models."""
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/oracle"))
import token_common as common
import token_hf

RUNS = 7


def time_puna(puna, model, data):
    command = [puna, "tokenize", "--time", "--batch", "--no-bos", str(model)]
    out = json.loads(subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout)
    return out["cpu_seconds"], out["tokens"]


def time_python(encode, texts):
    start = time.thread_time()
    n = sum(len(encode(t)) for t in texts)
    return time.thread_time() - start, n


def measure(name, args, model, encoding, reference, texts):
    data = b"\0".join(t.encode() for t in texts)
    rows = {"puna": [], "tiktoken": [], "tokenizers": []}
    encode_hf = lambda t: reference.encode(t, add_special_tokens=False).ids
    counts = set()
    for run in range(RUNS):
        runs = {"puna": time_puna(args.puna, model, data),
                "tiktoken": time_python(encoding.encode_ordinary, texts)}
        if run < 3:
            runs["tokenizers"] = time_python(encode_hf, texts)
        for who, (seconds, n) in runs.items():
            rows[who].append(len(data) / 1e6 / seconds)
            counts.add(n)
    assert len(counts) == 1, counts
    speeds = {who: statistics.median(v) for who, v in rows.items()}
    spread = {who: f"{min(v):.1f}-{max(v):.1f}" for who, v in rows.items()}
    print(f"{name:28} {len(data) / 1e6:6.2f} MB " + "  ".join(
        f"{who} {speeds[who]:7.2f} MB/s ({spread[who]})" for who in rows)
        + f"  puna/tiktoken {speeds['puna'] / speeds['tiktoken']:.2f}", flush=True)


def main():
    args = common.arguments(__doc__, llama3=common.find_llama3)
    if not args.llama3:
        sys.exit("no tokenizer.model: install the Python package llama-models, or name it with --llama3")
    rng = random.Random(3)
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "llama3.gguf"
        reference, encoding = token_hf.llama3(args.llama3, model)
        mixed = common.mixed_texts(args.bytes)
        english = common.english_texts(args.bytes // 2)
        measure("mixed, texts of 4 kB", args, model, encoding, reference, mixed)
        measure("English, texts of 4 kB", args, model, encoding, reference, english)
        short = [m for t in english for m in t.split("\n") if m][:20000]
        measure("English, single lines", args, model, encoding, reference, short)
        measure("1 MB of 'a'", args, model, encoding, reference, ["a" * 1_000_000])
        letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
        measure("1 MB of random letters", args, model, encoding, reference, [letters])


if __name__ == "__main__":
    main()
