#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/words: word lists and texts, good and bent (see fuzz_words.c)."""
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/words"


def case(words, text, n_chars=1):
    encoded = [x if isinstance(x, bytes) else x.encode() for x in (words, text)]
    return encoded[0] + bytes([0, n_chars - 1]) + encoded[1]


CASES = {
    "word": case("bad\n", "A bad, badly BAD abad _bad_ day"),
    "phrase": case("son of it\nof it", "Son\tof\nit; son  of it, son of its", 2),
    "overlap": case("a b\nb c\na b c d\nb", "a b c a b c d a bc", 3),
    "comments": case("\ufeff# one\r\n  two  \r\n\n#three", "one two three"),
    "folds": case("été\nσα\nstraße", "ÉTÉ ΣΑ STRAẞE STRASSE", 5),
    "marks": case("bad", "bad\u0301 ba\u00add b\u200dad \u2764\ufe0fbad"),
    "hindi": case("हरामज़ादा\nगाँड", "हरामजादा। गाँडू गाँड", 4),
    "thai": case("กา\nมี", "เกา ตกาน มี่ มีะ เมี", 2),
    "han": case("馬鹿\nばか", "大馬鹿者 ばかり"),
    "long-word": case("q" * 64, "q" * 130, 7),
    "too-long": case("q" * 65, ""),
    "hidden": case("bad", "ba" + "\u200d" * 300 + "d bad"),
    "one-letter": case("aaaa\na a a a", "a" * 500 + " a" * 9),
    "thai-walks": case("\n".join("ก" * n for n in range(2, 60)), "ก" * 200, 9),
    "punctuation": case("@#!\n+", "x@#!x + y"),
    "broken-list": case(b"ok\n\xff\n", "ok"),
    "broken-text": case("bad", b"\xffbad\xe2\x82bad ba\xc3d\xf0\x9f", 1),
    "surrogate": case(b"\xed\xa0\x80", "x"),
    "control": b"a\x1bb\n\0\0a",
    "nothing": b"",
    "no-words": case("# \n\n", "x"),
    "list-alone": b"one\ntwo\n",
}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in CASES.items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
