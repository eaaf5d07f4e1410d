#!/usr/bin/env python3
"""Includes point downwards only: LAYERS is the drawing of docs/ARCHITECTURE.md as a table.

A folder may include itself, what it names here, and what those may include. Files are included by
folder and name ("base/error.h"), and a file's name stands for one file in the whole tree. NAME_internal.h is
for its folder's files, and for the unit test of NAME; those of kern/ for tests/check and tests/bare, too."""
import collections
import re

import c_source

LAYERS = {
    "base": [],
    "quant": ["base"],
    "format": ["quant"],
    "token": ["format"],
    "kern": ["quant"],
    "model": ["kern", "format"],
    "chat": ["model", "token", "schema"],
    "schema": ["model", "token"],
    "guard": ["model", "token"],
    "engine": ["model", "chat", "schema", "guard"],
    "store": ["base"],
    "serve": ["engine", "store"],
    "cmd": ["serve"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def allowed(layer):
    """The layer itself and all below it."""
    found, waiting = set(), [layer]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += LAYERS[name]
    return found


def check_file(path):
    text = c_source.read(path)
    layer = path.parts[1] if len(path.parts) > 2 else "cmd"  # main.c is the table of cmd/
    if layer not in LAYERS:
        yield f"{path}: folder '{layer}' is not in the table of tools/lint/check_includes.py"
        return
    for match in INCLUDE.finditer(text):
        target = match.group(1)
        line = text.count("\n", 0, match.start(1)) + 1
        if "/" not in target:
            yield f'{path}:{line}: include "{target}" lacks its folder'
        elif not (c_source.ROOT / "src" / target).is_file():
            yield f'{path}:{line}: "{target}" does not exist'
        elif target.split("/")[0] not in allowed(layer):
            yield f'{path}:{line}: {layer}/ may not include "{target}"'
        elif is_internal(target) and target.split("/")[0] != layer:
            yield f'{path}:{line}: "{target}" is for the files of its folder'


def is_internal(target):
    return target.endswith("_internal.h")


def check_user(path):
    """A test or a program of bench/."""
    text = c_source.read(path)
    for match in INCLUDE.finditer(text):
        target = match.group(1)
        line = text.count("\n", 0, match.start(1)) + 1
        if "/" in target and not (c_source.ROOT / "src" / target).is_file():
            yield f'{path}:{line}: "{target}" does not exist'
        elif path.parent.name in ("check", "bare") and target.startswith("kern/"):
            continue
        elif is_internal(target) and f"test_{target.split('/')[1].removesuffix('_internal.h')}.c" != path.name:
            yield f'{path}:{line}: "{target}" is for the files of its folder and their unit test'


def check_names(paths):
    places = collections.defaultdict(list)
    for path in paths:
        places[path.name].append(str(path))
    for name, found in sorted(places.items()):
        if len(found) > 1:
            yield f"{name}: several files have this name: {', '.join(found)}"


def main():
    problems = [p for path in c_source.files("src") for p in check_file(path)]
    problems += [p for path in c_source.files("tests", "bench") for p in check_user(path)]
    c_source.finish(problems + list(check_names(c_source.files("src", "tests", "bench"))))


if __name__ == "__main__":
    main()
