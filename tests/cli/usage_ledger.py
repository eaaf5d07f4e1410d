"""A ledger of usage made by hand, for the tests of what reads it."""
import pathlib
import re
import sqlite3

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src/store/store_usage.c"
COLUMNS = ["id", "key", "minutes", "model", "endpoint", "n_prompt", "n_cached", "n_completion", "is_filtered", "status",
           "began", "ended"]


def make_ledger(path):
    """A file of the form that the program makes: its own statements."""
    statements = re.search(r"migrations\[\] = \{(.*?)\n\};", SOURCE.read_text(), re.DOTALL)[1]
    statements = re.sub(r"/\*.*?\*/", "", statements, flags=re.DOTALL)
    forms = [f for f in re.split(r'",\n(?=    ")', statements) if f.strip()]
    with sqlite3.connect(path) as db:
        for form in forms:
            db.executescript("".join(re.findall(r'"((?:[^"\\]|\\.)*)"?', form)))
        db.execute(f"PRAGMA user_version = {len(forms)}")
        db.execute(f"PRAGMA application_id = {0x50756E75}")
    return path


class Ledger:
    """Rows of a file beside store.db in a folder."""

    def __init__(self, folder):
        self.store = folder / "store.db"
        self.path = make_ledger(folder / "store.db-usage")
        self.rows = []

    def add(self, ended, **changes):
        row = dict.fromkeys(COLUMNS, 0) | {
            "id": f"chatcmpl-{len(self.rows)}", "key": "", "minutes": "", "model": "tiny", "endpoint": "chat/completions",
            "status": 200, "began": int(ended * 1000) - 7, "ended": int(ended * 1000)} | changes
        self.rows.append(row)
        return row

    def write(self):
        with sqlite3.connect(self.path) as db:
            db.executemany(f"INSERT OR REPLACE INTO usage ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
                           [[r[c] for c in COLUMNS] for r in self.rows])

    def count(self):
        with sqlite3.connect(self.path) as db:
            return db.execute("SELECT count(*) FROM usage").fetchone()[0]
