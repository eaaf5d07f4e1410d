"""`kill -9` at any instant: what a client was told the end of is in the ledger, once, with the numbers it was told.
PUNA_KILLS says how many times (default 40); 500 take about ten minutes. The binary is $PUNA."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import sqlite3
import threading
import time

from puna_server import PUNA, Server

TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
KILLS = int(os.environ.get("PUNA_KILLS") or 40)
CLIENTS = 6
LIFE_S = 0.3  # at most, from when it listens


class World:
    """What clients share: where the server is, and what they were told."""

    def __init__(self):
        self.address = None
        self.told = {}
        self.lock = threading.Lock()
        self.is_over = False

    def take(self, name, usage):
        numbers = (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], usage["completion_tokens"])
        with self.lock:
            assert name not in self.told, "two answers have the same name"
            self.told[name] = numbers


def read_stream(answer):
    """None unless it came to its end."""
    events = answer.read().decode().split("\n\n")
    if "data: [DONE]" not in events:
        return None
    last = json.loads(events[events.index("data: [DONE]") - 1].removeprefix("data: "))
    return last["id"], last["usage"]


def ask(address, rng):
    body = {"model": "tiny", "seed": rng.randrange(1 << 30), "max_tokens": rng.randrange(1, 6), "temperature": 1.5}
    is_chat, streams = rng.random() < 0.5, rng.random() < 0.5
    text = "x" * rng.randrange(1, 20)
    body |= {"messages": [{"role": "user", "content": text}]} if is_chat else {"prompt": text}
    body |= {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions" if is_chat else "/v1/completions", json.dumps(body))
        answer = connection.getresponse()
        assert answer.status == 200
        if streams:
            return read_stream(answer)
        document = json.loads(answer.read())
        return document["id"], document["usage"]


def be_client(world, seed):
    rng = random.Random(seed)
    while not world.is_over:
        try:
            told = ask(world.address, rng)
            if told is not None:
                world.take(*told)
        except (OSError, http.client.HTTPException, TypeError):  # killed, or not there yet
            time.sleep(0.005)


def serve_and_kill(world, path, rng):
    """Whether the kill left a journal behind, so hit a transaction."""
    server = Server("--usage", "on", "--usage-store", path, "--threads", 1, TINY)
    world.address = server.address
    time.sleep(rng.random() * LIFE_S)
    server.process.send_signal(signal.SIGKILL)
    server.process.communicate()
    journal = path.with_name(path.name + "-journal")
    return journal.exists() and journal.stat().st_size > 0


def test_no_kill_loses_or_doubles_a_row_that_somebody_knows_of(tmp_path):
    path, world, seed = tmp_path / "usage.db", World(), random.randrange(1 << 30)
    print(f"seed {seed}, {KILLS} kills")
    clients = [threading.Thread(target=be_client, args=(world, f"{seed} {i}")) for i in range(CLIENTS)]
    for c in clients:
        c.start()
    try:
        rng = random.Random(seed)
        n_torn = sum(serve_and_kill(world, path, rng) for _ in range(KILLS))
    finally:
        world.is_over = True
        for c in clients:
            c.join()
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT id, n_prompt, n_cached, n_completion FROM usage WHERE status = 200").fetchall()
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = {name: tuple(rest) for name, *rest in rows}
    print(f"{len(world.told)} answers told, {len(found)} rows, {n_torn} kills within a transaction")
    assert len(found) == len(rows)
    assert world.told.items() <= found.items(), world.told.items() - found.items()
    assert len(world.told) > KILLS
