#!/usr/bin/env python3
"""Compares the character classes of src/token/unicode_table.c with the reference's for every code
point: letters, numbers, white space and punctuation as `tokenizers` matches \\p{L}, \\p{N}, \\s and
\\p{P}, digits as its Digits step sees them. Prints the lines that tools/unicode_extra.txt needs, and
where `tiktoken` disagrees with `tokenizers`; fails when the classes are not equal."""
import re
import sys

import tiktoken
from tokenizers import Regex, pre_tokenizers

from program import ROOT
from token_common import CODE_POINTS

sys.path.insert(0, str(ROOT / "tools"))
import gen_unicode

PATTERNS = {"L": r"\p{L}", "N": r"\p{N}", "S": r"\s", "P": r"\p{P}"}


def matched_by_tokenizers(pattern):
    """Code points that a step which removes what it matches leaves nothing of."""
    step = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in CODE_POINTS if not step.pre_tokenize_str(chr(c))}


def digits_of_tokenizers():
    step = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(step.pre_tokenize_str("a" + chr(c))) == 2}


def matched_by_tiktoken(pattern):
    encoding = tiktoken.Encoding("bytes", pat_str=pattern, special_tokens={},
                                 mergeable_ranks={bytes([i]): i for i in range(256)})
    return {c for c in CODE_POINTS if encoding.encode_ordinary(chr(c))}


def ranges(points):
    runs = []
    for c in sorted(points):
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return [f"{a:04X}" if a == b else f"{a:04X}..{b:04X}" for a, b in runs]


def compiled_flags():
    """Flags of all code points, from the two arrays of the table."""
    arrays = re.findall(r"\] = \{(.*?)\};", gen_unicode.TABLE.read_text(encoding="ascii"), re.DOTALL)
    index, blocks = ([int(n) for n in re.findall(r"\d+", a)] for a in arrays)
    size = gen_unicode.BLOCK
    return bytes(f for i in index for f in blocks[i * size:(i + 1) * size])


def main():
    ours, extra = compiled_flags(), bytearray(gen_unicode.CODE_POINTS)
    assert len(ours) == len(extra)
    gen_unicode.read_extra(gen_unicode.EXTRA, extra)
    bits = {"L": gen_unicode.LETTER, "N": gen_unicode.NUMBER, "S": gen_unicode.SPACE,
            "P": gen_unicode.MARK, "D": gen_unicode.DIGIT}
    theirs = {name: matched_by_tokenizers(p) for name, p in PATTERNS.items()}
    theirs["P"] |= set(map(ord, "$+<=>^~|"))
    theirs["D"] = digits_of_tokenizers()
    failed = 0
    for name, wanted in theirs.items():
        got = {c for c in CODE_POINTS if ours[c] & bits[name]}
        known = {c for c in got if not extra[c] & bits[name]}
        failed += len(got ^ wanted)
        print(f"{name}: {len(wanted)} code points, {len(got ^ wanted)} differ {ranges(got ^ wanted)}")
        missing = wanted - known - (theirs["N"] if name == "D" else set())
        for line in ranges(missing):
            print(f"   {name} {line}")
    for name, pattern in PATTERNS.items():
        differing = matched_by_tiktoken(pattern) ^ matched_by_tokenizers(pattern)
        print(f"tiktoken and tokenizers disagree on {pattern} for {ranges(differing) or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
