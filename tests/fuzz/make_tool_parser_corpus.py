#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/tool_parser: answers with calls of every form, good and bent (see fuzz_tool_parser.c)."""
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/tool_parser"
NONE, JSON, PYTHON, TAG, HERMES = range(5)
NO_CODE = 0x80
CALL = '{"name": "f", "parameters": {"a": {"b": [1, -2.5e3, "x\\n\\u00e9}"]}}}'

CASES = {
    "json": (JSON, CALL),
    "json-typed": (JSON, '{"type": "function", "name": "f", "arguments": {}, "id": [1]} ok'),
    "json-name-last": (JSON, '{"parameters": {"a": "}"}, "type": "function", "name": "get_weather"}'),
    "json-string": (JSON, '{"name": "f", "arguments": "{\\"a\\": \\"\\\\u00e9\\\\n\\ud83d\\ude00\\"} "}'),
    "json-string-first": (JSON, '{"arguments": "{\\"a\\": 1}", "name": "f"}'),
    "json-nothing": (JSON, '{"name": "f"}, {"name": "f", "parameters": null};{"arguments": "", "name": "f"}'),
    "json-list": (JSON, f"Well:\n[{CALL}, {CALL}\n]\nDone."),
    "json-several": (JSON, f"{CALL}; <|python_tag|>{CALL}\n{CALL},{CALL}"),
    "json-pretty": (JSON, '{\n    "name": "f",\n    "parameters": {\n        "a": true\n    }\n}\n'),
    "json-escaped": (JSON, '{"n\\u0061me": "\\u0066", "parameters": {"\\ud83d\\ude00": 1}}'),
    "json-unknown": (JSON, '{"name": "x", "parameters": {}} [1, {"name": "f"}] {"a": "\n' + CALL),
    "json-broken": (JSON, '{"name": "f", "parameters": {"a": tru]} ' + CALL),
    "json-cut": (JSON, '{"name": "f", "parameters": {"a": "\\ud83d'),
    "json-tail": (JSON, '{"name": "f", "parameters": {}, "x": {"y": "z" ' + CALL),
    "python": (PYTHON, "[f(a='x', b=-1, c=[True, None], d={'k': 1}), g.h()]"),
    "python-strings": (PYTHON, "[f(a='it\\'s' \"\\x41\\101\\u00e9\\U0001f600\", b=r'\\d', c='''x'\n''', d=u'\\ud83d\\ude00')]"),
    "python-numbers": (PYTHON, "[f(a=1_000, b=0x1F, c=.5, d=1., e=-1e-3, f=00, g=0b1, h=007.5, i=0o7)]"),
    "python-levels": (PYTHON, "[f(a=(), b=(1,), c=((2)), d=[(1, [2])], e={1: {}, -.5: 'x', None: 0,},)]"),
    "python-spread": (PYTHON, "[f(x=1, **{'a b': 1}, y=(True))]\n\n[ not"),
    "python-broken": (PYTHON, "[f(a='x', b=y)] [f(a={1, 2})] [f(a=1 + 2)] [f(a='\\N{DASH}')] [f(x)]"),
    "python-tag": (PYTHON | NO_CODE, "<|python_tag|>f(a=1) <|python_tag|>[g.h(x='y')] <|python_tag|>print(1)"),
    "built-in": (TAG | NO_CODE, "So\n brave_search.call(query=\"x\"); <|python_tag|>brave_search.call(query='y')"),
    "tag": (TAG, "A <function=f>{\"a\": {\"b\": \"}\"}}</function>\n<function=g.h></function> <function=f>[1]"),
    "code": (JSON, "I compute.\n<|python_tag|>import os\nprint(\"\\t\", '\x01é')\n"),
    "code-of-json": (JSON, '<|python_tag|>{"name": "y"}'),
    "markdown": (PYTHON, f"```json\n{CALL}\n```\n`{CALL}` `` [f(a=1)] `` ` {CALL}\n[f](x) {{a}} {CALL}"),
    "hermes": (HERMES, f"I call.\n<tool_call>\n{CALL}\n</tool_call>\n<tool_call>[{CALL}, {CALL}]</tool_call>"),
    "hermes-bare": (HERMES, f" {CALL}\n{CALL} and {CALL}"),
    "hermes-bent": (HERMES, f"<tool_call>{CALL}</tool_ <tool_call>x</tool_call> <tool_call>{CALL}</tool_"),
    "none": (NONE, f"{CALL} [f(a=1)]"),
    "many": (JSON, '{"name":"f"}' * 130),
    "deep": (JSON, '{"name": "f", "parameters": {"a": ' + "[" * 62 + "]" * 62 + "}} " + "[" * 70),
    "deep-python": (PYTHON, "[f(a=" + "[(" * 32),
    "bad-bytes": (PYTHON, b"\xff[f(\xc3=1, a='\xe2\x82')] {\"name\": \"f\", \"parameters\": {\"\xff\": \"\xf0\"}}"),
    "nul": (PYTHON, "[f(a='\\x00')] [f(**{'\\0': 1})] {\"name\": \"f\", \"parameters\": {\"\\u0000\": 1}} \0"),
}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for cut, (name, (choice, text)) in enumerate(CASES.items()):
        (FOLDER / name).write_bytes(bytes([choice, cut]) + (text if isinstance(text, bytes) else text.encode()))


if __name__ == "__main__":
    main()
