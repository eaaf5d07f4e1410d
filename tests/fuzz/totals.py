#!/usr/bin/env python3
"""What fuzzing came to. `make fuzz` writes a line for each run of a target to build/fuzz/totals.txt:

    target seconds executions cov features corpus finds

cov: edges of the target's control flow that were reached; features: these, and how often and with which
values; corpus: inputs that each reach something new; finds: inputs that fail.

usage: tests/fuzz/totals.py [FILE]    adds the lines to the table of docs/TESTING.md, and empties FILE
(default: build/fuzz/totals.txt). Seconds, executions and finds are added up; of the others the most counts."""
import dataclasses
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/TESTING.md"
BEGIN, END = "<!-- totals of make fuzz -->\n", "<!-- end of totals -->\n"
HEAD = ("| target | hours | executions | edges | features | corpus | finds |\n"
        "| --- | --: | --: | --: | --: | --: | --: |\n")


@dataclasses.dataclass
class Run:
    target: str
    seconds: int = 0
    executions: int = 0
    cov: int = 0
    features: int = 0
    corpus: int = 0
    finds: int = 0

    def line(self):
        return " ".join(str(v) for v in dataclasses.astuple(self)) + "\n"

    def row(self):
        return (f"| {self.target} | {self.seconds / 3600:.2f} | {self.executions:,} | {self.cov} | {self.features} "
                f"| {self.corpus} | {self.finds} |\n")

    def add(self, other):
        self.seconds += other.seconds
        self.executions += other.executions
        self.finds += other.finds
        self.cov = max(self.cov, other.cov)
        self.features = max(self.features, other.features)
        self.corpus = max(self.corpus, other.corpus)


def of_log(target, text, seconds, finds):
    """The last state that libFuzzer's output tells of, whether it came to its end or not."""
    states = re.findall(r"^#(\d+)\s.*?\bcov: (\d+) ft: (\d+) corp: (\d+)", text, re.MULTILINE)
    executed, cov, features, corpus = map(int, states[-1]) if states else (0, 0, 0, 0)
    final = re.search(r"^stat::number_of_executed_units:\s*(\d+)", text, re.MULTILINE)
    return Run(target, seconds, int(final.group(1)) if final else executed, cov, features, corpus, finds)


def of_line(line):
    target, *numbers = line.split()
    return Run(target, *map(int, numbers))


def of_row(row):
    target, hours, executions, *rest = [cell.strip() for cell in row.strip("|\n ").split("|")]
    return Run(target, round(float(hours) * 3600), int(executions.replace(",", "")), *map(int, rest))


def main():
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/fuzz/totals.txt"
    before, table, after = re.split(f"{re.escape(BEGIN)}|{re.escape(END)}", DOCUMENT.read_text())
    runs = [of_row(row) for row in table.splitlines()[2:]] + [of_line(line) for line in source.read_text().splitlines()]
    all_runs = {}
    for run in runs:
        all_runs.setdefault(run.target, Run(run.target)).add(run)
    rows = "".join(all_runs[name].row() for name in sorted(all_runs))
    DOCUMENT.write_text(before + BEGIN + HEAD + rows + END + after)
    source.write_text("")


if __name__ == "__main__":
    main()
