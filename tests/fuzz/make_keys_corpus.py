#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/keys: command lines of puna keys (see fuzz_keys.c)."""
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/keys"
ID, SECRET = "\x01", "\x02"
CASES = {
    "life": ["add --name n", "list", f"show {ID}", f"limit {ID} --rpm 5", f"rotate {ID} --grace 5m", f"revoke {ID}",
             f"rotate {ID}", "list --json"],
    "all-limits": ["add --json --name=é --scope chat --scope keys --expires 30d --model m --model n "
                   "--origin https://A.example:444 --rpm 1 --tpm 4294967294 --concurrent 7 --priority high",
                   f"show {ID}", f"show {ID} --json", f"limit {ID} --rpm none --tpm none --concurrent none "
                   "--expires none --model none --origin none --priority low --json", f"revoke {ID} --json"],
    "scopes": [f"add --scope {s}" for s in ("inference", "all", "metrics", "embeddings", "tokenize", "none")],
    "times": [f"add --expires {t}" for t in ("90s", "2w", "0s", "1y", "99999999999w", "-1s", "1", "s", "5200w")],
    "numbers": [f"add --{o}" for o in ("rpm 0", "rpm 4294967295", "tpm -1", "tpm x", "concurrent 1e3", "priority urgent",
                                       "rpm ", "tpm  5")],
    "texts": ["add --name a\tb", "add --name " + "é" * 101, "add --name \udcff", "add --model none --model m", "add --model m"
              " --model none", "add --name  --model " + "m" * 513],
    "items": ["add " + " ".join(["--model m"] * 11), "add " + " ".join(["--origin https://a.example"] * 11)],
    "origins": [f"add --origin {o}" for o in ("null", "a.example", "https://a.example/", "http://[::1]:80", "https:\u002f/é",
                                              "https:\u002f/u@a.example", "https://a.example:0")],
    "secrets": ["add", f"show {SECRET}", f"{SECRET}", f"limit {ID} {SECRET}", f"add {SECRET}", f"revoke {SECRET}x"],
    "verbs": ["", "nothing", "add surplus", "show", "list x", "limit", "show 0123456789ab", "show 0123456789aB", "--help"],
    "unused": ["list --rpm 5", "add --grace 5s", f"revoke {ID} --name n", f"rotate {ID} --grace", "show --unknown x", "-x"],
    "after-dashes": ["add -- --json", "-- add", "add --json=1", "add --js"],
}

OUT.mkdir(parents=True, exist_ok=True)
for name, lines in CASES.items():
    (OUT / name).write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
