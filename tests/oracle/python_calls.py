#!/usr/bin/env python3
"""Arguments of Python calls against Python: random literals, most of them then bent a little, read by our parser of calls
and by ast.literal_eval. What is one must come out equal as JSON, and what is none must not come out as a whole call.

usage: python_calls.py [N]    literals, 20,000 by default"""
import ast
import json
import random
import re
import sys
import warnings

import bfcl_calls

ALPHABET = list("'\"\\[](){},:=-+._ \n\taxruNT01e7é") + ["\\x41", "\\u00e9", "\\ud83d\\ude00", "\\U0001f600", "\\101", "\\N", "'''", '"""', "True", "None"]
FUNCTIONS = [{"name": "f"}]
# What Python takes and we do not, or the other way round (docs/TOOLS.md).
OTHER = re.compile(r"#|\\N|\b(true|false|null)\b|\f|\x00|\d{60}")


def random_string(r):
    quote = r.choice(["'", '"', "'''", '"""'])
    inner = "".join(r.choice(["a", "é", "😀", " ", "\\n", "\\\\", "\\'", '\\"', "\\x41", "\\u00e9", "\\U0001f600", "\\101", "\\7", "\\d", "\\\n",
                              "[", "}", ",", "'" if quote[0] == '"' else '"', "\\t", "\t"]) for _ in range(r.randrange(6)))
    return r.choice(["", "", "", "r", "R", "u", "U"]) + quote + inner + quote


def random_number(r):
    digits = r.choice(["0", "7", "12", "1_000", "00", "123456789012345678901"])
    number = r.choice([digits, digits + ".", f"{digits}.5", ".25", f"{digits}e3", f"{digits}.5E-3", "1e+2", "0x1F", "0b1_1", "0O17", "007.5"])
    return r.choice(["", "", "-", "+", "- "]) + number


def random_literal(r, depth=0):
    kind = r.randrange(10 if depth < 4 else 6)
    space = r.choice(["", "", " ", "\n"])
    items = [random_literal(r, depth + 1) for _ in range(r.randrange(4))] if kind > 5 else []
    comma = r.choice(["", "", ","]) if items else ""
    if kind < 2:
        return r.choice([" ", "", "\n"]).join(random_string(r) for _ in range(r.choice([1, 1, 1, 2])))
    if kind < 4:
        return random_number(r)
    if kind < 6:
        return r.choice(["True", "False", "None"])
    if kind == 6:
        return f"[{space}{f',{space}'.join(items)}{comma}{space}]"
    if kind == 7:
        return f"({space}{', '.join(items)}{comma}{space})"
    if kind == 8:
        return f"({space}{random_literal(r, depth + 1)}{space})"
    keys = [r.choice([random_string(r), "2", "1_0", "True", "None"]) for _ in items]
    return f"{{{space}{', '.join(f'{k}{space}: {v}' for k, v in zip(keys, items))}{comma}{space}}}"


def bend(r, text):
    for _ in range(r.choice([0, 1, 1, 2])):
        at = r.randrange(len(text) + 1)
        text = text[:at] + (r.choice(ALPHABET) if r.random() < .6 else "") + text[at + (r.random() < .6):]
    return text


def is_json(value):
    """No set, no bytes, no complex; and texts that are texts."""
    if isinstance(value, dict):
        return all(is_json(k) and not isinstance(k, tuple) for k in value) and all(map(is_json, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_json, value))
    return isinstance(value, (str, int, float, type(None)))


def by_python(text):
    """The JSON of the argument, or None where the text is not the call of one."""
    try:
        tree = ast.parse(f"[f(a={text})]", mode="eval").body
        call, = tree.elts
        (keyword,) = call.keywords
        if not (isinstance(tree, ast.List) and isinstance(call.func, ast.Name) and not call.args and keyword.arg == "a"):
            return None
        value = ast.literal_eval(keyword.value)
        text = json.dumps(value)  # two halves of a pair are one character there
        json.dumps(json.loads(text), ensure_ascii=False).encode()
        return text if is_json(value) else None
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        return None


def plain(pairs):
    """A number that is a key as Python prints it: 1e2 is 100.0."""
    def key(text):
        try:
            return repr(float(text))
        except ValueError:
            return text
    return {key(k): v for k, v in pairs}


def same(a, b):
    a, b = (json.dumps(json.loads(text, object_pairs_hook=plain), sort_keys=True) for text in (a, b))
    return a == b


def main():
    warnings.simplefilter("ignore")
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    engine, r, counts = bfcl_calls.Engine(), random.Random(1), {"same": 0, "none": 0, "wrong": 0, "left out": 0}
    for seed in range(n):
        text = bend(r, random_literal(r))
        if OTHER.search(text):
            counts["left out"] += 1
            continue
        expected = by_python(text)
        content, calls = engine.find("pythonic", FUNCTIONS, f"[f(a={text})]", seed)
        found = json.dumps(calls[0][1]["a"]) if not content and len(calls) == 1 and calls[0][1] and list(calls[0][1]) == ["a"] else None
        if content.startswith("\\\n"):  # a line that goes on, outside of strings
            counts["left out"] += 1
        elif (found is None) != (expected is None) or (found is not None and not same(found, expected)):
            counts["wrong"] += 1
            if counts["wrong"] <= 10:
                print(f"{text!r}: found {found}, Python says {expected}; {content!r}, {calls}")
        else:
            counts["none" if found is None else "same"] += 1
    print(counts)
    print(f"{n - counts['wrong']} passed, {counts['wrong']} failed")
    sys.exit(counts["wrong"] > 0 or counts["same"] < n // 5)


if __name__ == "__main__":
    main()
