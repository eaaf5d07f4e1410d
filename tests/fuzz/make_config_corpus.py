#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/config: what puna serve is told by its environment and by a file of options (see
fuzz_config.c)."""
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/config"
CASES = {
    "file": ("", "# of a server\nmodel = a b.gguf\nhost = 127.0.0.1\nhost = unix:/run/puna\nport=8081\n\n  parallel = 4  \n"
                 "alias = x\nalias=y\ncors-origin = https://a.example\nlog = json\nno-prefix-cache = true\n"),
    "variables": ("PUNA_SERVE_PORT=9\nPUNA_SERVE_ALIAS=x , y,z\nPUNA_SERVE_NO_PREFIX_CACHE=false\nHOME=/x\n"
                  "PUNA_SERVE_MODEL=m", ""),
    "both": ("PUNA_SERVE_PORT=9\nPUNA_SERVE_ALIAS=x", "port = 10\nalias = y\n"),
    "not-for-a-file": ("PUNA_SERVE_MODEL= a \nPUNA_SERVE_ALIAS=a\x01b", ""),
    "unknown-variable": ("PUNA_SERVE_PROT=9", ""),
    "no-value": ("PUNA_SERVE_PORT", ""),
    "long-name": ("PUNA_SERVE_" + "A" * 80 + "=1", ""),
    "lower-case": ("PUNA_SERVE_port=1", ""),
    "unknown": ("", "prot = 9\n"),
    "far-name": ("", "something-else-entirely = 9\n"),
    "twice": ("", "port = 1\nport = 2\n"),
    "own-place": ("", "config = a\n"),
    "print": ("", "print-config = true\n"),
    "flag": ("", "no-prefix-cache = yes\n"),
    "number": ("", "port = 65536\n"),
    "negative": ("", "parallel = -1\n"),
    "size": ("", "cache-limit = 64G\ncache-min = 5X\n"),
    "all-kinds": ("", "pooling = last\ncontent-filter = block\ncpu = ref\nnumerics = bf16\nctx = 512\nthreads = 3\n"
                      "batch-size = 8\ncache-type = q8_0\ndrain-timeout = 1\nqueue = 5\nexact = false\n"),
    "no-equals": ("", "port 8080\n"),
    "comment-behind": ("", "port = 8080 # here\n"),
    "carriage-returns": ("", "port = 8080\r\nhost = ::1\r\n"),
    "many": ("", "alias = a\n" * 70),
    "not-utf8": ("", "alias = \udcff\n"),
    "empty": ("", ""),
}

OUT.mkdir(parents=True, exist_ok=True)
for name, (variables, text) in CASES.items():
    (OUT / name).write_bytes(f"{variables}\0{text}".encode("utf-8", "surrogateescape"))
