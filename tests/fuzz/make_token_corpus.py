#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/token: texts in front of small vocabularies (see fuzz_token.c)."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cli"))
from gguf_file import BOOL, F32, I32, STRING, U32, gguf

OUT = HERE / "corpus/token"
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def vocabulary(**keys):
    return gguf([("tokenizer.ggml." + k, *v) for k, v in keys.items()])


def bpe(pre, tokens, merges, kinds, **more):
    return vocabulary(model=(STRING, "gpt2"), pre=(STRING, pre), tokens=(STRING, tokens),
                      merges=(STRING, merges), token_type=(I32, kinds), **more)


def spm(tokens, scores, kinds, **more):
    return vocabulary(model=(STRING, "llama"), tokens=(STRING, tokens), scores=(F32, scores),
                      token_type=(I32, kinds), **more)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    letters = ["a", "b", "c", "Ġ", "'", "1", "ab", "Ġa", "abc", "<|im_end|>", "<u>", "aa", "aaaa"]
    kinds = [1] * 9 + [3, 4, 1, 1]
    merges = ["a b", "Ġ a", "ab c", "a a", "aa aa"]
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "a▁", "▁▁", "<u>"]
    types = [2, 3, 3] + [1] * 7 + [4]
    with_bytes = spm(pieces + BYTES, [float(-i) for i in range(11 + 256)], types + [6] * 256)
    files = {
        "llama3": b"abc 'll a<|im_end|>111 \n <u>" + b"\0" + bpe("llama3", letters, merges, kinds),
        "smollm": b"aaaaaaa  1\xe2\x82\xac\xff\n" + b"\0" + bpe("smollm", letters, merges, kinds),
        "gpt2": b"it's  \t\n 12a" + b"\0" + bpe("gpt-2", letters, merges, kinds,
                                               bos_token_id=(U32, 9), add_bos_token=(BOOL, True)),
        "default": b"a. 1234567 $$ b" + b"\0" + bpe("default", letters, merges, kinds),
        "spm": "a b▁a  ab</s>é<u>\n".encode() + b"\0" + with_bytes,
        "spm-unknown": "éé a<s>".encode() + b"\0" + spm(pieces, [float(-i) for i in range(11)], types),
        "bad-merge": b"a\0" + bpe("llama3", letters, ["a x"], kinds),
        "bad-kinds": b"a\0" + bpe("llama3", letters, merges, kinds[1:]),
    }
    for name, data in files.items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
