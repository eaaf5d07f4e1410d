#!/usr/bin/env python3
"""The fault campaign of `puna serve`: clients that misbehave, calls that fail, a machine that runs out of things. While each
fault is made, well-behaved clients ask for what a quiet server was asked for before, and their bytes are compared; after it
nobody is served, and files, memory, KV pages and rows are as before.

usage: soak.py [--seconds N] [--seed N] [--list] [WORD...]      only scenarios whose name has one of the words
--seconds: of all of them together (default 60); each does its least whatever it takes
$PUNA is the program; with that of the sanitizers their findings count as failures."""
import argparse
import pathlib
import random
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cli")]
import clients  # noqa: E402
import failures  # noqa: E402
import machine  # noqa: E402
from faults import LIBRARY  # noqa: E402
from target import ASKED, PUNA, Wrong, quiet_answers  # noqa: E402

# With their parts of the time.
SCENARIOS = [
    (clients.vanish, 3), (clients.vanish_in_tls, 2), (clients.stop_reading, 1), (clients.garbage, 3), (clients.many_streams, 1),
    (failures.failing_calls, 6), (failures.failing_calls_in_tls, 3), (failures.failing_starts, 3), (failures.failing_keys, 3), (failures.failing_reloads, 2),
    (failures.failing_storms, 2), (failures.failing_prefixes, 2), (failures.failing_ledger, 2),
    (machine.killed, 2), (machine.full_disk, 1), (machine.clock_jumps, 1), (machine.no_files, 1), (machine.thousands_of_keys, 1),
    (machine.hangups, 1), (machine.starts_and_stops, 1),
]
LONG_S = 600  # from here on calls are made to fail one after the other, with none left out


class Campaign:
    def __init__(self, seed, folder, is_long):
        self.seed, self.root, self.n_folders, self.is_long = seed, folder, 0, is_long
        self.seconds = 0.0
        self.rows = []
        self.quiet = quiet_answers(self.folder())

    def folder(self):
        self.n_folders += 1
        folder = self.root / str(self.n_folders)
        folder.mkdir()
        return folder

    def random(self, what):
        return random.Random(f"{self.seed} {what}")

    def warm(self, t, n=2):
        """What is made once, and kept."""
        for _ in range(n):
            for i in range(len(ASKED)):
                if t.request(i) != self.quiet[i]:
                    raise Wrong(f"wrong before anything was done: {i}")

    def result(self, what, n_tried, watchers=None, grown=None):
        """A row of the table."""
        others = watchers.n_same if watchers is not None else 0
        self.rows.append((what, n_tried, others))
        left = "" if grown is None else f"; grown by {grown['blocks']} blocks, {grown['bytes']} bytes"
        told = f", {watchers.n_told} told of an error" if watchers is not None and watchers.n_told else ""
        print(f"    {what}: {n_tried} tried; {others} right answers to others{told}{left}", flush=True)


def run(campaign, scenario):
    try:
        scenario(campaign)
        return True
    except machine.Skipped as e:
        print(f"    SKIPPED: {e}", flush=True)
        return True
    except (Wrong, AssertionError, OSError) as e:
        print(f"    FAILED: {type(e).__name__}: {e}", flush=True)
        return False


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    chosen = [(s, part) for s, part in SCENARIOS if not options.words or any(w in s.__name__ for w in options.words)]
    if options.list:
        print("\n".join(s.__name__ for s, _ in chosen))
        return
    if not LIBRARY.exists():
        sys.exit(f"{LIBRARY} is not there: make soak builds it")
    print(f"{PUNA}, seed {options.seed}", flush=True)
    folder, failed = pathlib.Path(tempfile.mkdtemp(prefix="soak-")), []
    try:
        campaign = Campaign(options.seed, folder, options.seconds >= LONG_S)
        for scenario, part in chosen:
            begin = time.monotonic()
            campaign.seconds = options.seconds * part / sum(p for _, p in chosen)
            print(f"{scenario.__name__}", flush=True)
            if not run(campaign, scenario):
                failed.append(scenario.__name__)
            print(f"    {time.monotonic() - begin:.1f} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, n_tried, others in campaign.rows:
        print(f"| {what} | {n_tried:,} | {others:,} |")
    if failed:
        print("FAILED:", ", ".join(failed))
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
