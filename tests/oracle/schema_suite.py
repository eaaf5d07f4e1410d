#!/usr/bin/env python3
"""The public JSON-Schema-Test-Suite against Puna: its validator, and for each schema that has a grammar the
texts of the instances, in every order of their members. No invalid instance may have a text; valid ones
must have one, but for those that docs/STRUCTURED.md names (WITHOUT_TEXT).

usage: schema_suite.py [FOLDER]     a checkout of json-schema-org/JSON-Schema-Test-Suite; its tests/ is read.
Without FOLDER: build/JSON-Schema-Test-Suite, and exit code 77 when it is not there."""
import collections
import itertools
import json
import pathlib
import re
import subprocess
import sys

import program

FOLDER = program.ROOT / "build/JSON-Schema-Test-Suite"
DRAFTS = ["draft2020-12", "draft7"]
# What the validator does otherwise on purpose: beginnings of "file: group of tests".
OTHERWISE = {
    "optional/format": "format is an annotation",
    "optional/content": "contentEncoding and contentMediaType are annotations",
    "vocabulary: schema that uses custom metaschema": "the vocabulary is always the same",
    "ref: ref overrides any sibling": "keywords beside $ref apply, as in 2020-12",
}
# The grammar refuses or enforces what those annotate, but reads $ref and vocabularies the same way.
OTHERWISE_GRAMMAR = ["vocabulary: schema that uses custom metaschema", "ref: ref overrides any sibling",
                     "optional/content"]
# Valid, but without a text: regular expressions of "draft file: group: test".
WITHOUT_TEXT = [
    "is only an annotation by default",  # formats are enforced
    "format/(date-time|time): .*(leap second|case-insensitive|fraction of fifteen)",
    "format/duration: .*many digits",
    "format/email: .*(quoted string|address-literal)",
    "format/hostname: .*(consecutive hyphens|A-label)",
    r"format/uri: .*: a valid URL$",  # of an IP address in brackets
    "float-overflow: ",  # with bounds or multipleOf numbers have no exponent
    # what matches by ECMA-262 alone: others read U+FEFF as no white space, these as a digit and a letter
    r"ecmascript-regex: .*(zero-width whitespace matches|NKO DIGIT ZERO.* matches|e-acute matches \(unlike)",
]
MOST_TEXTS = 300


class Checker:
    """tests/oracle/schema_check.c, a line in and a line out."""

    def __init__(self):
        path = program.ROOT / "build/release/tests/schema_check"
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, schema, **more):
        self.process.stdin.write(json.dumps({"schema": schema, **more}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def texts_of(value):
    """Yields ways to write a value: members in any order, 1.0 as 1, too."""
    if isinstance(value, dict):
        for order in itertools.permutations(value.items()):
            for members in itertools.product(*([f"{json.dumps(key, ensure_ascii=False)}: {text}" for text in texts_of(member)]
                                               for key, member in order)):
                yield "{" + ", ".join(members) + "}"
    elif isinstance(value, list):
        for items in itertools.product(*(list(texts_of(item)) for item in value)):
            yield "[" + ", ".join(items) + "]"
    else:
        yield json.dumps(value, ensure_ascii=False)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
            yield str(int(value))


def groups(folder):
    """Each group of tests with the draft and the file that it is of."""
    for draft in DRAFTS:
        for path in sorted((folder / "tests" / draft).rglob("*.json")):
            name = str(path.relative_to(folder / "tests" / draft).with_suffix(""))
            for group in json.loads(path.read_text()):
                yield draft, name, group


def judge_validator(title, group, answer, counts, wrong):
    for test, (outcome, text) in zip(group["tests"], answer["verdicts"]):
        if outcome not in ("unchecked", "valid" if test["valid"] else "invalid"):
            wrong.append(f"validator | {title} | {test['description']} | {outcome} {text}")
            outcome = "WRONG"
        counts[outcome] += 1


def judge_grammar(title, group, answer, texts, counts, wrong):
    allowed = iter(answer["allowed"])
    for test, ways in zip(group["tests"], texts):
        has_text = any([next(allowed) for _ in ways])
        name = f"{title}: {test['description']}"
        if has_text == test["valid"]:
            counts["right"] += 1
        elif test["valid"] and any(re.search(known, name) for known in WITHOUT_TEXT):
            counts["valid without a text, as documented"] += 1
        else:
            wrong.append(f"grammar | {name} | {'has' if has_text else 'has no'} text {json.dumps(test['data'])[:80]}")
            counts["WRONG"] += 1


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not (folder / "tests").is_dir():
        print(f"skipped: {folder} is not there")
        sys.exit(77)
    checker, wrong, slowest = Checker(), [], (0, "")
    validator, grammar, refused = collections.Counter(), collections.Counter(), collections.Counter()
    for draft, name, group in groups(folder):
        title, n = f"{draft} {name}: {group['description']}", len(group["tests"])
        texts = [list(itertools.islice(texts_of(t["data"]), MOST_TEXTS)) for t in group["tests"]]
        answer = checker.ask(group["schema"], instances=[t["data"] for t in group["tests"]], texts=sum(texts, []))
        if "unread" in answer:
            validator["not read"] += n
            grammar["not read"] += n
            continue
        if f"{name}: {group['description']}".startswith(tuple(OTHERWISE)):
            validator["otherwise on purpose"] += n
        else:
            judge_validator(title, group, answer, validator, wrong)
        slowest = max(slowest, (answer["ms"], title))
        if f"{name}: {group['description']}".startswith(tuple(OTHERWISE_GRAMMAR)):
            grammar["otherwise on purpose"] += n
        elif answer["code"] == "usage" and not any(t["valid"] for t in group["tests"]):
            grammar["right: no value is valid"] += n
        elif answer["error"] is not None:
            grammar["refused"] += n
            keyword = re.search(r"'([^']*)'", answer["error"])
            refused[keyword.group(1) if keyword else "other"] += n
            if "-v" in sys.argv:
                print("refused |", title, "|", answer["error"])
        else:
            judge_grammar(title, group, answer, texts, grammar, wrong)
    print("\n".join(wrong))
    print("validator:", ", ".join(f"{n} {what}" for what, n in validator.items()))
    print("grammar:", ", ".join(f"{n} {what}" for what, n in grammar.items()))
    print("refused:", ", ".join(f"{n} {keyword}" for keyword, n in refused.most_common()))
    print("slowest: %.1f ms, %s" % slowest)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
