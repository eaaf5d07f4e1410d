#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/store: small stores of keys as another program (Python's sqlite3) makes them, and
the same bent (see fuzz_store.c)."""
import pathlib
import sqlite3
import tempfile

OUT = pathlib.Path(__file__).resolve().parent / "corpus/store"
APPLICATION = 0x50756E61
COLUMNS = ("id TEXT PRIMARY KEY NOT NULL{id}, name TEXT NOT NULL, hash BLOB NOT NULL{hash}, old_hash BLOB, "
           "old_until INTEGER, created INTEGER NOT NULL, expires INTEGER, revoked INTEGER, scopes INTEGER NOT NULL, "
           "priority INTEGER NOT NULL, requests_per_minute INTEGER, tokens_per_minute INTEGER, concurrent INTEGER, "
           "models TEXT NOT NULL, origins TEXT NOT NULL")
CHECKED = COLUMNS.format(id=" CHECK (length(id) = 12)", hash=" CHECK (length(hash) = 32)")
STRICT = f"CREATE TABLE keys ({CHECKED}) STRICT, WITHOUT ROWID"
LOOSE = f"CREATE TABLE keys ({COLUMNS.format(id='', hash='')})"
ROW = ["a1a1a1a1a1a1", "name", b"h" * 32, None, None, 1, None, None, 7, 1, None, None, None, "", ""]


def row(**changes):
    names = [column.split()[0] for column in LOOSE[len("CREATE TABLE keys ("):].split(", ")]
    return [changes.get(name, value) for name, value in zip(names, ROW)]


def store(rows=(), table=STRICT, application=APPLICATION, form=1, more=()):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "store.db"
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA page_size = 512")
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {form}")
        for sql in ([table] if table else []) + list(more):
            db.execute(sql)
        for values in rows:
            db.execute(f"INSERT INTO keys VALUES ({', '.join('?' * len(values))})", values)
        db.close()
        return path.read_bytes()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    full = row(old_hash=b"o" * 32, old_until=9, expires=10, revoked=11, requests_per_minute=5, tokens_per_minute=6,
               concurrent=7, models="a\nb\n", origins="https://a.example\n")
    good = store([row(), full[:0] + ["b2b2b2b2b2b2"] + full[1:]])
    loose = {"scopes": 0, "priority": 3, "requests_per_minute": 0, "tokens_per_minute": 1 << 32, "id": "short",
             "hash": b"h", "models": "a\n\n", "origins": "a", "name": "a\0b", "old_until": 5, "created": "x"}
    files = {
        "good": good,
        "none": store(),
        "many": store([row(id=f"{i:012x}", name="n" * 40) for i in range(12)]),
        "long-row": store([row(models="m" * 500 + "\n", name="n" * 100)]),
        "cut": good[:-512],
        "cut-page": good[:700],
        "head-alone": good[:100],
        "bent-page": good[:600] + b"\xff" * 8 + good[608:],
        "another": store(application=1),
        "newer": store(form=2),
        "no-table": store(table=None),
        "not-filled": store(table=None, application=0, form=0),
        "missing-column": store(table="CREATE TABLE keys (id TEXT, name TEXT)"),
        "view": store(table="CREATE VIEW keys AS SELECT 1 AS id"),
        "trigger": store([row()], more=["CREATE TRIGGER t BEFORE UPDATE ON keys BEGIN SELECT RAISE(ABORT, 'no'); END"]),
        "text": b"no database at all, but a text that is longer than the head of one would be, which is 100 bytes\n" * 2,
        "empty": b"",
    }
    for name, value in loose.items():
        files[f"loose-{name.replace('_', '-')}"] = store([row(**{name: value})], table=LOOSE)
    for name, data in files.items():
        (OUT / name).write_bytes(b"\0" + data)
    (OUT / "filled").write_bytes(b"\1" + files["not-filled"])
    (OUT / "made").write_bytes(b"\1")


if __name__ == "__main__":
    main()
