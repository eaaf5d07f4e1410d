"""docs/SECURITY.md: what it names is there. The promises themselves are kept by the tests that it names."""
import pathlib
import re
import subprocess

from puna_server import PUNA
from test_serve_traps import FORMS, named_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/SECURITY.md").read_text()


def test_every_promise_names_tests_that_are_there():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) > 20
    for number, row in rows:
        cells = row.split(" | ")
        assert len(cells) == 3 and cells[0], f"row {number}"
        found = named_tests(cells[2])
        assert found and len(found) == cells[2].count("`") // 2, f"row {number}"
        for path, name in found:
            form = FORMS[pathlib.Path(path).suffix].format(re.escape(name))
            assert re.search(form, (ROOT / path).read_text(), re.MULTILINE), f"row {number}: {path}::{name}"


def test_files_and_options_that_it_names_are_there():
    paths = re.findall(r"`((?:src|tests|docs|tools)/[\w./-]+)", TEXT) + [
        f"docs/{target}" for target in re.findall(r"\]\(([^)#]+)", TEXT)]
    assert len(paths) > 40 and [p for p in paths if not (ROOT / p).exists()] == []
    known = subprocess.run([PUNA, "serve", "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    options = set(re.findall(r"`(--[\w-]+)", TEXT))
    assert len(options) > 5 and {o for o in options if not re.search(rf"^ +(?:-\w, )?{o}\b", known, re.MULTILINE)} == set()
    anchors = re.findall(r"\]\(\.\./README\.md#([\w-]+)\)", TEXT)
    headings = [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in
                re.findall(r"^#+ (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)]
    assert anchors and set(anchors) <= set(headings)
