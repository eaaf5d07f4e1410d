#!/usr/bin/env python3
"""Calls of tools against the Berkeley Function-Calling Leaderboard: each reference answer of its Python categories is
written in every format and dressing, by this script and by our own writer, read by our parser in random pieces, and judged
by the leaderboard's own checker (which refuses some references themselves); and once bent, which it must refuse. Calls are
compared with the reference exactly, too, with types and the text around them.

usage: bfcl_calls.py [--seeds N] [FOLDER]
FOLDER (or build/bfcl): where the Python package bfcl-eval is unpacked (`pip download --no-deps bfcl-eval`, a wheel is a
zip). Exit code 77 without it. Nothing else is needed: what of the package needs more is left out here."""
import argparse
import collections
import enum
import json
import pathlib
import random
import re
import subprocess
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/release/tests/tool_calls"
SKIPPED = 77
CATEGORIES = ["simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"]
FORMATS = ["llama3-json", "pythonic", "function-tag", "hermes"]
CALL_NAME = re.compile(r"[\w.-]+", re.ASCII)
MODEL = "model"


def load_checker(folder):
    """Its checker without the handlers of models and the parsers of Java and JavaScript, which need many packages."""
    sys.path.insert(0, str(folder))
    base = "bfcl_eval.eval_checker.ast_eval.type_convertor."
    stubs = {"bfcl_eval.constants.model_config": {"MODEL_CONFIG_MAPPING": {MODEL: types.SimpleNamespace(underscore_to_dot=False)}},
             base + "java_type_converter": {"java_type_converter": None}, base + "js_type_converter": {"js_type_converter": None}}
    for name, content in stubs.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    assert issubclass(Language, enum.Enum)
    return lambda functions, calls, truth, category: ast_checker(
        functions, [{name: arguments} for name, arguments in calls], truth, Language.PYTHON, category, MODEL)["valid"]


def load(folder, category):
    data = folder / "bfcl_eval/data"
    questions, answers = ([json.loads(line) for line in (where / f"BFCL_v4_{category}.json").read_text().splitlines()]
                          for where in (data, data / "possible_answer"))
    truths = {a["id"]: a["ground_truth"] for a in answers}
    return [(q["function"], truths[q["id"]], q["id"]) for q in questions if q["id"] in truths]


# --- a reference: one of the possible answers


def choose(r, values):
    """A value that is possible, or "" for none at all."""
    value = r.choice([v for v in values if v != ""] or [""])
    if isinstance(value, dict):
        chosen = {k: choose(r, v) if isinstance(v, list) else v for k, v in value.items()}
        return {k: v for k, v in chosen.items() if v != "" or "" not in value[k]}
    if isinstance(value, list):
        return [choose(r, [v]) if isinstance(v, dict) else v for v in value]
    return value


def reference(r, truth):
    calls = []
    for call in truth:
        (name, parameters), = call.items()
        arguments = {k: choose(r, v) for k, v in parameters.items()}
        calls.append((name, {k: v for k, v in arguments.items() if v != "" or "" not in parameters[k]}))
    return calls


# --- how a model may write it


def as_object(r, name, arguments):
    value = json.dumps(arguments, ensure_ascii=r.random() < .5, indent=r.choice([None, None, 2]),
                       separators=r.choice([None, (",", ":")]))
    if r.random() < .2:
        value = json.dumps(value, ensure_ascii=r.random() < .5)
    members = [f'"name": {json.dumps(name)}', f'"{r.choice(["parameters", "arguments"])}": {value}']
    if r.random() < .3:
        members.append('"type": "function"')
    r.shuffle(members)
    return r.choice(["{%s}", "{ %s }", "{\n  %s\n}"]) % r.choice([", ", ",\n  "]).join(members)


def as_json(r, calls):
    objects = [as_object(r, *call) for call in calls]
    if r.random() < .4:
        return f"[{r.choice([', ', ',', ',' + chr(10)]).join(objects)}]"
    return r.choice(["; ", ";", ", ", "\n", "", "<|python_tag|>"]).join(objects)


def as_python(_, calls):
    def one(name, arguments):
        if all(key.isidentifier() for key in arguments):
            return f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
        return f"{name}(**{arguments!r})"
    return f"[{', '.join(one(*call) for call in calls)}]"


def as_function_tags(r, calls):
    return r.choice(["", "\n"]).join(f"<function={name}>{json.dumps(arguments)}</function>" for name, arguments in calls)


def as_hermes(r, calls):
    objects = [as_object(r, *call) for call in calls]
    if r.random() < .3:
        return f"<tool_call>[{', '.join(objects)}]</tool_call>"
    return r.choice(["", "\n"]).join(f"<tool_call>\n{o}\n</tool_call>" for o in objects)


WRITERS = dict(zip(FORMATS, (as_json, as_python, as_function_tags, as_hermes)))


def dressed(r, form, text):
    """The text with what may stand around it, and the content that this is."""
    before = r.choice(["", "", "I'll look that up.\n\n", "It's {simple}: "])
    tag = "<|python_tag|>" if form != "hermes" and r.random() < .3 else ""
    after = r.choice(["", "", "\n", "\n\nThat {is} it."])
    return before + tag + text + after, before + (after if after.strip() else "")


# --- our side


class Engine:
    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{answer['error']}: {request}")
        return answer

    def find(self, form, functions, text, seed):
        tools = [{"type": "function", "function": f} for f in functions]
        answer = self.ask(format=form, tools=tools, text=text, seed=seed)
        return answer["content"], [(c["name"], json.loads(c["arguments"]) if c["end"] == 0 else None) for c in answer["calls"]]

    def write(self, form, calls):
        return self.ask(format=form, calls=[{"name": n, "arguments": json.dumps(a)} for n, a in calls])["text"]


def exact(calls):
    """With types: 1, 1.0 and true are not the same."""
    return json.dumps(calls, sort_keys=True)


class Comparison:
    def __init__(self, engine, checker, seeds):
        self.engine, self.checker, self.seeds = engine, checker, seeds
        self.counts = collections.Counter()

    def fail(self, why, *details):
        self.counts["wrong"] += 1
        if self.counts["wrong"] <= 5:
            print(why, *details, sep="\n  ")

    def read(self, form, functions, text, content, calls, seed):
        found_content, found = self.engine.find(form, functions, text, seed)
        if exact(found) != exact(calls) or found_content != content:
            self.fail(f"{form}, seed {seed}: {text!r}", f"found {found!r} and {found_content!r}", f"wanted {calls!r} and {content!r}")
        return found

    def judge(self, functions, truth, category, key):
        r = random.Random(f"{key} {self.seeds}")
        calls = reference(r, truth)
        is_judged = self.checker(functions, calls, truth, category)
        self.counts["references"] += 1
        self.counts["the checker refuses the reference itself"] += not is_judged
        bent = calls[:-1] + [(calls[-1][0], {**calls[-1][1], "not_a_parameter": 1})]
        for form in FORMATS:
            if form == "pythonic" and not all(CALL_NAME.fullmatch(name) for name, _ in calls):
                self.counts["names that Python cannot write"] += 1
                continue
            for seed in range(self.seeds):
                text, content = dressed(r, form, WRITERS[form](r, calls))
                found = self.read(form, functions, text, content, calls, seed)
                ours = self.read(form, functions, self.engine.write(form, calls), "", calls, seed)
                self.counts["answers"] += 2
                if is_judged and not all(self.checker(functions, c, truth, category) for c in (found, ours)):
                    self.fail(f"{key}: the checker refuses {found!r}")
            found = self.read(form, functions, WRITERS[form](r, bent), "", bent, 1)
            self.counts["bent"] += 1
            if self.checker(functions, found, truth, category):
                self.fail(f"{key}: the checker takes {found!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=4, help="dressings and cuts of each answer")
    args = parser.parse_args()
    folder = args.folder or ROOT / "build/bfcl"
    if not (folder / "bfcl_eval/data").is_dir():
        print(f"no bfcl_eval/data below {folder}: unpack the Python package bfcl-eval there")
        sys.exit(1 if args.folder else SKIPPED)
    engine = Engine()
    total = Comparison(engine, load_checker(folder), args.seeds)
    for category in CATEGORIES:
        before = total.counts["references"]
        for functions, truth, key in load(folder, category):
            total.judge(functions, truth, category, key)
        print(f"{category}: {total.counts['references'] - before} references")
    print(dict(total.counts))
    print(f"{total.counts['answers'] + total.counts['bent'] - total.counts['wrong']} passed, {total.counts['wrong']} failed")
    sys.exit(total.counts["wrong"] > 0 or total.counts["references"] < 2000)


if __name__ == "__main__":
    main()
