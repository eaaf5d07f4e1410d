#!/usr/bin/env python3
"""Random answers of a server to random formats: a model of random weights writes at temperatures of up to 2 what a JSON
schema, a pattern or a grammar lets it, with guesses ahead and among each other. Every finished text has to be what was
asked for, as Python's json, jsonschema with a FormatChecker (formats.py) and re judge, every other one its beginning, which
for patterns the package regex says, as re cannot.

usage: structured_samples.py [OUTPUTS [SEED]]"""
import collections
import concurrent.futures
import decimal
import json
import random
import re
import sys

import jiter
import jsonschema
import regex

import formats
import program
from schema_compare import Maker

sys.path.insert(0, str(program.ROOT / "tests/cli"))
from puna_server import serving  # noqa: E402

TINY = program.ROOT / "build/release/tests/tiny.gguf"
N, MOST_TOKENS, AT_ONCE = 16, 96, 4
PATTERNS = [r"[a-c]{2,5}", r"(yes|no|maybe)(, (yes|no))*!", r"\d{4}-\d\d-\d\d", r"[^a-z\s]{1,4}", r"(a|bc)*d?", r'"(\\.|[^"\\])*"', r"\w+@\w+\.(com|org)",
            r"é{2}|🦙+|[一-龥]{1,3}", r".{3}", r"(x(y(z)?)?){2}", r"0x[0-9A-F]{1,8}", r"(?:[01]?\d|2[0-3]):[0-5]\d"]
GRAMMARS = {  # with patterns of the same texts
    'root ::= "a" [0-9]{1,4} "z"': "a[0-9]{1,4}z", 'root ::= (item "\\n")+\nitem ::= "- " [a-z]{1,6}': r"(- [a-z]{1,6}\n)+",
    'root ::= [^x]{2} | "é" root?': "é*([^x]{2}|é)", "root ::= \"(\" root? \")\"": r"(?P<r>\((?P>r)?\))",
}


def schema_of(r):
    schema = Maker(r.getrandbits(60)).root()
    try:  # what is none by Python's opinion is none of this script's business
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        return None
    return schema


def format_of(r):
    """A string of a format, or some, with lengths beside them."""
    def one():
        sizes = {name: n for name, n in (("minLength", r.randint(1, 12)), ("maxLength", r.randint(12, 70))) if r.random() < 0.4}
        return {"type": "string", "format": r.choice(formats.NAMES)} | sizes
    return one() if r.random() < 0.6 else {"type": "array", "items": one(), "maxItems": 3}


def matches(pattern, of_re=True):
    """of_re: not a pattern that calls itself, which re does not have."""
    compiled, judge_of_whole = regex.compile(pattern), re.compile(pattern) if of_re else regex.compile(pattern)

    def judge(text, whole):
        return (judge_of_whole.fullmatch(text) if whole else compiled.fullmatch(text, partial=True)) is not None
    return judge


def is_integer(checker, value):
    return jsonschema.Draft202012Validator.TYPE_CHECKER.is_type(value, "integer") or (
        isinstance(value, decimal.Decimal) and value == value.to_integral_value())


# Numbers as they are written: 0.3 is a multiple of 0.1.
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator,
                                         type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer))
decimal.getcontext().prec = 4000


def exact(text):
    return json.loads(text, parse_float=decimal.Decimal)


def is_valid(schema):
    validator = Validator(exact(json.dumps(schema)), format_checker=formats.CHECKER)

    def judge(text, whole):
        if whole:
            return validator.is_valid(exact(text))
        return text == "" or jiter.from_json(text.encode(), partial_mode="trailing-strings") is not ...
    return judge


def requests(seed):
    """Yields a name, parameters of a request and a judge, again and again."""
    r = random.Random(seed)
    while True:
        kind = r.randrange(9)
        if kind == 0:
            pattern = r.choice(PATTERNS)
            yield "pattern", {"guided_regex": pattern}, matches(pattern)
        elif kind == 1:
            grammar = r.choice(list(GRAMMARS))
            yield "grammar", {"grammar": grammar}, matches(GRAMMARS[grammar], of_re=False)
        elif kind == 2:
            yield "object", {"response_format": {"type": "json_object"}}, is_valid({"type": "object"})
        elif kind == 3:
            schema = format_of(r)
            yield "format", {"guided_json": schema}, is_valid(schema)
        else:
            schema = schema_of(r)
            if schema is not None:
                yield "schema", {"guided_json": schema}, is_valid(schema)


def ask(server, options, r):
    body = {"model": "tiny", "prompt": r.choice(["", "A", "Bob is", '{"']), "max_tokens": MOST_TOKENS, "n": N, "seed": r.getrandbits(40),
            "temperature": r.choice([0.7, 1, 1.5, 2]), "top_p": r.choice([1, 1, 0.9]), "min_p": r.choice([0, 0, 0.05])}
    return server.ask("POST", "/v1/completions", body | options, timeout=300)


def judge_all(name, options, judge, answer, counts, wrong):
    status, document = answer
    if status != 200:
        counts[f"{name} refused"] += 1
        if status != 400 or document["error"]["code"] not in ("unsupported_value", "invalid_value"):
            wrong.append((options, status, document))
        return 0
    for choice in document["choices"]:
        whole = choice["finish_reason"] == "stop"
        counts[f"{name} {'whole' if whole else 'cut'}"] += 1
        try:
            ok = judge(choice["text"].removesuffix("\ufffd") if not whole else choice["text"], whole)
        except ValueError:
            ok = False
        except RecursionError:  # a $ref that leads back to itself, where Python's opinion has no end
            counts[f"{name} of no judge"] += 1
            continue
        if not ok:
            wrong.append((options, choice["finish_reason"], choice["text"]))
    return len(document["choices"])


def main():
    numbers = [int(a) for a in sys.argv[1:]]
    n, seed = [*numbers, *[2000, 1][len(numbers):]][:2]
    counts, wrong, done, r = collections.Counter(), [], 0, random.Random(seed)
    source = requests(seed)
    with serving(TINY, "-t", 2, "-c", 256, "--parallel", 32) as server, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        while done < n:
            batch = [next(source) for _ in range(AT_ONCE)]
            answers = [pool.submit(ask, server, options, random.Random(r.random())) for _, options, _ in batch]
            done += sum(judge_all(*f, a.result(), counts, wrong) for f, a in zip(batch, answers, strict=True))
    for case in wrong[:20]:
        print(json.dumps(case, ensure_ascii=False))
    finished = sum(c for name, c in counts.items() if name.endswith("whole"))
    print(f"{done} texts, {finished} finished; {dict(sorted(counts.items()))}; {len(wrong)} wrong")
    return bool(wrong) or finished < done / 3


if __name__ == "__main__":
    sys.exit(main())
