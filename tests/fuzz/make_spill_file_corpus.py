#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/spill_file: a small file of a page and the same bent in each part. The checksum would
need XXH3 and is left wrong: fuzz_spill_file.c makes it right."""
import pathlib
import struct

OUT = pathlib.Path(__file__).resolve().parent / "corpus/spill_file"
HEAD, PAGE, TOKENS = 72, 96, 64


def page(magic=b"PUNApage", version=1, salt=5, n_tokens=TOKENS, said=None, n_page=PAGE, page_said=None, end=None):
    """said: the number of tokens that the head tells; end: cut off there."""
    data = struct.pack("<8sQ", magic, version) + b"\1" * 16
    data += struct.pack("<QQQ", salt, n_tokens if said is None else said, n_page if page_said is None else page_said)
    data += b"\2" * 16 + struct.pack(f"<{n_tokens}I", *range(n_tokens)) + bytes(range(n_page))
    return data[:end]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    files = {
        "good": page(),
        "empty": b"",
        "no-tokens": page(n_tokens=0),
        "magic": page(magic=b"PUNApack"),
        "version-0": page(version=0),
        "version-2": page(version=2),
        "version-64-bits": page(version=(1 << 32) + 1),
        "salt": page(salt=(1 << 64) - 1),
        "tokens-less": page(said=TOKENS - 1),
        "tokens-more": page(said=TOKENS + 1),
        "tokens-all": page(said=(1 << 64) - 1),
        "tokens-wrap": page(said=TOKENS + (1 << 62)),
        "page-less": page(page_said=PAGE - 1),
        "page-more": page(page_said=PAGE + 1),
        "page-none": page(page_said=0),
        "page-all": page(page_said=(1 << 64) - 1),
        "page-short": page(n_page=PAGE - 1),
        "page-long": page(n_page=PAGE + 1),
        "cut-in-magic": page(end=5),
        "cut-in-head": page(end=HEAD - 1),
        "cut-before-tokens": page(end=HEAD),
        "cut-in-tokens": page(end=HEAD + 7),
        "cut-before-page": page(end=HEAD + 4 * TOKENS),
        "cut-in-page": page(end=HEAD + 4 * TOKENS + 50),
        "longer": page() + b"\0",
    }
    # where and what is changed, then the page: see read_changed
    for name, at in {"magic": 0, "version": 8, "maker": 16, "salt": 32, "tokens": 40, "size": 48, "checksum": 60,
                     "token": HEAD + 100, "page": HEAD + 4 * TOKENS, "last": HEAD + 4 * TOKENS + PAGE - 1}.items():
        files["change-" + name] = struct.pack("<IB", at, 0x10) + bytes(range(PAGE))
    files["change-nothing"] = struct.pack("<IB", 0, 0) + bytes(range(PAGE))
    for name, data in files.items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
