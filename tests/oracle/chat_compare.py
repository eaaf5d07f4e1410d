#!/usr/bin/env python3
"""Built-in chat templates against the Jinja templates that the models are published with.

The templates are not in this repository. --templates names a folder with chatml.jinja (the default
model's tokenizer.chat_template), llama2.jinja, llama3.jinja, llama3.1.jinja, llama3.2.jinja and
llama3.3.jinja, as the published tokenizer_config.json files have them.

usage: chat_compare.py make --templates DIR [--check]
           render every conversation and write tests/golden/chat/FAMILY.json (--check: fail when
           one would change); tests/unit/test_chat.c reads them
       chat_compare.py ids --templates DIR --llama3 DIR --smollm FILE [--puna FILE]
           compare token ids: `puna tokenize --chat` against the rendered text tokenised by Hugging
           Face `tokenizers` (Llama 2: `sentencepiece`) with special tokens on. --llama3 is a folder
           with Llama 3's tokenizer.json and tokenizer.model, --smollm the default model's file
"""

import argparse
import json
import os
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
# Llama 2's template refuses these orders; the others write any.
FREE_ORDER = {
    "system in the middle": [turn("user", "a"), turn("system", "b"), turn("user", "c")],
    "two users": [turn("user", "a"), turn("user", "b")],
    "system alone": [turn("system", "a")],
}


def render(source, family, messages, prompt):
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(text):
        raise jinja2.exceptions.TemplateError(text)

    env.globals["raise_exception"] = raise_exception
    bos, eos = TOKENS.get(family, LLAMA3_TOKENS)
    return env.from_string(source).render(
        messages=messages, add_generation_prompt=prompt, bos_token=bos, eos_token=eos
    )


def cases(source, family):
    listed = dict(CONVERSATIONS)
    if family != "llama2":
        listed |= FREE_ORDER
    for name, messages in listed.items():
        for prompt in [True, False]:
            text = render(source, family, messages, prompt)
            yield {"name": name, "messages": messages, "generation_prompt": prompt, "text": text}


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


def llama3(folder, path):
    """A vocabulary file made from tokenizer.json, and the function from text to reference ids."""
    import token_hf

    tokenizer, _ = token_hf.llama3(folder, path)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def smollm(gguf, path):
    import token_hf

    common.write_vocab(path, "gpt2", *token_hf.read_vocab(gguf)[:2], pre="smollm",
                       merges=token_hf.read_vocab(gguf)[2])
    plain = token_hf.with_pre("smollm", token_hf.read_vocab(gguf), pathlib.Path(f"{path}.unused"))
    plain.add_special_tokens([t for t, kind in zip(*token_hf.read_vocab(gguf)[:2]) if kind == 3])
    return lambda text: plain.encode(text, add_special_tokens=False).ids


def llama2(path):
    """A sentencepiece BPE model trained here, with Llama 2's options. Text between <s> and </s> is
    encoded by itself and gets its space prefix, as transformers' LlamaTokenizer does."""
    import sentencepiece

    prefix = f"{path}.spm"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(re.sub("[^\0-\u024f]", "", t) for t in common.mixed_texts(200_000)), model_prefix=prefix, vocab_size=3000,
        model_type="bpe", character_coverage=0.995, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        add_dummy_prefix=True, remove_extra_whitespaces=False, minloglevel=2, num_threads=1,
        max_sentence_length=100_000, allow_whitespace_only_pieces=True)
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    every = range(model.get_piece_size())
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1
             for i in every]
    common.write_vocab(path, "llama", [model.id_to_piece(i) for i in every], kinds, pre="default",
                       scores=[model.get_score(i) for i in every], bos_token_id=model.bos_id(),
                       eos_token_id=model.eos_id(), add_space_prefix=True)
    special = {"<s>": model.bos_id(), "</s>": model.eos_id()}

    def encode(text):
        parts = [p for p in re.split("(</?s>)", text) if p]
        return [i for p in parts for i in ([special[p]] if p in special else model.encode(p))]

    return encode


def ids(args):
    wrong = n = 0
    with tempfile.TemporaryDirectory() as folder:
        references = {}
        for family in FAMILIES:
            path = pathlib.Path(folder) / f"{family}.gguf"
            if family == "chatml":
                references[family] = args.smollm, smollm(args.smollm, path)
            elif family == "llama2":
                references[family] = path, llama2(path)
            else:
                references[family] = path, llama3(args.llama3, path)
        for family, (path, encode) in references.items():
            # The default model's file itself chooses its family and its default system message.
            chosen = [] if family == "chatml" else ["--chat-template", family]
            source = (args.templates / f"{family}.jinja").read_text()
            for case in cases(source, family):
                options = chosen + ([] if case["generation_prompt"] else ["--no-generation-prompt"])
                messages = json.dumps({"messages": case["messages"]})
                got = common.puna_one(args.puna, path, messages, "--chat", *options)["ids"]
                expected = encode(case["text"])
                n += 1
                if got != expected:
                    wrong += 1
                    print(f"{family}, {case['name']}: {case['text']!r}\n  puna {got}\n  hf   {expected}")
    print(f"{n} conversations, {wrong} differ")
    sys.exit(wrong > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("make")
    one.add_argument("--check", action="store_true")
    one.set_defaults(run=make)
    two = commands.add_parser("ids")
    two.add_argument("--puna", default=os.environ.get("PUNA", "build/release/puna"))
    two.add_argument("--llama3", type=pathlib.Path, required=True)
    two.add_argument("--smollm", type=pathlib.Path, required=True)
    two.set_defaults(run=ids)
    for p in (one, two):
        p.add_argument("--templates", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
