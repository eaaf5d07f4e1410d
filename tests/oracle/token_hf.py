#!/usr/bin/env python3
"""Compares ids and splits of byte-level BPE with Hugging Face `tokenizers` (and, for Llama 3, ids
with `tiktoken`): every code point in several contexts, then mixed text.

--llama3 is Llama 3's tokenizer.model; by default that of the Python package llama-models, if it is
installed. --smollm is the default model's GGUF file; by default the one in the model folder. The
other pre-tokenisers are tested with that vocabulary too, or with Llama 3's if it is absent. Without
llama-models, Llama 3's is reported as skipped; without both the exit code is 77."""
import base64
import itertools
import json
import pathlib
import random
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


def llama3_merges(ranks):
    """All pairs of tokens that make a token, in order of what they make: as `transformers` derives
    the merges of tokenizer.json from tiktoken's ranks."""
    merges = []
    for token, rank in ranks.items():
        cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
        pairs = [(ranks[a], ranks[b], a, b) for a, b in cuts if a in ranks and b in ranks]
        merges += [(rank, *pair) for pair in sorted(pairs)]
    return [(a, b) for _, _, _, a, b in sorted(merges, key=lambda m: m[0])]


def llama3_specials(first):
    reserved = (f"<|reserved_special_token_{i}|>" for i in itertools.count())
    names = ["<|begin_of_text|>", "<|end_of_text|>", next(reserved), next(reserved),
             "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>", "<|end_header_id|>",
             "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", "<|image|>"]
    names += itertools.islice(reserved, 256 - len(names))
    return {name: first + i for i, name in enumerate(names)}


def llama3(path, out):
    """The reference made of Llama 3's tokenizer.model, tiktoken beside it, and a GGUF file. Where
    tokenizer.json lies in the same folder, its vocabulary and merges must be equal."""
    import tiktoken

    path = pathlib.Path(path)
    ranks = {}
    for line in path.read_text().splitlines():
        text, rank = line.split()
        ranks[base64.b64decode(text)] = int(rank)
    spell = bytes_to_text()
    vocab = {spell(token): rank for token, rank in ranks.items()}
    merges = [(spell(a), spell(b)) for a, b in llama3_merges(ranks)]
    check_json(path.with_name("tokenizer.json"), vocab, merges)
    specials = llama3_specials(len(vocab))
    tokens = [*vocab, *specials]
    common.write_vocab(out, "gpt2", tokens, [NORMAL] * len(vocab) + [CONTROL] * len(specials),
                       pre="llama-bpe", merges=[f"{a} {b}" for a, b in merges],
                       bos_token_id=specials["<|begin_of_text|>"],
                       eos_token_id=specials["<|eot_id|>"])
    reference = Tokenizer(BPE(vocab, merges, ignore_merges=True))
    reference.pre_tokenizer = pre_tokenizers.Sequence([isolated(LLAMA3), byte_level(False)])
    reference.add_special_tokens(list(specials))
    encoding = tiktoken.Encoding("llama3", pat_str=LLAMA3, mergeable_ranks=ranks,
                                 special_tokens=specials)
    return reference, encoding


def bytes_to_text():
    """A function that spells bytes in the alphabet of byte-level vocabularies."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in plain]
    table = {b: chr(b) for b in plain} | {b: chr(0x100 + i) for i, b in enumerate(rest)}
    assert set(table.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    return lambda data: "".join(table[b] for b in data)


def check_json(path, vocab, merges):
    if path.exists():
        model = json.loads(path.read_text())["model"]
        theirs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        assert model["vocab"] == vocab and theirs == merges and model["ignore_merges"]


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


def check_specials(args, model, reference, encoding):
    """Names of special tokens in text: tokens with --special, as tokenizers has them; text without,
    as tiktoken's encode_ordinary. Number of texts that differ."""
    rng = random.Random(5)
    names = [*encoding._special_tokens, "<|", "|>", "<|eot_id", "eot_id|>", " ", "\n", "a", "Hello"]
    texts = ["".join(rng.choices(names, k=rng.randint(1, 20))) for _ in range(5000)]
    wrong = 0
    for options, encode in (["--special"], lambda t: reference.encode(t).ids), ([], encoding.encode_ordinary):
        ours = common.puna_batch(args.puna, model, texts, "--no-bos", *options)
        wrong += sum(mine["ids"] != encode(t) for t, mine in zip(texts, ours, strict=True))
    print(f"llama3 names of special tokens: {len(texts)} texts, {wrong} differ", flush=True)
    return wrong


def check(name, args, model, reference, encoding):
    """Number of texts that differ, in all."""
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
    args = common.arguments(__doc__, llama3=common.find_llama3, smollm=common.find_default_model)
    if not args.llama3 and not args.smollm:
        print("skipped: neither the package llama-models nor the default model is here")
        sys.exit(77)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        first, out = pathlib.Path(folder) / "llama3.gguf", pathlib.Path(folder) / "vocab.gguf"
        if args.llama3:
            reference, encoding = llama3(args.llama3, first)
            results["special tokens"] = check_specials(args, first, reference, encoding)
            results["llama3"] = check("llama3", args, first, reference, encoding)
        vocab = read_vocab(args.smollm or first)
        for name in PRE_TOKENIZERS:
            reference = with_pre(name, vocab, out)
            results[name] = check(name, args, out, reference, None)
    if not args.llama3:
        print("SKIPPED Llama 3's vocabulary: the Python package llama-models is not installed")
    failed = sum(map(bool, results.values()))
    print(f"{len(results) - failed} passed, {failed} failed, {0 if args.llama3 else 1} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
