#!/usr/bin/env python3
"""The public JSON-Schema-Test-Suite against Puna's validator of JSON schemas.

usage: schema_suite.py [FOLDER]     a checkout of json-schema-org/JSON-Schema-Test-Suite; its tests/ is read.
Without FOLDER: build/JSON-Schema-Test-Suite, and exit code 77 when it is not there."""
import collections
import json
import pathlib
import subprocess
import sys

import program

FOLDER = program.ROOT / "build/JSON-Schema-Test-Suite"
DRAFTS = ["draft2020-12", "draft7"]
# What Puna does otherwise on purpose: beginnings of "file: group of tests".
OTHERWISE = {
    "optional/format": "format is an annotation",
    "optional/content": "contentEncoding and contentMediaType are annotations",
    "vocabulary: schema that uses custom metaschema": "the vocabulary is always the same",
    "ref: ref overrides any sibling": "keywords beside $ref apply, as in 2020-12",
}


class Checker:
    """tests/oracle/schema_check.c, a line in and a line out."""

    def __init__(self):
        path = program.ROOT / "build/release/tests/schema_check"
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, schema, instances):
        self.process.stdin.write(json.dumps({"schema": schema, "instances": instances}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def groups(folder):
    """Each group of tests with the draft and the file that it is of."""
    for draft in DRAFTS:
        for path in sorted((folder / "tests" / draft).rglob("*.json")):
            name = str(path.relative_to(folder / "tests" / draft).with_suffix(""))
            for group in json.loads(path.read_text()):
                yield draft, name, group


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not (folder / "tests").is_dir():
        print(f"skipped: {folder} is not there")
        sys.exit(77)
    checker, counts, wrong = Checker(), collections.Counter(), []
    unchecked = collections.Counter()
    for draft, name, group in groups(folder):
        if f"{name}: {group['description']}".startswith(tuple(OTHERWISE)):
            counts["otherwise on purpose"] += len(group["tests"])
            continue
        answer = checker.ask(group["schema"], [t["data"] for t in group["tests"]])
        if "error" in answer:
            counts["not read"] += len(group["tests"])
            continue
        for test, (outcome, text) in zip(group["tests"], answer["verdicts"]):
            if outcome == "unchecked":
                unchecked[text.rsplit("(", 1)[-1].rstrip(")")] += 1
            elif outcome != ("valid" if test["valid"] else "invalid"):
                wrong.append((draft, name, group["description"], test["description"], outcome, text))
                outcome = "wrong"
            counts[outcome] += 1
    for line in wrong:
        print(*line, sep=" | ")
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    print("unchecked:", ", ".join(f"{n} {keyword}" for keyword, n in unchecked.most_common()))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
