#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/packed_file: a small file of packed weights and the same bent in each part.
Checksums are left wrong where they would need XXH3: fuzz_packed_file.c makes that of the head right."""
import pathlib
import struct

OUT = pathlib.Path(__file__).resolve().parent / "corpus/packed_file"
CHUNK, HEAD, ALIGNMENT = 256 * 1024, 88, 4096


def packed(n_bytes=100, magic=b"PUNApack", version=1, size=None, table=None, end=None):
    """n_bytes of weights; size: what the head says; end: cut off there."""
    n_chunks = -(-n_bytes // CHUNK)
    data = struct.pack("<8sQQ", magic, version, n_bytes if size is None else size)
    data += b"\1" * 16 + b"\2" * 16 + bytes(16) + b"\3" * 16
    data += bytes(16 * n_chunks) if table is None else table
    data += bytes(-len(data) % ALIGNMENT) + b"\x5a" * n_bytes
    return data[:end]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    files = {
        "good": packed(),
        "empty": b"",
        "no-weights": packed(0),
        "magic": packed(magic=b"PUNApacK"),
        "version-0": packed(version=0),
        "version-2": packed(version=2),
        "version-64-bits": packed(version=(1 << 32) + 1),
        "size-less": packed(size=99),
        "size-more": packed(size=101),
        "size-all": packed(size=(1 << 64) - 1),
        "size-wraps": packed(size=100 + (1 << 63)),
        "table-wraps": packed(size=1 << 62),
        "most-chunks": packed(size=((1 << 31) - 1) * CHUNK),
        "cut-in-magic": packed(end=5),
        "cut-in-head": packed(end=HEAD - 1),
        "cut-before-table": packed(end=HEAD),
        "cut-in-table": packed(end=HEAD + 8),
        "cut-in-padding": packed(end=HEAD + 16 + 1000),
        "cut-before-weights": packed(end=ALIGNMENT),
        "cut-in-weights": packed(end=ALIGNMENT + 50),
        "longer": packed() + b"\0",
    }
    # where, what is changed, weights: see read_changed
    for name, at in {"head": 24, "checksum": 60, "identity": 80, "table": 90, "padding": 200, "first": 4096,
                     "last": 4096 + 39}.items():
        files["change-" + name] = struct.pack("<IB", at, 0x10) + bytes(range(40))
    files["change-nothing"] = struct.pack("<IB", 0, 0) + bytes(range(40))
    for name, data in files.items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
