#!/usr/bin/env python3
"""Writes TYPE.bin beside this script: the golden of quant_dequantize for every supported type.

A file is n_blocks * block_bytes of input, then n_blocks * block_items f32 of expected values, as
the Python package `gguf` computes them. Blocks are random bytes; their f16 scales walk through
extremes (zero, negative zero, denormals, largest finite) and random finite values. No NaN or
infinity, because their payloads are no part of the promise.
    python3 make.py            (needs gguf and numpy, see tests/requirements.txt)
"""
import pathlib
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# byte offsets of the f16 fields in a block
F16_FIELDS = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "F16": [0], "BF16": [], "F32": [],
}
EXTREMES = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00,
                     0xBC00, 0x2E66], dtype=np.uint16)


def random_blocks(name, n_blocks, rng):
    """(n_blocks, block_bytes) uint8, every float field finite."""
    block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = rng.integers(0, 256, (n_blocks, block_bytes), dtype=np.uint8)
    if name in ("F32", "BF16"):
        high = blocks[:, -2:].copy().view(np.uint16)[:, 0]
        high[(high & 0x7F80) == 0x7F80] &= 0xBFFF  # clear an exponent bit: finite
        n = min(n_blocks, 6)
        high[:n] = [0x0000, 0x8000, 0x0001, 0x8001, 0x7F7F, 0xFF7F][:n]
        blocks[:, -2:] = high[:, None].view(np.uint8)
        return blocks
    for i, offset in enumerate(F16_FIELDS[name]):
        d = blocks[:, offset:offset + 2].copy().view(np.uint16)[:, 0]
        d[(d & 0x7C00) == 0x7C00] &= 0xBFFF
        n = min(n_blocks, len(EXTREMES))
        d[:n] = np.roll(EXTREMES, 5 * i)[:n]
        blocks[:, offset:offset + 2] = d[:, None].view(np.uint8)
    return blocks


def expected(name, blocks):
    """(n_blocks * block_items) f32"""
    flat = np.ascontiguousarray(blocks).reshape(1, -1)
    return dequantize(flat, GGMLQuantizationType[name]).reshape(-1).astype(np.float32)


def main():
    folder = pathlib.Path(__file__).parent
    for name in F16_FIELDS:
        block_items = GGML_QUANT_SIZES[GGMLQuantizationType[name]][0]
        n_blocks = {1: 512, 32: 24, 256: 12}[block_items]
        blocks = random_blocks(name, n_blocks, np.random.default_rng(list(name.encode())))
        values = expected(name, blocks)
        assert np.isfinite(values).all(), name
        (folder / f"{name}.bin").write_bytes(blocks.tobytes() + values.astype("<f4").tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
