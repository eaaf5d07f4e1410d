#!/usr/bin/env python3
"""`puna serve` beside llama.cpp's llama-server on the same model and threads: `make bench-serve`.

Every round starts each server once a test, one after the other. Prompts are random token ids, answers
are greedy and of a fixed length, streamed. Medians over the rounds are added to bench/RESULTS.md:

  decode N      N streams of short prompts: tokens/s while all of them run; without guesses, as greedy
                answers to noise repeat
  overhead N    N answers of 128 tokens to cached prompts of 480, so that on average they are as deep as
                `puna bench` is with 64 behind 512; one is streamed: its tokens/s times N, their share of
                what that decodes with as many sequences, and the share of all tokens from the first
                request to the last answer (Puna alone)
  load N        N clients, each asking again as soon as it was answered: tokens/s, time to the first
                token, gaps between the pieces of a stream; prompts distinct, or alike but for their end
  prompt 2048   time to the first token: cold, and again
  gap N         N streams, and then a prompt of 4096 tokens beside them: gaps between the pieces of the
                streams before and after, and while it is computed; without guesses, one token a piece
  open N        N streams at once on --parallel 64 (Puna alone): how many failed

--llama-cpp FOLDER: where llama.cpp's programs lie; else they are built, as for peers.py."""
import argparse
import asyncio
import dataclasses
import datetime
import json
import os
import pathlib
import random
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import peers

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHORT, LONG, TAIL, ANSWER = 16, 512, 16, 64  # tokens
START_S, ANSWER_S = 120, 600


@dataclasses.dataclass
class Stream:
    """When it was asked for and when its pieces came, in seconds; what it says of its end."""
    asked: float
    pieces: list
    n_tokens: int = 0
    error: str = ""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command):
        self.port = free_port()
        self.process = subprocess.Popen([*map(str, command), "--port", str(self.port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5).close()
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        sys.exit(f"serve_peers: {self.process.args[0]} did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    async def ask(self, prompt, n_tokens, in_pieces=True, stream=None):
        """stream: is filled while it runs, for who looks before the end."""
        body = json.dumps({"model": self.model, "prompt": prompt, "max_tokens": n_tokens, "temperature": 0,
                           "ignore_eos": True} |
                          ({"stream": True, "stream_options": {"include_usage": True}} if in_pieces else {}))
        stream = stream or Stream(time.monotonic(), [])
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.read(body.encode(), stream, in_pieces)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError) as e:
            stream.error = repr(e)
        return stream

    async def read(self, body, stream, in_pieces):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                         b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            status = await reader.readline()
            if b" 200 " not in status:
                raise ValueError(status)
            if not in_pieces:
                head, _, document = (await reader.read()).partition(b"\r\n\r\n")
                self.note(json.loads(document), stream)
                return
            while not (line := await reader.readline()).startswith(b"data: [DONE]"):
                if not line:
                    raise ValueError("the stream ended before its end")
                if line.startswith(b"data: "):
                    self.note(json.loads(line[6:]), stream)
        finally:
            writer.close()

    @staticmethod
    def note(event, stream):
        if any(choice.get("text") for choice in event.get("choices", [])):
            stream.pieces.append(time.monotonic())
        if event.get("usage"):
            stream.n_tokens = event["usage"]["completion_tokens"]

    @property
    def model(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=5) as answer:
            return json.load(answer)["data"][0]["id"]


class Bench:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(1)

    def tokens(self, n):
        return [self.random.randrange(1000, 20000) for _ in range(n)]

    def start(self, who, parallel, context, *options):
        threads = str(self.args.threads)
        if who == "Puna":
            return Server([self.args.puna, "serve", self.args.model, "-t", threads, "-c", context,
                           "--parallel", parallel, *options])
        return Server([self.args.llama_cpp / "llama-server", "-m", self.args.model, "-t", threads,
                       "-c", context * parallel, "-np", parallel, "--host", "127.0.0.1"])

    def decode(self, who, n):
        """Tokens/s of n streams between the last one's first piece and the first one's last."""
        with self.start(who, n, 512, "--draft-max", 0) as server:
            async def all_streams():
                return await asyncio.gather(*(server.ask(self.tokens(SHORT), 2 * ANSWER) for _ in range(n)))
            streams = checked(asyncio.run(all_streams()))
        begin, end = max(s.pieces[0] for s in streams), min(s.pieces[-1] for s in streams)
        # pieces may hold several tokens; a stream's tokens are taken as evenly spread over its time
        rates = [(s.n_tokens - 1) / (s.pieces[-1] - s.pieces[0]) for s in streams]
        assert end > begin, "the streams did not run at once"
        return {"tokens/s": sum(rates)}

    def overhead(self, who, n):
        prompts = [self.tokens(LONG - ANSWER // 2) for _ in range(n)]
        with self.start(who, n, 1024, "--draft-max", 0) as server:
            async def all_answers():
                await asyncio.gather(*(server.ask(prompt, 1) for prompt in prompts))
                return await asyncio.gather(*(server.ask(prompt, 2 * ANSWER, in_pieces=i == 0)
                                              for i, prompt in enumerate(prompts)))
            answers = checked(asyncio.run(all_answers()))
        seconds = max(s.pieces[-1] for s in answers) - min(s.asked for s in answers)
        one, bench = answers[0], bench_rate(self.args, n)
        rate = n * (one.n_tokens - 1) / (one.pieces[-1] - one.pieces[0])
        return {"tokens/s": rate, "of puna bench": rate / bench,
                "from the first request on": sum(s.n_tokens for s in answers) / seconds / bench}

    def load(self, who, n, shared):
        common = self.tokens(LONG)
        with self.start(who, n, 1024) as server:
            async def client():
                return [await server.ask((common if shared else self.tokens(LONG)) + self.tokens(TAIL),
                                         ANSWER) for _ in range(self.args.requests)]

            async def all_clients():
                start = time.monotonic()
                found = await asyncio.gather(*(client() for _ in range(n)))
                return [s for part in found for s in part], time.monotonic() - start
            streams, seconds = asyncio.run(all_clients())
        checked(streams)
        gaps = sorted(b - a for s in streams for a, b in zip(s.pieces, s.pieces[1:]))
        return {"tokens/s": sum(s.n_tokens for s in streams) / seconds,
                "first token s": statistics.median(s.pieces[0] - s.asked for s in streams),
                "gap p50 ms": 1e3 * gaps[len(gaps) // 2], "gap p99 ms": 1e3 * gaps[len(gaps) * 99 // 100]}

    def prompt(self, who, n):
        prompt = self.tokens(n)
        with self.start(who, 1, n + 256) as server:
            cold, hit = (checked([asyncio.run(server.ask(prompt, 4))])[0] for _ in range(2))
        cold, hit = (s.pieces[0] - s.asked for s in (cold, hit))
        return {"cold s": cold, "again s": hit, "again/cold": hit / cold}

    def gap(self, who, n):
        context, alone_s = 5120, 5
        with self.start(who, n + 1, context, "--draft-max", 0) as server:
            async def all_streams():
                streams = [Stream(time.monotonic(), []) for _ in range(n)]
                tasks = [asyncio.create_task(server.ask(self.tokens(SHORT), context - 2 * SHORT, stream=s))
                         for s in streams]
                while not all(s.pieces or s.error for s in streams):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(alone_s)
                prompt = await server.ask(self.tokens(4096), 4)
                await asyncio.sleep(alone_s)
                assert not any(t.done() for t in tasks), "a stream did not outlast the prompt"
                for t in tasks:
                    t.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                return checked(streams), checked([prompt])[0]
            streams, prompt = asyncio.run(all_streams())
        # alone: before the prompt was asked for, and after its end, when the streams are deeper; beside: until
        # its first token
        alone, beside = [], []
        for s in streams:
            for a, b in zip(s.pieces, s.pieces[1:]):
                if b < prompt.asked or a > prompt.pieces[-1]:
                    alone.append(b - a)
                elif a < prompt.pieces[0]:
                    beside.append(b - a)
        found = {"prompt s": prompt.pieces[0] - prompt.asked}
        for name, gaps in ("alone", sorted(alone)), ("beside", sorted(beside)):
            found |= {f"{name} p50 ms": 1e3 * gaps[len(gaps) // 2], f"{name} p99 ms": 1e3 * gaps[len(gaps) * 99 // 100],
                      f"{name} max ms": 1e3 * gaps[-1]}
        return found | {f"beside/alone {q}": found[f"beside {q} ms"] / found[f"alone {q} ms"] for q in ("p50", "p99", "max")}

    def open(self, who, n):
        with self.start(who, 64, 256, "--queue", n) as server:
            async def all_streams():
                return await asyncio.gather(*(server.ask(self.tokens(SHORT), 8) for _ in range(n)))
            start = time.monotonic()
            streams = asyncio.run(all_streams())
        return {"failed": sum(s.error != "" for s in streams), "seconds": time.monotonic() - start}


def checked(streams):
    for s in streams:
        assert not s.error and s.pieces, s.error or "a stream had no text"
    return streams


def bench_rate(args, n):
    """Tokens/s of n sequences in `puna bench`, behind a prompt of LONG tokens."""
    command = [args.puna, "bench", "--json", "-t", str(args.threads), "-c", "1024", "-p", "none", "-r", "3"]
    command += ["-d", str(LONG), "--parallel", "none"] if n == 1 else ["-d", "none", "--parallel", str(n)]
    done = json.loads(subprocess.run([*command, args.model], check=True, stdout=subprocess.PIPE).stdout)
    return done["tests"][0]["tokens_per_second"]


def tests(bench):
    both = ["Puna", "llama-server"]
    for n in (1, 8, 16):
        yield f"decode {n}", both, lambda who, n=n: bench.decode(who, n)
    for n in (1, 8, 16):
        yield f"overhead {n}", ["Puna"], lambda who, n=n: bench.overhead(who, n)
    for n in (1, 4, 16):
        for shared in (False, True):
            yield (f"load {n}, " + ("shared" if shared else "distinct"), both,
                   lambda who, n=n, shared=shared: bench.load(who, n, shared))
    for n in (1, 4, 8):
        yield f"gap {n}", both, lambda who, n=n: bench.gap(who, n)
    yield "prompt 2048", both, lambda who: bench.prompt(who, 2048)
    yield "open 1000", ["Puna"], lambda who: bench.open(who, 1000)


def rows(bench):
    for name, who, run in tests(bench):
        if not re.search(bench.args.only, name):
            continue
        found = {w: [] for w in who}
        for _ in range(bench.args.rounds):
            for w in who:
                found[w].append(run(w))
        medians = {w: {k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
                   for w, rounds in found.items()}
        for w, values in medians.items():
            row = [bench.args.model.stem, name, w, "; ".join(f"{k} {v:.4g}" for k, v in values.items())]
            print(" | ".join(row), file=sys.stderr, flush=True)
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--puna", default=ROOT / "build/release/puna")
    parser.add_argument("--llama-cpp", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2, help="of each client, in load tests")
    parser.add_argument("--only", default="", help="tests whose name has this regular expression")
    args = parser.parse_args()
    args.llama_cpp = args.llama_cpp or peers.build_llama_cpp()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found = list(rows(Bench(args)))
    lines = [f"## {datetime.date.today()}: serving, {peers.cpu_name()}, {args.threads} threads", "",
             f"Command: `bench/serve_peers.py --rounds {args.rounds} --requests {args.requests} "
             f"{args.model.name}`; medians.",
             "", "| model | test | server | result |", "| --- | --- | --- | --- |"]
    text = "\n".join(lines + ["| " + " | ".join(row) + " |" for row in found]) + "\n"
    with (ROOT / "bench/RESULTS.md").open("a") as f:
        f.write("\n" + text)
    print(text)


if __name__ == "__main__":
    main()
