#!/usr/bin/env python3
"""Compares ids with llama.cpp's program `llama-tokenize` (its path is the argument) on random texts
with special tokens among them: with and without parsing those, with and without BOS; SPM's spaces
around special tokens are llama.cpp's own rule. Vocabularies: tests/golden/token, and the default
model where it is in the model folder."""
import argparse
import json
import random
import subprocess
import sys

import token_common as common
from program import PUNA, ROOT

WORDS = ["a", " ", "  ", "Hello", "\n", "llama", "1234", "é", "ลามา", "'s", "🦙", "\t", "==>", "<|", "▁"]


def theirs(program, model, text, special, bos):
    command = [program, "-m", model, "--ids", "--stdin", "--log-disable"]
    command += ([] if bos else ["--no-bos"]) + ([] if special else ["--no-parse-special"])
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--texts", type=int, default=40, help="random texts a vocabulary")
    args = parser.parse_args()
    folder = ROOT / "tests/golden/token"
    models = [(folder / "spm.gguf", ["<s>", "</s>", "<unk>"]),
              (folder / "bpe.gguf", ["<|im_end|>", "<|im_start|>", "==>"])]
    if common.find_default_model():
        models.append((common.find_default_model(), ["<|im_end|>", "<|im_start|>", "<repo_name>"]))
    rng = random.Random(9)
    n = wrong = 0
    for model, names in models:
        for _ in range(args.texts):
            text = "".join(rng.choices(WORDS + names, k=rng.randint(1, 12)))
            for special in (False, True):
                for bos in (False, True):
                    options = ["--special"] * special + ["--no-bos"] * (not bos)
                    ours = common.puna_one(PUNA, model, text, *options)["ids"]
                    other = theirs(args.program, str(model), text, special, bos)
                    n += 1
                    if ours != other:
                        wrong += 1
                        print(f"DIFFERS {model.name} {text!r} {options}: {ours}, theirs {other}")
    print(f"llama.cpp: {n} comparisons, {wrong} differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
