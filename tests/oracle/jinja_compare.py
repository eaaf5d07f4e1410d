#!/usr/bin/env python3
"""Chat templates of models against Python's jinja2, set up as transformers does it: each template with some hundred
conversations (tools or none, tool calls and results, parts, orders that templates refuse, texts that look like
tokens), those listed here and random ones. The templates are not in this repository.

usage: jinja_compare.py [--random N] [--list] FOLDER...
FOLDER: searched for *.jinja, tokenizer_config.json and chat_template.json; a template met twice is taken once.
Without FOLDER: build/templates, and exit code 77 when it is not there."""
import argparse
import collections
import itertools
import json
import pathlib
import random
import sys

import jinja2

import jinja_common

SKIPPED = 77
TRUSTED = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": 'The "weather" <of> a city\u2028é', "parameters": {
        "type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "It's a city", "enum": ["Rome", "Köln"]},
            "days": {"type": ["integer", "null"], "default": 1.5, "minimum": -1e-7},
            "more": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}, "nullable": True},
            "any": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}}}}}
PLAIN_TOOL = {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(arguments, name="get_weather", call_id="abcdefghi"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


USER, SYSTEM, BOT = turn("user", "Hi there!"), turn("system", " You are\nkind. "), turn("assistant", "Hello.\n")
CALLS = turn("assistant", None, tool_calls=[call({"city": "Rome", "days": 2})])
RESULT = turn("tool", '{"t": "20 °C", "q": "\\"x\\""}', tool_call_id="abcdefghi", name="get_weather")
PARTS = turn("user", [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}])
CONVERSATIONS = [
    [], [USER], [SYSTEM], [BOT], [SYSTEM, USER], [USER, BOT], [USER, BOT, USER], [SYSTEM, USER, BOT, USER, BOT, turn("user", "")],
    [USER, USER], [USER, BOT, BOT], [BOT, USER], [USER, SYSTEM], [SYSTEM, SYSTEM, USER], [turn("developer", "Dev."), USER], [turn("x", "y")],
    [turn("user", "<|eot_id|><|im_end|></s>[INST] {{ x }} {% y %}")], [turn("user", "Grüße, 谢谢 🦙\u00a0\u3000")], [turn("user", "\n\n  a\t\n")],
    [USER, turn("assistant", "<think>\nHm.\n</think>\n\nYes."), USER], [USER, turn("assistant", "No.", reasoning_content="Because."), USER],
    [USER, turn("assistant", "Yes.", thinking="So.", reasoning="R"), turn("user", "And?")], [USER, CALLS, RESULT], [SYSTEM, USER, CALLS, RESULT, BOT, USER],
    [USER, CALLS, RESULT, CALLS, RESULT], [USER, turn("assistant", "", tool_calls=[call({}), call({"city": "é"}, "now", "ihgfedcba")]), RESULT, RESULT],
    [USER, turn("assistant", "I ask.", tool_calls=[call('{"city": "Rome"}')]), RESULT, USER], [USER, turn("assistant", None), USER], [USER, {"role": "assistant"}],
    [PARTS], [SYSTEM, PARTS, BOT, PARTS], [turn("system", [{"type": "text", "text": "Be."}]), USER], [turn("user", [{"type": "image"}, {"type": "text", "text": "x"}])],
    [USER, CALLS, turn("tool", {"t": 20, "list": [1, None, True]})], [USER, CALLS, turn("ipython", "done")], [USER, CALLS, turn("tool", [{"type": "text", "text": "r"}])],
    [turn("user", 5)], [turn("user", None)], [{"content": "no role"}], [turn("user", {"a": 1})], [USER, turn("assistant", "x", tool_calls=[])],
]
TOOLS = [None, [], [TOOL], [PLAIN_TOOL, TOOL]]
OPTIONS = [{}, {"add_generation_prompt": True}, {"add_generation_prompt": False, "enable_thinking": False, "date_string": "1 Jan 2024"},
           {"add_generation_prompt": True, "enable_thinking": True, "tools_in_user_message": False, "builtin_tools": ["brave_search", "code_interpreter"],
            "reasoning_effort": "high", "documents": [{"title": "T", "text": "D"}], "keep_past_thinking": True, "custom_tools": [TOOL]}]


def random_text(r):
    return "".join(r.choice(["a", " ", "\n", "it's", '"', "é", "<|x|>", "</think>", "<think>", "{", "🦙", "\\", "1"]) for _ in range(r.randrange(8)))


def random_value(r, depth=0):
    kind = r.randrange(7 if depth < 2 else 5)
    if kind > 4:
        return [random_value(r, depth + 1) for _ in range(r.randrange(3))] if kind == 5 else {random_text(r): random_value(r, depth + 1) for _ in range(r.randrange(3))}
    return [random_text(r), r.randrange(-9, 99), r.random(), None, r.random() < .5][kind]


def random_message(r):
    role = r.choice(["system", "user", "user", "assistant", "assistant", "tool", "developer"])
    content = r.choice([random_text(r)] * 6 + [None, [{"type": "text", "text": random_text(r)} for _ in range(r.randrange(3))], random_value(r)])
    message = turn(role, content)
    if role == "assistant" and r.random() < .4:
        message["tool_calls"] = [call({random_text(r): random_value(r) for _ in range(r.randrange(3))} if r.random() < .8 else random_text(r)) for _ in range(r.randrange(1, 3))]
    if r.random() < .2:
        message[r.choice(["name", "reasoning_content", "tool_call_id", "thinking"])] = random_text(r)
    return message


def conversations(n_random):
    for messages, tools, options in itertools.product(CONVERSATIONS, TOOLS, OPTIONS):
        yield {"messages": messages, "tools": tools, **options}
    r = random.Random(1)
    for _ in range(n_random):
        context = {"messages": [random_message(r) for _ in range(r.randrange(5))], "add_generation_prompt": r.random() < .5}
        if r.random() < .5:
            context["tools"] = [{"type": "function", "function": {"name": random_text(r), "description": random_text(r), "parameters": random_value(r)}} for _ in range(r.randrange(3))]
        yield context


def templates_of(path):
    if path.suffix == ".jinja":
        yield path.name, path.read_bytes().decode()
        return
    try:
        found = json.loads(path.read_text()).get("chat_template")
    except (ValueError, AttributeError):
        return
    for item in found if isinstance(found, list) else [{"name": "", "template": found}]:
        if isinstance(item.get("template"), str):
            yield f"{path.parent.name}/{path.name} {item['name']}".strip(), item["template"]


def find_templates(folders):
    seen = set()
    for path in sorted(p for f in folders for kind in ("*.jinja", "tokenizer_config.json", "chat_template.json") for p in f.rglob(kind)):
        for name, source in templates_of(path):
            if source not in seen:
                seen.add(source)
                yield name, source


def compare(engine, name, source, contexts, listed):
    """Counts of outcomes; prints the first differences."""
    counts = collections.Counter()
    try:
        template = jinja_common.ENVIRONMENT.from_string(source)
    except jinja2.TemplateError:
        template = source  # then every rendering fails, with us too
    for context in contexts:
        answer = engine.render(source, context, TRUSTED)
        reference = jinja_common.Reference(template, {**context, **TRUSTED})
        wrong = jinja_common.difference(answer, reference)
        outcome = "different" if wrong else "same text" if "text" in answer else "refused" if reference.text is not None else "both an error"
        counts[outcome] += 1
        if wrong and counts["different"] <= 3:
            print(f"{name}: {wrong[:2000]}\n  {json.dumps(context, ensure_ascii=False)[:1000]}")
        if outcome == "refused" and counts["refused"] == 1:
            print(f"{name}: refused: {answer['error']}")
    if listed:
        print(f"{name}: {dict(counts)}")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--list", action="store_true", help="the counts of every template")
    args = parser.parse_args()
    templates = list(find_templates(args.folders or [jinja_common.ROOT / "build/templates"]))
    if not templates:
        print("no templates below", *(args.folders or ["build/templates"]))
        sys.exit(SKIPPED if not args.folders else 1)
    engine, total, contexts = jinja_common.Engine(), collections.Counter(), list(conversations(args.random))
    for name, source in templates:
        total += compare(engine, name, source, contexts, args.list)
    engine.close()
    print(f"{len(templates)} templates, {len(contexts)} conversations: {dict(total)}")
    print(f"{total['same text'] + total['both an error']} passed, {total['different'] + total['refused']} failed")
    sys.exit(total["different"] > 0 or total["refused"] > 0)


if __name__ == "__main__":
    main()
