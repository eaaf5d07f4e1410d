#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/grammar: grammars and patterns, good, bent and hostile, with texts (see fuzz_grammar.c)."""
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/grammar"
SEARCH, JSON, DOT_ALL = 1, 2, 4


def gbnf(grammar, text=b""):
    return b"\0" + grammar.encode() + b"\0" + text


def pattern(source, text=b"", flags=0):
    return bytes([1 + 2 * flags]) + source.encode() + b"\0" + text


JSON_GRAMMAR = r'''root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ws
ws ::= [ \t\n]*
'''

CASES = {
    "json": gbnf(JSON_GRAMMAR, b'{"a\\u00e9": [1, -2.5, {"b": null}]}'),
    "lists": gbnf('root ::= item+\nitem ::= "- " [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "\\n"', b"- a\n- b\n"),
    "nested": gbnf('root ::= "(" root ")" | [a-z]{2,3} # end', b"((ab))"),
    "ambiguous": gbnf('root ::= "a" root "b" | "a" root "c" | ""', b"aaabcb"),
    "doubled": gbnf('root ::= x x x\nx ::= "a" | "a" x | ("b" x){0,3}', b"aabba"),
    "nullable": gbnf('root ::= x* y\nx ::= y y\ny ::= "a" | ("(" root ")")?', b"a()a"),
    "counted": gbnf('root ::= .{2,400} ("x" root){2,5}', b"abcdefgh"),
    "repeated": gbnf('root ::= ("(" root ")"){3,} | "b"', b"((b)(b)(b))"),
    "unicode": gbnf('root ::= [а-я\\u00e9-\\U0001F64F]+ | "\\x41"', "дé😀".encode()),
    "left": gbnf("root ::= root \"a\" | \"b\""), "hidden-left": gbnf('root ::= x? root "a" | "b"\nx ::= "c"'),
    "empty": gbnf('root ::= "a" root'), "no-root": gbnf('a ::= "b"'), "undefined": gbnf("root ::= b"),
    "twice": gbnf('root ::= "a"\nroot ::= "b"'), "open": gbnf('root ::= ("a" | [b'), "open-literal": gbnf('root ::= "a\\'),
    "bad-escape": gbnf('root ::= "\\q\\x4\\uD800"'), "bad-count": gbnf('root ::= "a"{3,1} "b"{,} "c"{99999999999}'),
    "token": gbnf('root ::= <think> "a"'), "not-utf8": b"\0root ::= \"\xff\"\0a",
    "groups": gbnf("root ::= " + "(" * 101 + '"a"' + ")" * 101), "stars": gbnf('root ::= "a"' + "*" * 420),
    "many-ways": gbnf("root ::= " + '[a-z]* "b"? ' * 90, b"bbbbbb"),
    "doubling": gbnf("root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(40)) + "\nr40 ::= [ab]?", b"abab"),
    "words": pattern("(foo|bar|ba+z)*", b"foobaaaz"), "classes": pattern(r"[\w\-\]é-ü]+\s\D", "aé \n".encode()),
    "lazy": pattern("a+?b*?c??", b"aabc"), "counts": pattern("(ab?){2,7}c{3}", b"ababaccc"), "names": pattern("(?P<x>a)(?<y>b)(?:c)", b"abc"),
    "search": pattern("^a.*b$|c", b"xxcxx", SEARCH), "anchors": pattern("(^a|b$)", b"xxb", SEARCH), "inside": pattern("a^b"),
    "json-text": pattern(r'^["\\é😀\n]{1,9}$', b'\\"\\\\\\u00e9\\ud83d\\ude00\\n', SEARCH | JSON),
    "json-dot": pattern(".", b"\\u00e9", JSON | DOT_ALL), "blow-up": pattern("(a|b)*a(a|b){14}", b"abababab"),
    "email": pattern(r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$", b"a@b.cd", SEARCH | JSON),
    "backreference": pattern(r"(a)\1"), "look": pattern("(?=a)b"), "property": pattern(r"\p{L}"), "boundary": pattern(r"\bx"),
    "open-group": pattern("(a"), "open-class": pattern("[a"), "nothing": pattern("*"), "end": pattern("\\"), "wrong-way": pattern("[b-a]"),
    "surrogates": pattern(r"\ud83d\ude00\u{1f600}\ud800"), "braces": pattern("a{x}{2,}{", b"a{x}"),
    "long-loop": pattern(".{0,10000000}x", b"abc"), "loops": pattern("((a{0,50}){0,50}){0,50}", b"aaa"),
}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in CASES.items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
