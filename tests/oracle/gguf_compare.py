#!/usr/bin/env python3
"""Compares `puna inspect --json --arrays` with the Python package `gguf` on the files named: metadata
values, tensor names, types, dimensions, sizes and offsets. Without files it takes the good files of
the fuzz corpus; in both cases also a model that the package itself splits into shards.
Usage: gguf_compare.py PUNA [FILE]...   Needs gguf and numpy. Exit code 1 and a list when they differ."""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

CORPUS = pathlib.Path(__file__).parent.parent / "fuzz" / "corpus" / "gguf"
GOOD = ["alignment", "shapes", "split-of-one", "types", "values", "version-2", "vocabulary"]


def inspect(puna, path):
    done = subprocess.run([puna, "inspect", "--json", "--arrays", str(path)], capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{path}: exit code {done.returncode}: {done.stderr.decode()}")
    return json.loads(done.stdout)


def same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return b == "NaN"
    return type(a) is type(b) and a == b


def compare(path, ours, differences):
    reader = gguf.GGUFReader(path)
    theirs = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    n_checks = 2
    if list(theirs) != list(ours["metadata"]):
        differences.append(f"{path}: keys {list(theirs)} != {list(ours['metadata'])}")
    if reader.fields["GGUF.version"].contents() != ours["version"]:
        differences.append(f"{path}: version {ours['version']}")
    for key, value in theirs.items():
        n_checks += len(value) if isinstance(value, list) else 1
        if not same(value, ours["metadata"].get(key)):
            differences.append(f"{path}: {key}: {value!r:.80} != {ours['metadata'].get(key)!r:.80}")
    if len(reader.tensors) != len(ours["tensors"]):
        differences.append(f"{path}: {len(reader.tensors)} != {len(ours['tensors'])} tensors")
    for t, o in zip(reader.tensors, ours["tensors"]):
        expected = {"name": t.name, "type": t.tensor_type.name, "dims": [int(d) for d in t.shape],
                    "bytes": int(t.n_bytes), "split": 0, "offset": int(t.data_offset)}
        n_checks += len(expected)
        if o != expected:
            differences.append(f"{path}: {expected} != {o}")
    return n_checks


def compare_split(puna, differences):
    """Five tensors written by the package in shards of two."""
    with tempfile.TemporaryDirectory() as folder:
        writer = gguf.GGUFWriter(pathlib.Path(folder) / "m.gguf", "llama", split_max_tensors=2)
        expected = []
        for i in range(5):
            data = np.full((i + 1, 32), i, dtype=np.float32)
            writer.add_tensor(f"t.{i}", data)
            expected.append((f"t.{i}", "F32", [32, i + 1], data.nbytes, i // 2))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        names = sorted(p.name for p in pathlib.Path(folder).iterdir())
        ours = inspect(puna, pathlib.Path(folder) / names[0])
        got = [(t["name"], t["type"], t["dims"], t["bytes"], t["split"]) for t in ours["tensors"]]
        if got != expected or ours["splits"] != len(names):
            differences.append(f"split {names}: {expected} != {got}")
        for t in ours["tensors"]:
            raw = np.fromfile(pathlib.Path(folder) / names[t["split"]], dtype=np.float32,
                              count=t["bytes"] // 4, offset=t["offset"])
            if not (raw == float(t["name"][2:])).all():
                differences.append(f"split: data of {t['name']} is not at offset {t['offset']}")
    return 2 * len(expected) + 1


def main():
    puna = sys.argv[1]
    paths = [pathlib.Path(p) for p in sys.argv[2:]] or [CORPUS / f"{n}.gguf" for n in GOOD]
    differences = []
    n_checks = compare_split(puna, differences)
    for path in paths:
        n_checks += compare(path, inspect(puna, path), differences)
    print("\n".join(differences), end="\n" if differences else "")
    print(f"{len(paths)} files and a split model: {n_checks} values, {len(differences)} differ")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
