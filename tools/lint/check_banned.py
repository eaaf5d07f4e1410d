#!/usr/bin/env python3
"""Functions that have no place in the tree, or only in one file of it."""
import re

import c_source

# Function names, the places of src/ where they may stand, and why nowhere else.
RULES = [
    ("sprintf vsprintf strcpy strcat strtok gets", [], "writes without a bound or keeps hidden state"),
    ("atoi atol atoll atof", [], "cannot report an error; use strtoull and friends"),
    ("rand srand random drand48", [], "use base/rng.h: every sequence owns its random stream"),
    ("alloca", [], "unbounded stack"),
    ("malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf posix_memalign "
     "aligned_alloc", ["src/base/mem.c"], "allocation goes through base/mem.h"),
    ("getenv secure_getenv setenv putenv", ["src/main.c"], "the environment is read once, in main.c"),
    ("exit _exit abort _Exit quick_exit", ["src/cmd/", "src/base/error.c", "src/main.c"],
     "libraries do not end the process"),
    ("printf puts putchar vprintf perror", ["src/cmd/", "src/main.c"], "libraries do not print"),
    ("expf exp exp2 exp2f expm1 logf log log2 log2f log10 log1p sinf sin cosf cos sincos tanf tan "
     "powf pow tanhf tanh", [], "its last bit depends on the machine; use base/fmath.h"),
]
# Tests may print, allocate and end; what is unsafe or not reproducible is banned there too.
BANNED_IN_TESTS = {"sprintf", "strcpy", "atoi", "rand", "alloca"}


def rules_for(path):
    for names, places, why in RULES:
        first = names.split()[0]
        if path.parts[0] == "src":
            if not any(str(path).startswith(place) for place in places):
                yield names.split(), why
        elif first in BANNED_IN_TESTS:
            yield names.split(), why


def check_file(path):
    text = c_source.blank(c_source.read(path))
    for names, why in rules_for(path):
        for match in re.finditer(rf"(?<![\w.>])({'|'.join(names)})\s*\(", text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match.group(1)}() is banned here: {why}"


def main():
    c_source.finish([p for path in c_source.files("src", "tests", "bench") for p in check_file(path)])


if __name__ == "__main__":
    main()
