"""docs/TESTING.md: every limit has its tests, and what it names is there."""
import pathlib
import re

from test_serve_traps import FORMS, named_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/TESTING.md").read_text()


def test_the_tests_that_it_names_are_there():
    found = named_tests(TEXT)
    assert len(found) > 20
    for path, name in found:
        form = FORMS[pathlib.Path(path).suffix].format(re.escape(name))
        assert re.search(form, (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_every_limit_has_a_row():
    limits = re.findall(r"^\| [^|]+ \| `(--[\w-]+)` \| [^|]+ \| [^|]+ \|$", (ROOT / "docs/OPERATIONS.md").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| `(--[\w-]+)` \| .*::.* \|$", TEXT, re.MULTILINE)
    assert rows == limits and len(limits) > 15


def test_every_target_has_a_row_and_a_corpus():
    targets = {p.stem.removeprefix("fuzz_") for p in ROOT.glob("tests/fuzz/fuzz_*.c")}
    section = TEXT[TEXT.index("## Fuzzing"):TEXT.index("<!-- totals")]
    described = {name for row in re.findall(r"^\| (`[^|]*) \| ", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert described == targets
    assert all(list((ROOT / "tests/fuzz/corpus" / name).iterdir()) for name in targets)


def test_every_scenario_has_a_row():
    rows = set(re.findall(r"^\| [^|]+ \| `(\w+)` \| [\d,]+ \+ [\d,]+ \|", TEXT, re.MULTILINE))
    source = "".join(p.read_text() for p in ROOT.glob("tests/soak/*.py"))
    assert len(rows) > 15 and {name for name in rows if f"def {name}(" not in source} == set()
