#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/run_tools: lists of tools, good and bent, with answers (see fuzz_run_tools.c)."""
import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/run_tools"


def tool(name, **more):
    return {"type": "function", "function": {"name": name, **more}}


TOOLS = json.dumps([tool("f", description="d", parameters={"type": "object"}), tool("get_time", strict=False),
                    tool("code_interpreter")])
CASES = {
    "json": (TOOLS, '{"name": "f", "parameters": {"a": 1}}; {"name": "get_time", "arguments": {}}'),
    "said": (TOOLS, 'I look. {"name": "f", "parameters": {}} So.'),
    "lines": (TOOLS, '{"name": "f", "parameters": {\n\t"a":\n"\u202e\u007f\u009b \\u001b"}}'),
    "surrogate": (TOOLS, '{"name": "f", "parameters": {"a": "\\ud800"}}'),
    "huge": (TOOLS, '{"name": "f", "parameters": {"a": 1e999}}'),
    "pythonic": (TOOLS, "[f(a='x', b=[True, None]), get_time()]"),
    "function-tag": (TOOLS, '<function=f>{"a": 1}</function>'),
    "hermes": (TOOLS, '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'),
    "code": (TOOLS, "<|python_tag|>print(1)\n"),
    "cut": (TOOLS, '{"name": "f", "parameters": {"a": "b'),
    "broken": (TOOLS, '{"name": "f", "parameters": {"a": x}}'),
    "unknown": (TOOLS, '{"name": "g", "parameters": {}}'),
    "object": (json.dumps({"tools": [tool("f")]}), "f"),
    "twice": (json.dumps([tool("f"), tool("f")]), ""),
    "name": (json.dumps([tool("a b")]), ""),
    "type": (json.dumps([tool("f", parameters={"type": "array"})]), ""),
    "parameters": (json.dumps([tool("f", parameters=1)]), ""),
    "strict": (json.dumps([tool("f", strict=True)]), ""),
    "key": (json.dumps([tool("f", more=1)]), ""),
    "no-object": ("[1]", ""),
    "empty": ("[]", ""),
    "nothing": ("", ""),
}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (tools, text) in CASES.items():
        (FOLDER / name).write_bytes(tools.encode() + b"\0" + text.encode())
    (FOLDER / "not-utf-8").write_bytes(TOOLS.encode() + b'\0{"name": "f", "parameters": {"a": "\xff\xc2"}}')


if __name__ == "__main__":
    main()
