#!/usr/bin/env python3
"""Writes the seeds of fuzz_gguf into tests/fuzz/corpus/gguf: small files made by the `gguf` package
(so by another writer than ours), and the same cut or bent at the places where a reader goes wrong.
Needs gguf and numpy. Files named found-* in that folder come from fuzzing, not from here."""

import pathlib
import struct

import gguf
import numpy as np

OUT = pathlib.Path(__file__).parent / "corpus" / "gguf"
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K",
         "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]


def write(name, fill, has_tensors=True, **options):
    path = OUT / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, "llama", **options)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    if has_tensors:
        writer.write_tensors_to_file()
    else:
        writer.write_ti_data_to_file()
    writer.close()
    return path.read_bytes()


def add_values(writer):
    writer.add_uint8("v.u8", 255)
    writer.add_int8("v.i8", -1)
    writer.add_uint16("v.u16", 65535)
    writer.add_int16("v.i16", -2)
    writer.add_uint32("v.u32", 2**32 - 1)
    writer.add_int32("v.i32", -3)
    writer.add_uint64("v.u64", 2**64 - 1)
    writer.add_int64("v.i64", -4)
    writer.add_float32("v.f32", 1.5)
    writer.add_float64("v.f64", -1e300)
    writer.add_bool("v.bool", True)
    writer.add_string("v.string", "Lama \U0001f999")
    writer.add_array("a.strings", ["<s>", "", "\u2581the"])
    writer.add_array("a.ints", [1, -2, 3])
    writer.add_array("a.floats", [0.5, -0.25])
    writer.add_array("a.bools", [True, False])


def add_vocabulary(writer):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([chr(c) for c in range(33, 127)])
    writer.add_token_types([1] * 94)
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)


def add_one_of_each_type(writer):
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
        items = 256 if block > 1 else 4
        data = np.zeros((1, items // block * n_bytes), dtype=np.uint8)
        writer.add_tensor(f"t.{name}", data, raw_dtype=kind)


def add_shapes(writer):
    writer.add_tensor("d1", np.arange(7, dtype=np.float32))
    writer.add_tensor("d3", np.zeros((2, 3, 4), dtype=np.float16))
    writer.add_tensor("d4", np.zeros((2, 1, 2, 2), dtype=np.float32))


def add_large_alignment(writer):
    writer.add_custom_alignment(128)
    add_shapes(writer)


def add_split_keys(writer):
    writer.add_uint16("split.no", 0)
    writer.add_uint16("split.count", 1)
    writer.add_int32("split.tensors.count", 3)
    add_shapes(writer)


def refused_type(name):
    """One tensor of a type that GGML has and Puna has not."""
    kind = gguf.GGMLQuantizationType[name]
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
    head += struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 256, kind, 0)
    return head.ljust(64, b"\0") + bytes(1024)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    values = write("values", add_values, has_tensors=False)
    write("vocabulary", add_vocabulary, has_tensors=False)
    types = write("types", add_one_of_each_type)
    shapes = write("shapes", add_shapes)
    write("alignment", add_large_alignment)
    write("split-of-one", add_split_keys)
    big = write("big-endian", add_shapes, endianess=gguf.GGUFEndian.BIG)
    assert big[4:8] == b"\0\0\0\3"
    bent = {
        "version-2": shapes[:4] + struct.pack("<I", 2) + shapes[8:],
        "version-1": shapes[:4] + struct.pack("<I", 1) + shapes[8:],
        "cut-in-key": values[: len(values) // 3],
        "cut-in-strings": values[: values.index(b"a.strings") + 40],
        "cut-in-table": types[: types.index(b"t.Q5_1") + 9],
        "cut-in-data": types[:-16],
        "many-keys": shapes[:16] + struct.pack("<Q", 65536) + shapes[24:],
        "many-tensors": shapes[:8] + struct.pack("<Q", 2**63) + shapes[16:],
        "refused-type": refused_type("IQ2_XXS"),
        "zip": b"PK\3\4" + bytes(60),
        "empty": b"",
    }
    for name, data in bent.items():
        (OUT / f"{name}.gguf").write_bytes(data)


if __name__ == "__main__":
    main()
