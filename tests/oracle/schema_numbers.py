#!/usr/bin/env python3
"""Bounds of numbers against Python's own: random schemas of minimum, maximum, their exclusive forms, multipleOf, enum
and not const, with integers and decimals at and around the places where doubles round. Texts near each number of the
schema, and some that are written by taking any byte that the grammar allows, are read by json.loads and compared
with the bound as it reads that: none may be wrong, and none that docs/STRUCTURED.md says is there may be missing.

usage: schema_numbers.py [SCHEMAS [SEED]]"""
import collections
import decimal
import json
import math
import random
import re
import sys

import schema_suite

BOUNDS = {"minimum": lambda v, b: v >= b, "maximum": lambda v, b: v <= b,
          "exclusiveMinimum": lambda v, b: v > b, "exclusiveMaximum": lambda v, b: v < b}
INT64 = range(-2 ** 63, 2 ** 63)
TAILS = ["", ".0", ".5", ".06", ".94", ".000001", ".00000000000000000001", ".99999999999999999999", ".4999999999999999999"]
decimal.getcontext().prec = 400


def number(r):
    """An integer of 64 bits, or a double."""
    sign = r.choice([1, 1, -1])
    kind = r.randrange(8)
    if kind < 2:
        n = sign * (2 ** r.choice([0, 3, 20, 49, 52, 53, 53, 54, 55, 60, 62, 63]) + r.randint(-3, 3))
    elif kind == 2:
        n = sign * r.randrange(10 ** r.randint(1, 19))
    elif kind == 3:
        n = sign * (10 ** r.randint(14, 19) + r.randint(-2, 2))
    elif kind == 4:
        return sign * r.randrange(10 ** r.randint(1, 5)) / 10 ** r.randint(1, 5)
    elif kind == 5:
        return sign * float(round(r.random(), r.randint(1, 17)) * 10 ** r.randint(0, 3))
    elif kind == 6:
        return sign * float(2 ** r.randint(50, 66) + r.randint(-3000, 3000))
    else:
        return sign * float(f"{r.randint(1, 9)}.{r.randrange(10 ** r.randint(1, 16))}e{r.randint(10, 25)}")
    return n if n in INT64 else float(n)


def schema(r):
    s = {"type": r.choice(["integer", "number", "number"])}
    low, high = sorted([number(r), number(r)])
    if r.random() < 0.3:
        high = min(low + r.randint(0, 5), 2 ** 63 - 1) if isinstance(low, int) else low + math.ulp(low) * r.randint(0, 5)
    if r.random() < 0.75:
        s[r.choice(["minimum", "exclusiveMinimum"])] = low
    if r.random() < 0.75 or len(s) == 1:
        s[r.choice(["maximum", "exclusiveMaximum"])] = high
    if r.random() < 0.15:
        s["not"] = {"const": r.choice([low, high, number(r)])}
    if r.random() < 0.15:
        s["enum"] = [low, high, float(low), number(r)]
    if r.random() < 0.25:
        digits, zeros = r.randrange(1, 10 ** r.randint(1, 4)), r.randint(-4, 4)
        s["multipleOf"] = digits * 10 ** zeros if zeros >= 0 else float(f"{digits}e{zeros}")
    return s


def numbers_of(s):
    return [v for key, v in s.items() if key in BOUNDS] + s.get("enum", []) + ([s["not"]["const"]] if "not" in s else [])


def texts(s, r):
    """Near all numbers of a schema, and of their neighbours among doubles."""
    found = {"0", "-1", "1", "0.5", "999999999999999999", "9223372036854775807", "-9223372036854775808"}
    for v in numbers_of(s):
        near = [v, float(v), math.nextafter(v, math.inf), math.nextafter(v, -math.inf)]
        found |= {format(decimal.Decimal(n), "f") for n in near} | {format(decimal.Decimal(repr(n)), "f") for n in near}
        found |= {str(math.trunc(n) + d) + tail for n in near for d in range(-2, 3) for tail in TAILS}
        for _ in range(30):
            exact = decimal.Decimal(repr(v)) if r.random() < 0.5 else decimal.Decimal(v)
            step = decimal.Decimal(r.choice([1, -1])) * r.randint(1, 9) * decimal.Decimal(10) ** -r.randint(-3, 20)
            found.add(format(exact + step, "f"))
    if "multipleOf" in s:
        unit = decimal.Decimal(repr(s["multipleOf"]))
        starts = [decimal.Decimal(repr(v)) // unit for v in numbers_of(s)] + [0]
        found |= {format((n + d) * unit, "f") for n in starts for d in (-1000, -2, -1, 0, 1, 2, 1000)}
    return sorted(t for t in found if re.fullmatch(r"-?(0|[1-9]\d{0,25})(\.\d{1,20})?", t))


def is_valid(s, text):
    """As Python reads both; and for a reader that makes doubles of all numbers no bound may be passed."""
    value = json.loads(text)
    if s["type"] == "integer" and value != math.trunc(value) or "not" in s and value == s["not"]["const"]:
        return False
    if "enum" in s and value not in s["enum"]:
        return False
    if "multipleOf" in s and decimal.Decimal(text) % decimal.Decimal(repr(s["multipleOf"])) != 0:
        return False
    for key, holds in BOUNDS.items():
        if key in s and not (holds(value, s[key]) and (holds(float(text), float(s[key])) or isinstance(value, int))):
            return False
    return True


def is_promised(s, text):
    """What the documentation says that a valid text needs."""
    if "enum" in s or "multipleOf" in s and len(str(s["multipleOf"]).strip("0.").replace(".", "")) > 2:
        return False  # one spelling of each, or fewer digits
    digits = text.lstrip("-")
    is_long = any(10 ** 18 <= abs(v) < 10 ** 19 for key, v in s.items() if key in BOUNDS)
    if "." not in text:
        return text != "-0" and (int(text) in INT64 if is_long else len(digits) <= 18)
    if decimal.Decimal(repr(s.get("multipleOf", 0.5))) % 1 == 0:
        return False  # without a point
    return s["type"] == "number" and len(digits) <= 16 and float(text) != 0


def main():
    numbers = [int(a) for a in sys.argv[1:]] + [3000, 1][len(sys.argv) - 1:]
    checker, counts, wrong = schema_suite.Checker(), collections.Counter(), []
    for i in range(numbers[0]):
        r = random.Random(numbers[1] * 1000000 + i)
        s = schema(r)
        ways = texts(s, r)
        answer = checker.ask(s, texts=ways, walks=20, seed=i)
        if answer["error"] is not None:
            counts[f"schemas: {answer['code']}"] += 1
            if answer["code"] == "usage" or "64 bits" in answer["error"]:
                wrong += [f"refused, has {t} | {json.dumps(s)}" for t in ways if is_promised(s, t) and is_valid(s, t)][:1]
            elif not re.search("digits behind the point|'multipleOf' .* cannot be enforced here", answer["error"]):
                wrong.append(f"{answer['error']} | {json.dumps(s)}")
            continue
        counts["schemas: compiled"] += 1
        for text, has in list(zip(ways, answer["allowed"])) + [(t, True) for t in answer["walks"] if t is not None]:
            valid = is_valid(s, text)
            counts["texts: " + ("there" if has else "not there, as documented" if valid else "not there")] += 1
            if has != valid and (has or is_promised(s, text)):
                wrong.append(f"{'wrong' if has else 'no'} {text} | {json.dumps(s)}")
    print("\n".join(wrong[:40]))
    print(len(wrong), "WRONG,", ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
