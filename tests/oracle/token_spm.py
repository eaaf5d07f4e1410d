#!/usr/bin/env python3
"""Compares SPM ids with `sentencepiece`: models with Llama 2's settings are trained here, written as
GGUF, and asked about every code point in several contexts and about mixed text. One model has byte
fallback, one has the unknown token instead, one adds no space prefix."""
import itertools
import pathlib
import random
import sys
import tempfile

import token_common as common

MODELS = {
    "byte fallback": dict(vocab_size=8000),
    "unknown token": dict(vocab_size=3000, byte_fallback=False),
    "no space prefix": dict(vocab_size=3000, add_dummy_prefix=False),
}


def compare(puna, model, sp, texts):
    n = n_bytes = wrong = 0
    texts = iter(texts)
    while part := list(itertools.islice(texts, 20000)):
        ours = common.puna_batch(puna, model, part, "--no-bos")
        for text, mine, other in zip(part, ours, sp.encode(part), strict=True):
            n += 1
            n_bytes += len(text.encode())
            if mine["ids"] != other:
                wrong += 1
                if wrong <= 5:
                    print(f"  DIFFERS {text[:200]!r}\n    ours   {mine['ids'][:40]}"
                          f"\n    theirs {other[:40]}")
    return n, n_bytes, wrong


def main():
    args = common.arguments(__doc__)
    mixed = common.mixed_texts(args.bytes)
    messages = common.language_texts(200_000, random.Random(2))
    sentences = [line for text in messages for line in text.splitlines() if line.strip()]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "vocab.gguf"
        for name, options in MODELS.items():
            sp = common.train_spm(sentences, **options)
            prefix = options.get("add_dummy_prefix", True)
            common.write_spm(out, sp, add_space_prefix=prefix)
            nul = common.puna_one(args.puna, out, "a\0b \0", "--no-bos")["ids"]
            failed += nul != sp.encode("a\0b \0")
            for what, texts in (("code points", common.context_texts(args.step)),
                                ("mixed text", mixed)):
                n, n_bytes, wrong = compare(args.puna, out, sp, texts)
                print(f"spm, {name}, {what}: {n} texts, {n_bytes} bytes, {wrong} differ",
                      flush=True)
                failed += wrong
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
