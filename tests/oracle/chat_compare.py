#!/usr/bin/env python3
"""The chat templates written here against the Jinja templates that the models are published with.

usage: chat_compare.py make --templates DIR [--check]
           render every conversation and write tests/golden/chat/FAMILY.json (--check: fail when
           one would change); tests/unit/test_chat.c reads them. The templates are not in this
           repository: DIR holds chatml.jinja (the default model's tokenizer.chat_template),
           llama2.jinja, llama3.jinja, llama3.1.jinja, llama3.2.jinja and llama3.3.jinja, as the
           published tokenizer_config.json files have them
       chat_compare.py ids [--llama3 FILE] [--smollm FILE] [--puna FILE]
           compare token ids: `puna tokenize --chat` against the golden text tokenised with special
           tokens on by Hugging Face `tokenizers` (Llama 2: `sentencepiece`). FILEs are those of
           token_hf.py; families whose vocabulary is not here are left out
"""

import argparse
import json
import pathlib
import re
import sys
import tempfile

import jinja2
import jinja2.sandbox

import token_common as common

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "chat"
TOKENS = {"chatml": ("<|endoftext|>", "<|im_end|>"), "llama2": ("<s>", "</s>")}
LLAMA3_TOKENS = ("<|begin_of_text|>", "<|eot_id|>")
FAMILIES = ["chatml", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3"]


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = {
    "user": [turn("user", "Hi there!")],
    "system and user": [
        turn("system", "Act like you are a helpful assistant."),
        turn("user", "Hi there!"),
    ],
    "several turns": [
        turn("system", "Be brief."),
        turn("user", "What is 2 + 2?"),
        turn("assistant", "4."),
        turn("user", "And in German?"),
        turn("assistant", "Vier."),
        turn("user", "Grüße, 谢谢 🦙"),
    ],
    "ends with the assistant": [turn("user", "Say yes."), turn("assistant", "Yes.")],
    "space around everything": [
        turn("system", " \t\n be  kind \r\n"),
        turn("user", "\n\n  two lines\n  second \n"),
        turn("assistant", "  ok\u3000"),
        turn("user", "\u00a0\u2003\x1cwide\x1f\u0085"),
    ],
    "empty texts": [turn("system", ""), turn("user", ""), turn("assistant", "  "), turn("user", "\n")],
    "zero-width space stays": [turn("user", "\u200bx\u200b")],
    "code": [turn("user", "    def f(x):\n        return {'a': [x]}\n")],
}
# What Llama 2's template refuses: roles that do not take turns, and tools.
NOT_LLAMA2 = {
    "tool": [
        turn("user", "Is it 20 °C?"),
        turn("assistant", '{"name": "f", "parameters": {}}'),
        turn("tool", '{"t": "20 \u00b0C"}'),
    ],
    "tools one after the other": [turn("user", "a"), turn("tool", "b"), turn("tool", ""), turn("assistant", "c")],
    "tool with everything that JSON escapes": [turn("tool", " \"'\\/<&> \b\f\n\r\t\x01\x1f\x7f\u0085\u2028 🦙 ")],
    "system in the middle": [turn("user", "a"), turn("system", "b"), turn("user", "c")],
    "two users": [turn("user", "a"), turn("user", "b")],
    "system alone": [turn("system", "a")],
}


def call(name, arguments):
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


# What Llama 3.1 and later know beside messages: (conversation, tools, variables of the template).
FUNCTION = {"type": "function", "function": {
    "name": "weather", "description": 'of a "city", <now>', "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}}, "required": ["city"]}}}
CALLED = [turn("user", " weather? "), {"role": "assistant", "content": None, "tool_calls": [call("weather", '{"city": "Köln", "days": 2}')]},
          turn("tool", '{"t": 20}')]
WITH_TOOLS = {
    "tools": ([turn("system", " Be brief. "), turn("user", " weather? ")], [FUNCTION], {}),
    "tools without a system message": ([turn("user", "weather?"), turn("assistant", "where?"), turn("user", "here")], [FUNCTION, FUNCTION], {}),
    "a call and its answer": (CALLED, [FUNCTION], {}),
    "a call without tools, more turns": (CALLED + [turn("assistant", "Warm."), turn("user", "Thanks")], None, {}),
    "tools told by the system": (CALLED, [FUNCTION], {"tools_in_user_message": False}),
    "a date": ([turn("user", "x")], None, {"date_string": "01 Feb 2025"}),
}
BUILT_IN = {
    "built-in tools": (CALLED, None, {"builtin_tools": ["brave_search", "code_interpreter", "wolfram_alpha"]}),
    "a call of a built-in tool": ([turn("user", "who?"), {"role": "assistant", "content": None, "tool_calls": [call("brave_search", '{"query": "who", "n": "2"}')]},
                                   turn("tool", "she")], [FUNCTION], {"builtin_tools": ["brave_search"]}),
}


def as_python(message):
    """Arguments are a dict for the templates, as transformers wants it."""
    message = json.loads(json.dumps(message))
    for item in message.get("tool_calls", []):
        item["function"]["arguments"] = json.loads(item["function"]["arguments"])
    return message


def render(source, family, messages, prompt, tools=None, variables={}):
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(text):
        raise jinja2.exceptions.TemplateError(text)

    env.globals["raise_exception"] = raise_exception
    env.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)  # as transformers has it
    bos, eos = TOKENS.get(family, LLAMA3_TOKENS)
    return env.from_string(source).render(
        messages=[as_python(m) for m in messages], tools=tools, add_generation_prompt=prompt, bos_token=bos, eos_token=eos, **variables
    )


def cases(source, family):
    listed = dict(CONVERSATIONS)
    if family != "llama2":
        listed |= NOT_LLAMA2
    for name, messages in listed.items():
        for prompt in [True, False]:
            text = render(source, family, messages, prompt)
            yield {"name": name, "messages": messages, "generation_prompt": prompt, "text": text}
    more = (WITH_TOOLS if family > "llama3" else {}) | (BUILT_IN if family in ("llama3.1", "llama3.3") else {})
    for name, (messages, tools, variables) in more.items():
        text = render(source, family, messages, True, tools, variables)
        yield {"name": name, "messages": messages, "tools": tools or [], "variables": variables, "generation_prompt": True, "text": text}


def make(args):
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        source = (args.templates / f"{family}.jinja").read_text()
        lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases(source, family))
        text = f'{{"made_by": "tests/oracle/chat_compare.py", "cases": [\n{lines}\n]}}\n'
        path = GOLDEN / f"{family}.json"
        if args.check and path.read_text() != text:
            sys.exit(f"{path} differs from what the template renders")
        if not args.check:
            path.write_text(text)


def llama3(source, path):
    """A vocabulary file made from tokenizer.model, and the function from text to reference ids."""
    import token_hf

    tokenizer, _ = token_hf.llama3(source, path)
    return path, lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def smollm(source, path):
    """The default model itself, which chooses its family and its default system message."""
    import token_hf

    vocab = token_hf.read_vocab(source)
    tokenizer = token_hf.with_pre("smollm", vocab, path)
    tokenizer.add_special_tokens([t for t, kind in zip(*vocab[:2]) if kind == token_hf.CONTROL])
    return source, lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def llama2(path):
    """A sentencepiece BPE model trained here, with Llama 2's options. Text between <s> and </s> is
    encoded by itself and gets its space prefix, as transformers' LlamaTokenizer does."""
    sp = common.train_spm(common.english_texts(60_000), 1000)
    common.write_spm(path, sp, add_space_prefix=True)
    special = {"<s>": sp.bos_id(), "</s>": sp.eos_id()}

    def encode(text):
        parts = [p for p in re.split("(</?s>)", text) if p]
        return [i for p in parts for i in ([special[p]] if p in special else sp.encode(p))]

    return path, encode


def vocabularies(args, folder):
    """(family, model file, function from text to reference ids) of what is here."""
    yield "llama2", *llama2(folder / "llama2.gguf")
    if args.smollm:
        yield "chatml", *smollm(args.smollm, folder / "chatml.gguf")
    if args.llama3:
        reference = llama3(args.llama3, folder / "llama3.gguf")
        for family in FAMILIES:
            if family.startswith("llama3"):
                yield family, *reference


def ids(args):
    wrong = n = 0
    with tempfile.TemporaryDirectory() as folder:
        for family, model, encode in vocabularies(args, pathlib.Path(folder)):
            name = [] if family == "chatml" else ["--chat-template", family]
            for case in json.loads((GOLDEN / f"{family}.json").read_text())["cases"]:
                variables = dict(case.get("variables") or {})
                date = variables.pop("date_string", None)
                if variables:  # there is no option for them; tests/unit/test_chat.c passes them
                    continue
                options = name + ([] if case["generation_prompt"] else ["--no-generation-prompt"]) + (["--date", date] if date else [])
                messages = json.dumps({"messages": case["messages"], "tools": case.get("tools") or []})
                got = common.puna_one(args.puna, model, messages, "--chat", *options)["ids"]
                expected = encode(case["text"])
                n += 1
                if got != expected:
                    wrong += 1
                    print(f"{family}, {case['name']}: {case['text']!r}\n  ours   {got}\n  theirs {expected}")
    print(f"{n - wrong} passed, {wrong} failed")
    sys.exit(wrong > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("make")
    one.add_argument("--check", action="store_true")
    one.set_defaults(run=make)
    two = commands.add_parser("ids")
    two.add_argument("--puna", default=common.PUNA)
    two.add_argument("--llama3", type=pathlib.Path, default=common.find_llama3())
    two.add_argument("--smollm", type=pathlib.Path, default=common.find_default_model())
    two.set_defaults(run=ids)
    one.add_argument("--templates", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
