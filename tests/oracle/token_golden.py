#!/usr/bin/env python3
"""Writes tests/golden/token: small vocabularies trained here with `tokenizers` and `sentencepiece`
on the sentences below, as GGUF files, and what those libraries make of some texts.

NAME.gguf is the vocabulary; NAME.cases has lines of hexadecimal text, tab, ids by commas.
splits.cases has lines of pre-tokeniser, tab, hexadecimal text, tab, lengths of the splits."""
import json
import pathlib
import random

from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE

import token_common as common
import token_hf

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/token"

SENTENCES = """The llamas walk over the high grassland; the wind is cold and the stars are bright.
It's late, they're tired, we've walked 12 miles, I'm hungry, you'll see, he'd gone. IT'S SO, WE'LL GO.
Die Lamas gehen über die weite Hochebene, während der kalte Wind über die Gräser weht.
Les lamas marchent à travers la prairie élevée; où est l'été? C'était déjà l'hiver, là-bas.
I lama camminano sull'altopiano: perché è così freddo? Più tardi arriverà il sole, forse.
As lhamas caminham pela planície; não há ninguém, só o vento e a canção das estrelas.
Las llamas caminan por la llanura, ¿dónde está el niño? ¡Mañana será otro día, señor!
लामा ऊँचे मैदान में चलते हैं और ठंडी हवा चलती है। आज १२ जानवर हैं।
ลามาเดินบนที่ราบสูง ลมเย็นพัดมา และดาวส่องสว่าง ๑๒ ตัว
for (int i = 0; i < n; i++) { sum += x[i] * y[i]; }  /* dot product */
def f(x):\n    return {"a": [1, 2.5, None], 'b': x ** 2}\n\nif __name__ == "__main__":\n\tprint(f(10000))
2024-11-24 00:20:25 +0000 1,234,567.89 0xDEADBEEF 100% a@b.example www.x.example/?q=1&r=2#top
""".splitlines()

POINTS = [0x00, 0x09, 0x0A, 0x0D, 0x20, 0x22, 0x27, 0x31, 0x41, 0x5F, 0x61, 0x7F, 0x80, 0x85, 0xA0, 0xAD,
          0xB2, 0xBD, 0xC5, 0xDF, 0xE9, 0x130, 0x17F, 0x2B0, 0x300, 0x3A3, 0x5D0, 0x660, 0x905, 0x93E,
          0x966, 0xE01, 0xE31, 0xE51, 0x1100, 0x1680, 0x180E, 0x1C89, 0x2003, 0x200B, 0x200D, 0x2019,
          0x2028, 0x202F, 0x212A, 0x2160, 0x2460, 0x2581, 0x3000, 0x3007, 0x4E00, 0xAC00, 0xE000,
          0xFB06, 0xFEFF, 0xFF11, 0xFFFD, 0xFFFF, 0x105C0, 0x11DE0, 0x16D70, 0x16FF4, 0x1CCF0, 0x1F600,
          0x1F1E6, 0x20000, 0x2EBF0, 0x40000, 0xE0001, 0x10FFFF]


def texts(rng):
    yield ""
    yield from SENTENCES
    for context in common.CONTEXTS:
        yield "\n".join(context.format(chr(c)) for c in POINTS)
    for _ in range(40):
        yield "".join(chr(rng.choice(POINTS)) for _ in range(rng.randint(1, 30)))
    for _ in range(40):
        yield "".join(rng.choices(" \t\n\r'as1.", k=rng.randint(1, 30)))
    for n in (1, 2, 3, 7, 64, 300):
        yield "a" * n
        yield " " * n
        yield "the " * n


def write_cases(name, rows):
    lines = ["\t".join(map(str, row)) for row in rows]
    (OUT / name).write_text("\n".join(lines) + "\n", encoding="ascii")


def commas(numbers):
    return ",".join(map(str, numbers))


def write_splits(all_texts):
    llama3 = [token_hf.isolated(token_hf.LLAMA3), token_hf.byte_level(False)]
    rows = []
    for name, steps in ({"llama-bpe": llama3} | token_hf.PRE_TOKENIZERS).items():
        pre = pre_tokenizers.Sequence(steps)
        for text in all_texts:
            lengths = [len(s) for s, _ in pre.pre_tokenize_str(text)]
            rows.append((name, text.encode().hex(), commas(lengths)))
    write_cases("splits.cases", rows)


def write_bpe(all_texts):
    """Vocabulary with all bytes, three control tokens and one user-defined; smollm's rules."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(token_hf.PRE_TOKENIZERS["smollm"])
    special = ["<|begin|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sorted(SENTENCES) * 2, trainer)
    tokenizer.add_tokens(["==>"])
    model = json.loads(tokenizer.to_str())["model"]
    names = {i: t for t, i in tokenizer.get_vocab().items()}
    tokens = [names[i] for i in range(len(names))]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    types = [3 if t in special else 4 if t == "==>" else 1 for t in tokens]
    common.write_vocab(OUT / "bpe.gguf", "gpt2", tokens, types, pre="smollm", merges=merges,
                       bos_token_id=0, eos_token_id=2)
    plain = all_texts + ["a ==> b==>c ===> ==>", "==>==>"]
    marked = ["<|im_start|>user\nhi<|im_end|>\n<|im_end|><|im_end|", "<|im_<|im_end|>|>", "==><|begin|>"]
    write_cases("bpe.cases", [(t.encode().hex(), commas(tokenizer.encode(t).ids)) for t in plain])
    write_cases("bpe_special.cases",
                [(t.encode().hex(), commas(tokenizer.encode(t).ids)) for t in marked])


def write_spm(name, all_texts, **options):
    sp = common.train_spm(SENTENCES, **options)
    common.write_spm(OUT / f"{name}.gguf", sp)
    write_cases(f"{name}.cases", [(t.encode().hex(), commas(sp.encode(t))) for t in all_texts])


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    all_texts = list(texts(random.Random(7)))
    write_splits(all_texts)
    write_bpe(all_texts)
    write_spm("spm", all_texts, vocab_size=520)
    write_spm("spm_unknown", all_texts, vocab_size=260, byte_fallback=False, character_coverage=0.98)


if __name__ == "__main__":
    main()
