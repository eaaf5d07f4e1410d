"""Patterns of our grammars against Python's `re`, of texts and of the inside of JSON strings, and GBNF against a
matcher written here that lists all short texts of a grammar. Everything is random, and seeded."""
import itertools
import json
import pathlib
import random
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MATCH = ROOT / "build/release/tests/grammar_match"
CHECK = ROOT / "build/release/tests/schema_check"
SEARCH, JSON, DOT_ALL, WIDE = 1, 2, 4, 8
N_BATCHES = 20


class Engine:
    def __init__(self):
        self.process = subprocess.Popen([MATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def ask(self, texts=None, **request):
        """The answer for texts, which are bytes, or for every character."""
        if texts is not None:
            request["texts"] = [t.decode("latin-1") for t in texts]
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def characters(self, **request):
        bounds = self.ask(**request)["characters"]
        return character_set(zip(bounds[::2], bounds[1::2], strict=True))

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


@pytest.fixture(scope="module")
def engine():
    e = Engine()
    yield e
    assert e.close() == 0


# --- patterns

LETTERS = "aab1_ -]é😀\n"
ATOMS = ["a", "b", "1", "é", "😀", " ", ".", r"\d", r"\w", r"\s", r"\S", r"\D", r"\W", r"\n", r"\-", r"\x61", r"\u00e9",
         "[ab]", "[^a]", "[a-c1]", r"[\w-]", r"[^\s\d]", r"[\]é😀-😎]", "[^\\n]", "[-a]", "[1-]"]
QUANTIFIERS = ["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??", "{1,2}?"]


def pattern(r, depth, loops=True):
    """Without loops in loops, which take Python's matcher forever."""
    def piece():
        loop = r.choice(QUANTIFIERS) if loops and r.random() < 0.4 else r.choice(["?", "{1,2}", "{2}"]) if r.random() < 0.2 else ""
        if depth > 0 and r.random() < 0.35:
            name = r.choice(["(", "(?:", "(?P<n%d>" % r.randrange(10 ** 9)])
            return name + pattern(r, depth - 1, loops and loop == "") + ")" + loop
        return r.choice(ATOMS) + loop

    def sequence():
        return "".join(piece() for _ in range(r.choice([0, 1, 1, 2, 2, 3])))
    return "|".join(sequence() for _ in range(r.choice([1, 1, 1, 2, 3])))


def texts(r):
    return ["", "a", "ab"] + ["".join(r.choice(LETTERS) for _ in range(r.randrange(9))) for _ in range(40)]


def check(engine, source, match, strings, flags=0, spell=str, strict=None):
    """A pattern has the texts that match by both readings of the classes, ASCII's of ECMA-262 and Python's, and the wide one
    those that match by either; of the letters here they differ about \\w of é. strict: the pattern without texts that Python
    takes and ECMA-262 does not."""
    spelled = [spell(s).encode() for s in strings]
    narrow, wide = (engine.ask(spelled, pattern=source, flags=flags | more)["matches"] for more in (0, WIDE))
    for s, is_in, may_be_in in zip(strings, narrow, wide):
        both = all(match(strict or source, s, f) for f in (re.ASCII, re.UNICODE))
        either = any(match(source, s, f) for f in (re.ASCII, re.UNICODE))
        is_open = "é" in s and re.search(r"\\[wW]", source)
        assert is_in <= both and either <= may_be_in, (source, s, is_in, both, may_be_in, either)
        assert is_open or (is_in, may_be_in) == (both, either), (source, s, is_in, both, may_be_in, either)


def anchored(r):
    """A pattern with anchors at its ends, ours and Python's without a line end behind $."""
    ours, python = [], []
    for _ in range(r.choice([1, 1, 2])):
        start, end = r.choice(["^", ""]), r.choice(["$", ""])
        body = pattern(r, 1)
        body = body if "|" not in body else f"(?:{body})"
        ours.append(start + body + end)
        python.append(start + body + (r"\Z" if end else ""))
    return "|".join(ours), "|".join(python)


@pytest.mark.parametrize("seed", range(N_BATCHES))
def test_a_pattern_matches_whole_texts_as_in_python(engine, seed):
    r = random.Random(seed)
    for _ in range(100):
        source, strings = pattern(r, 2), texts(r)
        check(engine, source, lambda p, s, f: re.fullmatch(p, s, f) is not None, strings)


@pytest.mark.parametrize("seed", range(N_BATCHES))
def test_a_pattern_is_found_in_texts_as_in_python(engine, seed):
    r = random.Random(1000 + seed)
    for _ in range(100):
        (source, python), strings = anchored(r), texts(r)
        check(engine, source, lambda p, s, f: re.search(p, s, f) is not None, strings, SEARCH, strict=python)


def spelled(text):
    """The way in which a text is written, without the quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def spelled_otherwise(r, text):
    """One of the other ways in which JSON writes a text of at least a character."""
    out = ""
    for c in text:
        units = c.encode("utf-16-be")
        long = "".join("\\u" + "".join(r.choice([d.lower(), d.upper()]) for d in units[i:i + 2].hex()) for i in range(0, len(units), 2))
        short = {"\n": "\\n", '"': '\\"', "\\": "\\\\", "/": "\\/", "\t": "\\t"}.get(c)
        out += r.choice(([c] if c >= " " and c not in '"\\' else []) + ([short] if short else []) + [long])
    assert json.loads(f'"{out}"') == text
    return out if out != spelled(text) else long


@pytest.mark.parametrize("seed", range(N_BATCHES))
def test_a_pattern_is_about_the_characters_of_a_json_string(engine, seed):
    r = random.Random(2000 + seed)
    for _ in range(50):
        source, strings = pattern(r, 1), texts(r) + ['"', '\\a', "/", "\t"]
        others = [spelled_otherwise(r, s) for s in strings if s and spelled(s[-1])[:2] != "\\u"]
        check(engine, source, lambda p, s, f: re.fullmatch(p, s, f) is not None, strings, JSON, spelled)
        answer = engine.ask([s.encode() for s in others], pattern=source, flags=JSON)
        assert answer.get("matches") == [False] * len(others), (source, answer, others)
    broken = [b"\n", b'"', b"\\", b"\\x", b"\\u12", b"\\ud83d", b"\\ude00", b"\\ud83da", b"\xff", b"\xed\xa0\x80"]
    assert engine.ask(broken, pattern=".*", flags=JSON | DOT_ALL)["matches"] == [False] * len(broken)


SPACES = "\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"  # of ECMA-262
# Patterns of one character, and how `re` with ASCII's letters and digits spells what ECMA-262 means by them.
CLASSES = {r"\s": f"[{SPACES}]", r"\S": f"[^{SPACES}]", r"[^\s]": f"[^{SPACES}]", r"[^\S]": f"[{SPACES}]", r"\d": r"\d", r"\D": r"\D",
           r"[^\d]": r"[^\d]", r"\w": r"\w", r"\W": r"\W", r"[^\W]": r"[^\W]", r"[^\W\d_]": r"[^\W\d_]", r"[^\w\s]": rf"[^\w{SPACES}]",
           r"[\s\d]": rf"[\d{SPACES}]", r"[\Dx]": r"[\Dx]", ".": "[^\n\r\u2028\u2029]"}
CHARACTERS = "".join(map(chr, range(0x110000)))


def character_set(ranges):
    """As bits of a number: from each first to each last."""
    return sum((1 << last + 1) - (1 << first) for first, last in ranges)


SURROGATES = character_set([(0xd800, 0xdfff)])


def python_set(source, flags=0):
    return character_set((run.start(), run.end() - 1) for run in re.finditer(f"(?:{source})+", CHARACTERS, flags)) & ~SURROGATES


def listed(bits):
    return [chr(c) for c in range(0x110000) if bits >> c & 1][:20] if bits else []


@pytest.mark.parametrize("source", CLASSES)
def test_a_class_has_what_both_readings_have_and_a_wide_one_what_either_has(engine, source):
    ecma, python = python_set(CLASSES[source], re.ASCII), python_set(source)
    narrow, wide = (engine.characters(pattern=source, flags=flags) for flags in (0, WIDE))
    assert narrow & ~(ecma & python) == 0, listed(narrow & ~(ecma & python))
    assert (ecma | python) & ~wide == 0, listed((ecma | python) & ~wide)
    common = [*map(chr, range(128)), *"\x85\xa0\ufeff\u2028\u3000«»—…€→∑、。！😀🇩"]
    common += "é中а" if "W" not in source and r"\w" not in source else ""
    common = character_set((c, c) for c in set(map(ord, common)))
    assert narrow & common == ecma & python & common
    assert wide & common == (ecma | python) & common


# Where only one reading of a text matches a narrow pattern has it not, and a wide one has it.
READINGS = {r"^[a-c]$": "c\n", r"^\S+$": "a\ufeff", r"\s": "\x85", r"^.$": "\r", r"^\W{2}$": "!é", r"^\d$": "\u0663", r"^(a|b$)": "b\n"}


@pytest.mark.parametrize("source", READINGS)
def test_a_text_about_which_readers_differ_is_of_wide_patterns_alone(engine, source):
    for flags, spell in ((SEARCH, str), (SEARCH | JSON, spelled)):
        text = spell(READINGS[source]).encode()
        assert engine.ask([text], pattern=source, flags=flags) == {"matches": [False]}
        assert engine.ask([text], pattern=source, flags=flags | WIDE) == {"matches": [True]}


BOM = "\ufeff"
# Schemas, values that have a text and values that have none, as some reader would find them invalid.
SCHEMAS = [
    ({"type": "string", "pattern": r"^\S+\s$"}, ["a ", "é\t"], ["a" + BOM, "a\x1c", "a\x85", BOM + " ", "\x1c "]),
    ({"type": "string", "not": {"pattern": r"^[a-c]$|\s$"}}, ["d", "ab", "c\n\nx"], ["c", "c\n", "x" + BOM, "x\x1c", "x "]),
    ({"type": "string", "not": {"not": {"pattern": r"^\w$"}}}, ["w"], ["é", "w\n"]),
    ({"type": "string", "if": {"pattern": r"^\d$"}, "then": {"const": "7"}, "else": {"maxLength": 1}}, ["7", "a"], ["8", "\u0663", "8\n"]),
    ({"oneOf": [{"type": "string", "pattern": r"^\s$"}, {"type": "string", "pattern": r"^\S$"}]}, [" ", "a"], [BOM, "\x1c"]),
    ({"type": "object", "patternProperties": {"^[a-c]$": {"type": "array"}}}, [{"c": []}, {"d": -5}, {"cc": -5}], [{"c": -5}, {"c\n": -5}]),
    ({"type": "object", "patternProperties": {r"^\S$": {"const": 1}}, "properties": {BOM: {}, "d": {}}, "additionalProperties": False},
     [{"d": 1}, {"x": 1}, {BOM: 1}], [{BOM: 2}, {"d": 2}, {"\x85": 1}]),
    ({"type": "object", "propertyNames": {"pattern": r"^\W$"}}, [{"!": 1}], [{"é": 1}, {"a": 1}]),
]


@pytest.mark.parametrize("schema,yes,no", SCHEMAS)
def test_a_schema_has_what_is_valid_by_both_readings_of_its_patterns(schema, yes, no):
    texts = [json.dumps(value, ensure_ascii=False) for value in yes + no]
    request = json.dumps({"schema": schema, "instances": yes + no, "texts": texts}) + "\n"
    answer = json.loads(subprocess.run([CHECK], input=request, capture_output=True, text=True, check=True).stdout)
    assert answer["allowed"] == [True] * len(yes) + [False] * len(no), answer
    assert not any(outcome == "invalid" for outcome, _ in answer["verdicts"][:len(yes)])
    assert not any(outcome == "valid" for outcome, _ in answer["verdicts"][len(yes):])


REFUSED = {
    "unsupported": [r"(a)\1", r"(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"\bword", r"\B", r"\p{L}", "(?i)a", "(?#c)a", "a++", "a*+",
                    r"(?P<x>a)(?P=x)", r"\k<x>", "a^b", "a$b", "(a$)b", "b(^a)", "(^a)*", r"\q", "[]a]", "[^]", "a{,3}", r"\01", r"\ud800", r"\ud83d\ude00"],
    "format": ["(", ")", "a)", "(a", "[a", "[b-a]", "*", "a|*", "(?:*)", "a**", "a{2}{3}", "a{3,1}", r"\x4", r"\u12", "\\", r"[\d-a]",
               "(?P<a"],
}


@pytest.mark.parametrize("code,source", [(code, s) for code, sources in REFUSED.items() for s in sources])
def test_what_is_no_regular_expression_of_ours_is_refused(engine, code, source):
    for flags in (0, SEARCH):
        answer = engine.ask([b"a"], pattern=source, flags=flags)
        assert answer.get("code") == code, (source, answer)
        assert answer["error"].startswith("pattern, byte "), answer


def test_braces_and_hyphens_that_mean_nothing_are_characters(engine):
    for source, text in [("a{", "a{"), ("a{x}", "a{x}"), ("{2}a"[1:], "2}a"), ("a{1", "a{1"), ("[a-]", "-"), ("]", "]"), ("}", "}"),
                         (r"[\b]", "\b"), (r"\/", "/"), (r"\u{1f600}", "😀"), (r"\U0001F600", "😀")]:
        assert engine.ask([text.encode(), b"?"], pattern=source) == {"matches": [True, False]}, source


HOSTILE = [r"(a*)*b", r"(a|a)*b", r"(a|aa)+$", r"(.*.*)*x", r"([a-z]+)+[0-9]", "a{1000}{1000}", "(a{100}){100}b", "(a|b)*a(a|b){14}",
           "(" * 90 + "a" + ")*" * 90, "((a{0,50}){0,50}){0,50}", ".{0,10000000}x", "(x+x+)+y"]


@pytest.mark.parametrize("source", HOSTILE)
@pytest.mark.parametrize("flags", [0, SEARCH, JSON])
def test_a_pattern_that_stops_others_is_matched_or_refused(engine, source, flags):
    answer = engine.ask([b"a" * 3000 + b"!"], pattern=source, flags=flags)
    assert answer.get("matches") is not None or answer["code"] in ("unsupported", "format"), answer


# --- GBNF

LONGEST = 5
ALL = ["".join(t) for n in range(LONGEST + 1) for t in itertools.product("xy", repeat=n)]


def join(a, b):
    return frozenset(s + t for s in a for t in b if len(s) + len(t) <= LONGEST)


class Body:
    """A random expression: how GBNF writes it, and its texts by those of the rules."""

    def __init__(self, r, depth, rules):
        kind = r.choice(["text", "class", "rule", "rule", "rule"] if depth == 0 else ["sequence", "sequence", "choice", "repeat", "rule", "text"])
        parts = [Body(r, depth - 1, rules) for _ in range(r.choice([1, 2, 2, 3]))] if kind in ("sequence", "choice") else []
        if kind == "text":
            text = r.choice(["x", "y", "xy", "yx", ""])
            self.gbnf, self.texts = f'"{text}"', lambda of: frozenset([text])
        elif kind == "class":
            self.gbnf, self.texts = "[xy]", lambda of: frozenset("xy")
        elif kind == "rule":
            name = r.choice(rules)
            self.gbnf, self.texts = name, lambda of: of[name]
        elif kind == "sequence":
            self.gbnf = "(" + " ".join(p.gbnf for p in parts) + ")"
            self.texts = lambda of: self.sequence(of, parts)
        elif kind == "choice":
            self.gbnf = "(" + " | ".join(p.gbnf for p in parts) + ")"
            self.texts = lambda of: frozenset().union(*(p.texts(of) for p in parts))
        else:
            mark, least, most = r.choice([("*", 0, None), ("+", 1, None), ("?", 0, 1), ("{2}", 2, 2), ("{1,3}", 1, 3), ("{2,}", 2, None), ("{0,9}", 0, 9)])
            body = Body(r, depth - 1, rules)
            self.gbnf = body.gbnf + mark
            self.texts = lambda of: self.repeat(of, body, least, most)

    @staticmethod
    def sequence(of, parts):
        found = frozenset([""])
        for p in parts:
            found = join(found, p.texts(of))
        return found

    @staticmethod
    def repeat(of, body, least, most):
        once, found, layer = body.texts(of), frozenset(), frozenset([""])
        for i in range((most if most is not None else least + LONGEST) + 1):
            found = found | layer if i >= least else found
            layer = join(layer, once)
        return found


def least_fixpoint(bodies):
    of = {name: frozenset() for name in bodies}
    while True:
        after = {name: body.texts(of) for name, body in bodies.items()}
        if after == of:
            return of
        of = after


@pytest.mark.parametrize("seed", range(N_BATCHES))
def test_gbnf_has_the_texts_that_are_derived_from_it(engine, seed):
    r = random.Random(3000 + seed)
    n_matched = 0
    for _ in range(100):
        rules = ["root", "a", "b"]
        bodies = {name: Body(r, 2, rules) for name in rules}
        source = "\n".join(f"{name} ::= {body.gbnf}" for name, body in bodies.items())
        answer = engine.ask([t.encode() for t in ALL], gbnf=source)
        if "error" in answer:
            assert "left recursion" in answer["error"] or "no text" in answer["error"], (source, answer)
            assert "left recursion" in answer["error"] or not least_fixpoint(bodies)["root"], source
            continue
        n_matched += 1
        of = least_fixpoint(bodies)["root"]
        wrong = [t for t, is_match in zip(ALL, answer["matches"]) if is_match != (t in of)]
        assert not wrong, (source, wrong)
    assert n_matched > 10
