#!/usr/bin/env python3
"""Compares quant_dequantize with the Python package `gguf`, bit for bit, on random blocks.

    python3 tests/oracle/quant_compare.py [--blocks 1000000] [--seed 1] [--cc gcc] [--cflags=-O2]
Builds src/quant into a shared object in a temporary folder and calls it through ctypes.
"""
import argparse
import ctypes
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH_ITEMS = 1 << 22


def load_golden():
    spec = importlib.util.spec_from_file_location("golden", ROOT / "tests/golden/quant/make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(folder, cc, cflags):
    out = pathlib.Path(folder) / "libquant.so"
    sources = [ROOT / "src/quant/quant.c", ROOT / "src/quant/quant_k.c"]
    subprocess.run([cc, "-std=c17", "-shared", "-fPIC", "-ffp-contract=off", *cflags.split(),
                    f"-I{ROOT / 'src'}", "-o", out, *sources], check=True)
    lib = ctypes.CDLL(str(out))
    lib.quant_dequantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    lib.quant_dequantize.restype = None
    return lib


def compare(lib, golden, name, n_blocks, rng):
    """Number of values that differ in any bit."""
    ggml_type = GGMLQuantizationType[name]
    block_items, _ = GGML_QUANT_SIZES[ggml_type]
    n_different = 0
    while n_blocks > 0:
        n = min(n_blocks, BATCH_ITEMS // block_items)
        blocks = golden.random_blocks(name, n, rng)
        got = np.empty(n * block_items, dtype=np.float32)
        lib.quant_dequantize(int(ggml_type), blocks.ctypes.data, got.ctypes.data, got.size)
        want = golden.expected(name, blocks)
        n_different += int((got.view(np.uint32) != want.view(np.uint32)).sum())
        n_blocks -= n
    return n_different


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cflags", default="-O2")
    args = parser.parse_args()
    golden = load_golden()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        lib = build(folder, args.cc, args.cflags)
        for name in golden.F16_FIELDS:
            n_different = compare(lib, golden, name, args.blocks, np.random.default_rng(args.seed))
            print(f"{name:7} {args.blocks} blocks, {n_different} values differ", flush=True)
            failed |= n_different != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
