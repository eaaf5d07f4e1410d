#!/usr/bin/env python3
"""Random programs in Jinja's language: mostly of fitting types, so that much of them renders, with a share of nonsense
to meet the errors. A seed gives the same program each time.

usage: jinja_programs.py N [FIRST]    compare the programs of N seeds with Python's jinja2"""
import collections
import random
import sys
import warnings

STRINGS = ["", "a", "user", "Hello, World", " x ", "\n  two\nlines \n", "it's", 'say "hi"', "<|eot_id|>", "<b>&amp;</b>", "é", "ß ǆ ŉ",
           "ΑΣ ΣΑΣ.", "日本語", "🦙x", "a,b,,c", "aaa", "12", " 3.5 ", "-7", "1e3", "0x1f", "\u3000wide\u00a0", "\x1c\x85z", "\t\\n",
           "İstanbul", "one two  three", "x\ry\r\nz", "{}", "%s and %d", "\x7f\x00\u200b", "role", "ﬁn", "a-b (c) [d] {e} <f>"]
LITERALS = ["''", "'a'", '"b"', "'user'", "' '", "','", "'\\n'", "'\\t'", "'\\x41\\u00e9\\U0001F999'", "'it\\'s'", "'\\101\\q'", "'l'", "'é'", "'aa'",
            "'<|im_end|>'", "'{}'", "'%s'", "'\\\\'", "'x' 'y'", "'\\\n'", "'\\é'", "'role'", "'content'", "'.'", "'a.b'"]
NAMES = ["role", "content", "a", "b", "items", "name", "keys", "get", "x y", "0", "A"]
IDENTIFIERS = ["role", "content", "a", "b", "items", "name", "keys", "A", "q"]
VARIABLES = {
    "str": ["s", "t", "r"], "int": ["n", "m", "k"], "float": ["f", "g"], "bool": ["b", "c"], "none": ["z"], "undef": ["u", "v"],
    "list": ["l", "ls", "ln", "e"], "dict": ["d", "h"], "dicts": ["ld", "messages"],
}
TESTS0 = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping", "iterable",
          "sequence", "odd", "even", "lower", "upper", "callable", "escaped"]
TESTS1 = ["eq", "ne", "lt", "le", "gt", "ge", "equalto", "in", "divisibleby", "greaterthan", "lessthan", "sameas"]


def random_value(r, depth=0):
    kind = r.randrange(9 if depth < 3 else 6)
    if kind < 2:
        return r.choice(STRINGS)
    if kind == 2:
        return r.choice([0, 1, -1, 2, 3, 7, 10, -5, 255, 1000000, 2**53 + 1, -(2**62)])
    if kind == 3:
        return r.choice([0.0, 1.5, -2.25, 1e22, 1e-7, 0.1, 3.0, -0.0, 123456789.125, 1e16, 2.5, 0.5])
    if kind == 4:
        return r.choice([True, False])
    if kind == 5:
        return None
    if kind < 8:
        return [random_value(r, depth + 1) for _ in range(r.randrange(4))]
    return {r.choice(NAMES): random_value(r, depth + 1) for _ in range(r.randrange(4))}


def random_context(r):
    text = lambda: "".join(r.choice(STRINGS) for _ in range(r.randrange(1, 3)))
    item = lambda: {"role": r.choice(["user", "assistant", "system", "tool"]), "content": r.choice([text(), text(), None, [text()]]),
                    **({"a": random_value(r, 2)} if r.random() < .5 else {})}
    return {
        "s": text(), "t": text(), "r": r.choice(["user", "a", "Hello"]), "n": r.randrange(-3, 12), "m": r.choice([0, 1, 2, 17, -4]), "k": 3,
        "f": r.choice([0.5, -1.25, 3.0, 1e20]), "g": r.random() * 100, "b": True, "c": False, "z": None,
        "l": [random_value(r, 1) for _ in range(r.randrange(5))], "ls": [r.choice(STRINGS) for _ in range(r.randrange(5))],
        "ln": [r.randrange(-5, 20) for _ in range(r.randrange(5))], "e": [],
        "d": {r.choice(NAMES): random_value(r, 1) for _ in range(r.randrange(5))}, "h": {"a": 1, "b": {"c": [1, 2]}},
        "ld": [item() for _ in range(r.randrange(4))], "messages": [item() for _ in range(r.randrange(1, 4))],
    }


class Program:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.context = random_context(self.r)
        self.scope = []  # (name, type) of variables that the program made
        self.macros = []
        self.loops = 0
        self.fresh = 0

    def pick(self, *choices):
        return self.r.choice(choices)

    # --- expressions

    def variable(self, kind):
        names = [n for n, k in self.scope if k == kind] * 2 + VARIABLES.get(kind, ["u"])
        return self.r.choice(names)

    def any(self, depth):
        kind = self.pick("str", "str", "int", "float", "bool", "list", "dict", "dicts", "none", "undef", "tuple", "range", "iter")
        return self.of(kind, depth)

    def of(self, kind, depth):
        if self.r.random() < .04:  # nonsense now and then
            kind = self.pick("str", "int", "list", "dict", "none", "undef", "float")
        if kind in ("none", "undef"):
            return self.variable(kind) if self.r.random() < .7 else "none"
        text = getattr(self, "make_" + kind)(depth)
        return f"({text})" if self.r.random() < .35 else text

    def operand(self, kind, depth):
        return f"({self.of(kind, depth)})"

    def make_str(self, depth):
        r = self.r
        if depth <= 0:
            return r.choice(LITERALS) if r.random() < .5 else self.variable("str")
        s = lambda: self.operand("str", depth - 1)
        n = lambda: self.of("int", depth - 2)
        lit = lambda: r.choice(LITERALS)
        options = [
            lambda: f"{s()} + {s()}", lambda: f"{s()} ~ {self.operand(self.pick('int', 'float', 'bool', 'str', 'list', 'none', 'undef', 'dict'), depth - 1)}",
            lambda: f"{s()} * {self.pick('0', '1', '2', '3', '-1', 'true')}", lambda: f"{s()}[{n()}]",
            lambda: f"{s()}[{self.slice(depth)}]", lambda: f"{s()}|{self.text_filter(depth)}", lambda: f"{s()}.{self.text_method(depth)}",
            lambda: f"{self.operand('list', depth - 1)}|join({self.pick('', lit(), lit())})",
            lambda: f"{self.any(depth - 1)}|string" if r.random() < .5 else f"({self.any(depth - 1)})|tojson{self.json_options()}",
            lambda: f"{s()} if {self.of('bool', depth - 1)} else {s()}", lambda: f"{self.operand('str', depth - 1)}|default({lit()}, {self.pick('true', 'false')})",
            lambda: f"{self.variable('undef')}|default({s()})", lambda: f"{lit()}.join({self.operand('list', depth - 1)}|map('string'))",
            lambda: self.formatted(depth), lambda: f"messages[{self.pick('0', '-1', '1', '5')}].{self.pick('role', 'content')}",
            lambda: f"messages[0]['{self.pick('role', 'content')}']", lambda: self.call_macro(depth),
            lambda: f"{self.operand('float', depth - 1)}|string", lambda: self.variable("str"), lit,
        ]
        return r.choice(options)()

    def slice(self, depth):
        part = lambda: self.pick("", "", "0", "1", "-1", "2", "-2", "5", self.of("int", depth - 2))
        step = self.pick("", "", ":", ":-1", ":2", ":" + self.of("int", 0))
        return f"{part()}:{part()}{step}"

    def json_options(self):
        return self.pick("", "", "(indent=2)", "(indent=0)", "(false, 4)", "(true)", "(sort_keys=true)", "(separators=(',', ':'))", "(indent=none)",
                         "(indent='\\t')", "(indent=-1)", "(ensure_ascii=true, indent=1)", "(separators=['; ', '='], indent=2)")

    def text_filter(self, depth):
        s = lambda: self.of("str", depth - 2)
        return self.r.choice([
            lambda: self.pick("trim", "upper", "lower", "title", "capitalize", "length", "string", "reverse", "list", "safe", "escape", "e",
                              "first", "last", "int", "float", "wordcount", "unique|list", "sort|join", "indent", "tojson", "forceescape", "count"),
            lambda: f"replace({s()}, {s()}{self.pick('', '', ', 1', ', 0', ', -1')})", lambda: f"trim({s()})",
            lambda: f"indent({self.pick('2', '0', s(), 'width=3')}{self.pick('', ', true', ', false, true', ', first=true', ', blank=true')})",
            lambda: f"default({s()})", lambda: f"batch({self.pick('2', '1', '3')}{self.pick('', ', none', s() and ', 0')})|list", lambda: f"format({self.any(0)})",
            lambda: f"int({self.pick('5', 'none', 'default=-1', '0, 16', 'base=2')})", lambda: f"float({self.pick('1.5', 'default=2')})",
            lambda: f"slice({self.pick('2', '3')})|list", lambda: "nosuchfilter",
        ])()

    def text_method(self, depth):
        s = lambda: self.of("str", depth - 2)
        n = lambda: self.pick("0", "1", "2", "-1", "10", "n")
        return self.r.choice([
            lambda: self.pick("strip", "lstrip", "rstrip", "upper", "lower", "title", "capitalize", "swapcase", "split", "splitlines", "isdigit",
                              "isalpha", "isalnum", "isspace", "isupper", "islower", "isascii", "isdecimal", "rsplit", "isnumeric") + "()",
            lambda: f"{self.pick('strip', 'lstrip', 'rstrip')}({s()})", lambda: f"replace({s()}, {s()}{self.pick('', ', 1', ', -1')})",
            lambda: f"{self.pick('split', 'rsplit')}({self.pick(s(), 'none', s())}{self.pick('', ', 1', ', 2', ', 0')})",
            lambda: f"split({s()})[{self.pick('0', '-1', '1')}]", lambda: f"{self.pick('startswith', 'endswith')}({s()}{self.pick('', ', 1', ', 0, -1')})",
            lambda: f"{self.pick('startswith', 'endswith')}(({s()}, {s()}))", lambda: f"{self.pick('find', 'rfind', 'count', 'index')}({s()}{self.pick('', ', 1')})",
            lambda: f"{self.pick('partition', 'rpartition', 'removeprefix', 'removesuffix')}({s()})",
            lambda: f"{self.pick('ljust', 'rjust', 'center')}({n()}{self.pick('', ', ' + repr('*'))})", lambda: f"join({self.operand('list', depth - 1)})",
            lambda: f"splitlines({self.pick('true', 'false', 'keepends=true')})", lambda: self.pick("nosuch", "nosuch()", "upper", "__class__"),
        ])()

    def formatted(self, depth):
        a, b = self.any(depth - 2), self.any(depth - 2)
        template = self.pick("%s", "%s-%s", "%r", "%d", "%5d|", "%-6s|", "%05.1f", "%.2f", "%x", "%+d", "%%", "%e", "%(a)s", "% d", "%3s|", "%.1s", "%g", "%06d",
                             "%o", "%i%s", "%u", "%G", "%.3d")
        if self.r.random() < .5:
            values = self.pick(f"({a})", f"({a}, {b})", f"[{a}]", "h", f"({a},)")
            return f"'{template}' % {values}" if self.r.random() < .7 else f"'{template}'|format({a}{self.pick('', ', ' + b)})"
        field = self.pick("{}", "{0}", "{} {}", "{1}{0}", "{:>5}", "{:<4}|", "{:^6}|", "{:.2f}", "{:,}", "{x}", "{0.a}", "{0[a]}", "{!r}", "{{}}", "{:05d}", "{:x}",
                          "{:*^9}", "{:+}", "{:.1%}", "{:_}", "{:e}", "{:d}", "{:s}", "{0[0]}", "{!s:>6}", "{:#x}", "{:.2}")
        return f"'{field}'.format({a}{self.pick('', ', ' + b)}{self.pick('', ', x=' + a)})"

    def make_int(self, depth):
        r = self.r
        if depth <= 0:
            return r.choice(["0", "1", "2", "3", "-1", "7", "10", "1_000", "0x1F", "0b101", "0o17"]) if r.random() < .5 else self.variable("int")
        n = lambda: self.operand("int", depth - 1)
        return r.choice([
            lambda: f"{n()} {self.pick('+', '-', '*', '//', '%')} {n()}", lambda: f"-{n()}", lambda: f"+{n()}",
            lambda: f"{self.operand(self.pick('str', 'list', 'dict', 'range', 'dicts'), depth - 1)}|{self.pick('length', 'count')}",
            lambda: f"{self.operand(self.pick('str', 'float', 'int', 'bool'), depth - 1)}|int", lambda: f"{n()}|abs", lambda: f"{n()} ** {self.pick('0', '1', '2', '3', n())}",
            lambda: f"ln|{self.pick('sum', 'max', 'min', 'first', 'last', 'length')}", lambda: f"{n()} {self.pick('+', '*')} {self.of('bool', depth - 1)}",
            lambda: f"{n()}|round({self.pick('', '0', '-1', 'method=' + repr('common'))})", lambda: f"{self.operand('list', depth - 1)}.{self.pick('count', 'index')}({self.any(0)})",
            lambda: "loop." + self.pick("index", "index0", "revindex", "revindex0", "length", "depth", "depth0") if self.loops else "4", lambda: self.variable("int"),
            lambda: self.pick("[1,2,3]", "(1, 2)", "range(5)") + f"[{self.of('int', 0)}]",
        ])()

    def make_float(self, depth):
        r = self.r
        if depth <= 0:
            return r.choice(["0.5", "1.0", "-2.25", "1e3", "1.5e-7", "0.1", "1e100", "2.5", "1_0.5", "3.5"]) if r.random() < .5 else self.variable("float")
        x = lambda: self.operand(self.pick("float", "float", "int"), depth - 1)
        return r.choice([
            lambda: f"{x()} {self.pick('+', '-', '*', '/', '//', '%')} {x()}", lambda: f"-{x()}", lambda: f"{self.operand('int', depth - 1)} / {self.operand('int', depth - 1)}",
            lambda: f"{x()}|round({self.pick('', '1', '2', '0', '3', '1, ' + repr('floor'), '0, ' + repr('ceil'), 'precision=2')})",
            lambda: f"{self.operand(self.pick('str', 'int', 'float'), depth - 1)}|float", lambda: f"{x()}|abs", lambda: self.variable("float"),
        ])()

    def make_bool(self, depth):
        r = self.r
        if depth <= 0:
            return r.choice(["true", "false", "True", "False"]) if r.random() < .4 else self.variable("bool")
        kind = self.pick("int", "float", "str", "list", "bool", "none", "undef", "dict")
        return r.choice([
            lambda: f"{self.operand(kind, depth - 1)} {self.pick('==', '!=', '<', '<=', '>', '>=')} {self.operand(kind, depth - 1)}",
            lambda: f"{self.operand(kind, depth - 1)} {self.pick('==', '!=')} {self.any(depth - 1)}", lambda: f"not {self.operand('bool', depth - 1)}",
            lambda: f"{self.operand('bool', depth - 1)} {self.pick('and', 'or')} {self.operand('bool', depth - 1)}",
            lambda: f"{self.operand(self.pick('str', 'str', 'int'), depth - 1)} {self.pick('in', 'not in')} {self.operand(self.pick('str', 'list', 'dict', 'dicts', 'range', 'tuple'), depth - 1)}",
            lambda: f"({self.any(depth - 1)}) is {self.pick('', 'not ')}{r.choice(TESTS0)}",
            lambda: f"({self.any(depth - 1)}) is {self.pick('', 'not ')}{r.choice(TESTS1)}{self.pick('(', ' (')}{self.any(depth - 1)})",
            lambda: f"{self.operand('int', depth - 1)} is {self.pick('divisibleby 2', 'odd', 'even', 'eq 1', 'in [1, 2]', 'none', 'nosuchtest')}",
            lambda: f"0 < {self.operand('int', depth - 1)} <= 5", lambda: f"{self.pick('d', 'h', 'messages[0]', 's', 'u', 'z', 'n')}.{r.choice(IDENTIFIERS)} is {self.pick('', 'not ')}defined",
            lambda: "loop." + self.pick("first", "last", "changed(n)", "nextitem is defined", "previtem is defined", "cycle(true, false)") if self.loops else "b",
            lambda: self.variable("bool"),
        ])()

    def make_list(self, depth):
        r = self.r
        if depth <= 0:
            return r.choice(["[]", "[1, 2, 3]", "['a', 'B', 'a']", "[1, 'x', none]", "[[1], [2]]", "[true, 1.5,]"]) if r.random() < .4 else self.variable("list")
        l = lambda: self.operand("list", depth - 1)
        return r.choice([
            lambda: "[" + ", ".join(self.any(depth - 1) for _ in range(r.randrange(4))) + "]", lambda: f"{l()} + {l()}", lambda: f"{l()}[{self.slice(depth)}]",
            lambda: f"{l()} * {self.pick('0', '2', '-1')}",
            lambda: f"{self.operand(self.pick('list', 'dicts', 'str', 'dict', 'range', 'iter'), depth - 1)}|{self.list_filter(depth)}",
            lambda: f"{self.operand('str', depth - 1)}.split({self.pick('', repr(','), repr('a'))})", lambda: f"{self.operand('dict', depth - 1)}.{self.pick('keys', 'values', 'items')}()|list",
            lambda: f"{self.operand('dict', depth - 1)}|{self.pick('dictsort', 'items|list', 'list', 'dictsort(true)', 'dictsort(reverse=true)', 'dictsort(by=' + repr('value') + ')')}",
            lambda: f"{self.iter(depth)}|list", lambda: self.variable("list"), lambda: f"{self.operand('dicts', depth - 1)}|list",
        ])()

    def list_filter(self, depth):
        attribute = self.pick("'role'", "'content'", "'a'", "0", "'a.b'", "'a.0'")
        return self.r.choice([
            lambda: self.pick("list", "reverse|list", "unique|list", "sort", "first", "last", "length", "sum", "min", "max", "join", "map('string')|list", "string", "tojson",
                              "sort(true)", "sort(reverse=true, case_sensitive=true)", "sum(start=1)", "items|list", "random|default(1)|length" if False else "list"),
            lambda: f"map(attribute={attribute}{self.pick('', ', default=0')})|list", lambda: f"selectattr({attribute})|list",
            lambda: f"{self.pick('selectattr', 'rejectattr')}({attribute}, '{self.pick('equalto', 'eq', 'in', 'ne', '==', '!=')}', {self.any(depth - 2)})|list",
            lambda: f"{self.pick('selectattr', 'rejectattr')}({attribute}, '{self.r.choice(TESTS0)}')|list",
            lambda: f"{self.pick('select', 'reject')}({self.pick('', repr(self.r.choice(TESTS0)), repr(self.r.choice(TESTS1)) + ', ' + self.any(0))})|list",
            lambda: f"map('{self.pick('upper', 'lower', 'trim', 'length', 'int', 'tojson', 'first', 'list', 'nosuch', 'string', 'abs')}')|list",
            lambda: f"map('{self.pick('default', 'replace', 'join', 'round', 'indent')}', {self.any(0)}{self.pick('', ', ' + self.any(0))})|list",
            lambda: f"sort(attribute={attribute})", lambda: f"join({self.pick(',', self.r.choice(LITERALS))}, {attribute})", lambda: f"groupby({attribute})",
            lambda: f"unique(attribute={attribute})|list", lambda: f"batch({self.pick('2', '3', '1')}{self.pick('', ', ' + self.any(0))})|list",
            lambda: f"slice({self.pick('2', '3', '1')}{self.pick('', ', ' + self.any(0))})|list", lambda: f"{self.pick('min', 'max')}(attribute={attribute})",
            lambda: f"sum({attribute})", lambda: f"groupby({attribute}, default={self.any(0)})|map('list')|list",
        ])()

    def make_tuple(self, depth):
        return "(" + "".join(self.any(depth - 1) + ", " for _ in range(self.r.randrange(1, 4))) + ")"

    def make_range(self, depth):
        return self.pick("range(3)", "range(1, 6, 2)", "range(5, 0, -1)", "range(n)", "range(0)", f"range({self.of('int', 0)})", "range(2, 5)[1:]")

    def make_iter(self, depth):
        return self.iter(depth)

    def iter(self, depth):
        source = self.operand(self.pick("list", "dicts", "str"), depth - 1)
        return f"{source}|{self.pick('map(' + repr('string') + ')', 'select', 'reject', 'unique', 'reverse', 'batch(2)', 'map(' + repr('upper') + ')')}"

    def make_dicts(self, depth):
        return self.variable("dicts") if depth <= 0 or self.r.random() < .6 else f"{self.variable('dicts')}[{self.slice(depth)}]"

    def make_dict(self, depth):
        r = self.r
        if depth <= 0:
            return r.choice(["{}", "{'a': 1}", "{'b': 'x', 'a': [1]}", "{1: 2, 'role': none}"]) if r.random() < .4 else self.variable("dict")
        return r.choice([
            lambda: "{" + ", ".join(f"{self.of('str', 0)}: {self.any(depth - 1)}" for _ in range(r.randrange(4))) + "}", lambda: "messages[0]",
            lambda: f"dict({self.operand('dict', depth - 1)}, {r.choice(['a', 'z'])}={self.any(depth - 1)})", lambda: f"dict(a={self.any(depth - 1)})",
            lambda: f"{self.operand('dict', depth - 1)}.get({self.pick(*map(repr, NAMES))}, {self.operand('dict', 0)})", lambda: f"{self.operand('dict', depth - 1)}[{self.of('str', 0)}]",
            lambda: f"h.{self.pick('a', 'b', 'b.c', 'c', 'items', 'get')}", lambda: self.variable("dict"), lambda: f"ld|{self.pick('first', 'last')}",
            lambda: f"dict({self.operand('dict', 0)}.items())",
        ])()

    def call_macro(self, depth):
        if not self.macros or depth < 0:
            return self.variable("str")
        name, n = self.r.choice(self.macros)
        arguments = [self.any(depth - 2) for _ in range(max(0, n + self.pick(0, 0, -1, 1)))]
        if arguments and self.r.random() < .3:
            arguments[-1] = self.pick("p0", "p1", "other") + "=" + arguments[-1]
        return f"{name}({', '.join(arguments)})"

    # --- statements

    def text(self):
        return self.pick("", "x", " ", "\n", "  \n", "a b", "\n  ", "<|im_start|>", "é\n\n", "\t", "text\n", "{ ", "}", "%", "  \t\n \n", "\r\n", "{# c #}", "{#- c -#}\n",
                         "{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% y {%- endraw -%}\n", "{#+ x +#}\n", "\u3000")

    def tag(self, body):
        return "{%" + self.pick("", "", "-", "-", "+") + " " + body + " " + self.pick("", "", "-", "-", "+") + "%}"

    def output(self, depth=2):
        body = self.any(depth) if self.r.random() < .5 else self.of("str", depth)
        return "{{" + self.pick("", "", "-") + " " + body + " " + self.pick("", "", "-") + "}}"

    def block(self, depth, n=None):
        return "".join(self.statement(depth) for _ in range(n if n is not None else self.r.randrange(1, 4)))

    def scoped(self, depth):
        before = len(self.scope), len(self.macros)
        text = self.block(depth)
        del self.scope[before[0]:], self.macros[before[1]:]
        return text

    def new_name(self):
        if self.scope and self.r.random() < .3:
            return self.r.choice(self.scope)[0]
        self.fresh += 1
        return f"v{self.fresh}"

    def statement(self, depth):
        r = self.r
        if depth <= 0 or r.random() < .35:
            return self.text() + self.output() + self.text()
        return self.text() + r.choice([self.s_if, self.s_if, self.s_for, self.s_for, self.s_set, self.s_set, self.s_set_block, self.s_macro, self.s_with, self.s_namespace,
                                       self.s_filter, self.s_call, self.s_generation, self.s_print, self.s_control, self.s_unpack])(depth - 1) + self.text()

    def s_if(self, depth):
        text = self.tag("if " + self.of("bool", 2)) + self.block(depth)
        for _ in range(self.pick(0, 0, 1)):
            text += self.tag("elif " + self.any(1)) + self.block(depth)
        return text + (self.tag("else") + self.block(depth) if r_half(self.r) else "") + self.tag("endif")

    def s_for(self, depth):
        kind = self.pick("list", "dicts", "str", "range", "dict", "iter", "tuple")
        target, item = self.new_name(), self.pick("str", "int", "dict", "list")
        names = [(target, "dict" if kind == "dicts" else "int" if kind == "range" else item)]
        source = self.of(kind, 1)
        if kind == "dict" and r_half(self.r):
            names.append((self.new_name(), "str"))
            target, source = f"{target}, {names[-1][0]}", f"({source}).items()"
        before = len(self.scope)
        self.scope += names
        test = " if " + self.of("bool", 1) if self.r.random() < .25 else ""
        self.loops += 1
        body = self.scoped(depth)
        if self.r.random() < .2:
            body += self.tag("if " + self.of("bool", 1)) + self.tag(self.pick("break", "continue")) + self.tag("endif")
        self.loops -= 1
        del self.scope[before:]
        otherwise = self.tag("else") + self.scoped(depth) if self.r.random() < .25 else ""
        return self.tag(f"for {target} in {source}{test}") + body + otherwise + self.tag("endfor")

    def s_set(self, depth):
        kind = self.pick("str", "int", "float", "bool", "list", "dict", "dicts")
        value, name = self.of(kind, 2), self.new_name()
        self.scope.append((name, kind))
        return self.tag(f"set {name} = {value}")

    def s_unpack(self, depth):
        value = self.pick("1, 2", "'ab'", "[n, s]", "ls", "(1, (2, 3))", "h.items()")
        names = [self.new_name() for _ in range(2)]
        self.scope += [(n, "int") for n in names]
        return self.tag(f"set {', '.join(names)} = {value}")

    def s_set_block(self, depth):
        name, body = self.new_name(), self.scoped(depth)
        self.scope.append((name, "str"))
        return self.tag(f"set {name}{self.pick('', '', ' | trim', ' | upper | trim')}") + body + self.tag("endset")

    def s_macro(self, depth):
        self.fresh += 1
        name, n = f"macro{self.fresh}", self.r.randrange(3)
        before, loops = len(self.scope), self.loops
        self.scope += [(f"p{i}", self.pick("str", "int", "list", "dict")) for i in range(n)]
        self.loops = 0
        parameters = [f"p{i}" + ("=" + self.any(0) if i == n - 1 and r_half(self.r) else "") for i in range(n)]
        body = self.block(depth) + (self.pick("{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller is defined }}", "") if self.r.random() < .4 else "")
        del self.scope[before:]
        self.loops = loops
        self.macros.append((name, n))
        return self.tag(f"macro {name}({', '.join(parameters)})") + body + self.tag("endmacro")

    def s_with(self, depth):
        name, value = self.new_name(), self.any(1)
        before = len(self.scope)
        self.scope.append((name, "str"))
        body = self.scoped(depth)
        del self.scope[before:]
        return self.tag(f"with {name} = {value}") + body + self.tag("endwith")

    def s_namespace(self, depth):
        self.fresh += 1
        name = f"ns{self.fresh}"
        text = self.tag(f"set {name} = namespace({self.pick('', 'a=' + self.any(0), 'h', 'h, b=1')})")
        loop = self.tag(f"for x in {self.of('list', 0)}") + self.tag(f"set {name}.a = {self.pick('x', self.any(1), name + '.a')}") + self.tag("endfor")
        self.scope.append((f"{name}.a", "str"))
        return text + loop + self.text() + "{{ " + f"{name}.{self.pick('a', 'a', 'b', 'q', 'items')}" + " }}"

    def s_filter(self, depth):
        return self.tag(f"filter {self.pick('upper', 'trim', 'indent', 'replace(' + repr('a') + ', s)', 'trim | lower', 'length')}") + self.scoped(depth) + self.tag("endfilter")

    def s_call(self, depth):
        if not self.macros:
            return self.output()
        return self.tag(f"call{self.pick('', '(y)')} {self.call_macro(2)}" if True else "") + self.scoped(depth) + self.tag("endcall")

    def s_generation(self, depth):
        return self.tag("generation") + self.scoped(depth) + self.tag("endgeneration")

    def s_print(self, depth):
        return self.tag(f"print {self.any(2)}")

    def s_control(self, depth):
        return self.tag("if " + self.of("bool", 2)) + "{{ raise_exception(" + self.of("str", 1) + ") }}" + self.tag("endif") if r_half(self.r) else \
            "{{ strftime_now('" + self.pick("%d %b %Y", "%Y-%m-%d %H:%M", "%-d %B", "%A", "%j", "%%") + "') }}"


def r_half(r):
    return r.random() < .5


def program(seed):
    """(template, context) of a seed."""
    p = Program(seed)
    return p.block(3, p.r.randrange(1, 6)), p.context


def expression(seed):
    """A template of few expressions, which is less likely to end in an error."""
    p = Program(seed)
    return "|".join("{{ " + p.any(3) + " }}" for _ in range(p.r.randrange(1, 3))), p.context


def either(seed):
    return (program if seed % 2 else expression)(seed)


def main():
    import jinja_common
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    warnings.simplefilter("ignore")  # Python on escapes like '\\q' in templates
    first, engine, counts = int(sys.argv[2]) if len(sys.argv) > 2 else 0, jinja_common.Engine(), collections.Counter()
    for seed in range(first, first + int(sys.argv[1])):
        source, context = either(seed)
        answer, reference = engine.render(source, context), jinja_common.Reference(source, context)
        wrong = jinja_common.difference(answer, reference)
        refused = answer.get("code") == "unsupported" and reference.text is not None
        counts["different" if wrong else "same text" if "text" in answer else "refused" if refused else "both an error"] += 1
        if wrong:
            print(f"seed {seed}: {wrong}\n  {source!r}")
    engine.close()
    print(dict(counts))
    print(f"{counts.total() - counts['different']} passed, {counts['different']} failed")
    sys.exit(counts["different"] > 0)


if __name__ == "__main__":
    main()
