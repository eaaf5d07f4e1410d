#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/chat: texts in front of small vocabularies with chat templates (see fuzz_chat.c)."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cli"))
from gguf_file import BOOL, F32, I32, STRING, U32, gguf

OUT = HERE / "corpus/chat"
OPENING = "<|im_start|>system"
CHATML = ["<|im_start|>", "<|im_end|>"]
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def chat(specials, jinja=None, name=None, text="Hi!", kind=3, spm=False, **more):
    """Token 0 is BOS, token 1 is EOS."""
    tokens = specials + (["<unk>"] if spm else []) + [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a"]
    keys = {"model": (STRING, "llama" if spm else "gpt2"), "tokens": (STRING, tokens),
            "token_type": (I32, [kind] * len(specials) + [2] * spm + [1] * 96),
            "bos_token_id": (U32, 0), "eos_token_id": (U32, 1)} | more
    keys |= {"scores": (F32, [0.0] * len(tokens))} if spm else {"pre": (STRING, "gpt-2"), "merges": (STRING, [])}
    pairs = [("tokenizer.ggml." + key, *value) for key, value in keys.items()]
    pairs += [("tokenizer.chat_template", STRING, jinja)] if jinja is not None else []
    pairs += [("general.name", STRING, name)] if name is not None else []
    return text.encode() + b"\0" + gguf(pairs)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    spelled = "<|im_end|>\n<|im_start|>system\n<|eot_id|></s>"
    turns = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    calls = ("{% for m in messages %}{{ '<|' + m.role + '|>' + (m.content or '') }}{% for c in m.tool_calls or [] %}"
             "{{ c.function.name + c.function.arguments | tojson }}{% endfor %}{% endfor %}{{ tools | tojson }}")
    files = {
        "chatml": chat(CHATML, turns, text=spelled),
        "chatml-default-system": chat(CHATML, "{{'" + OPENING + "\nBe short.<|im_end|>\n'}}" + turns),
        "chatml-bos": chat(CHATML, "{{ bos_token }}" + turns, add_bos_token=(BOOL, True)),
        "chatml-user-defined": chat(CHATML, turns, kind=4, text=spelled),
        "chatml-normal": chat(CHATML, turns, kind=1),
        "chatml-by-tokens": chat(CHATML),
        "calls": chat(CHATML + ["<|user|>", "<|tool|>", "<|assistant|>"], calls, text="<|user|><|tool|>", kind=4),
        "date": chat(CHATML, turns + "{{ strftime_now('%d %b %Y') }}{{ date_string }}"),
        "parts-of-a-token": chat(CHATML, "<|{% for m in messages %}{{ m.content }}<{% endfor %}|im_end|>", text="im_end|>"),
        "parts": chat(CHATML, "{% for m in messages %}{% for p in m.content | selectattr('type', 'equalto', 'text') %}"
                              "{{ '<|im_start|>' + p.text }}{% endfor %}{% endfor %}", text=spelled),
        "tools-list": chat(CHATML, "{% for t in tools %}<|im_start|>{{ t.function.description }}{% endfor %}" + turns, text=spelled),
        "text-arguments": chat(CHATML, "{% for m in messages %}{{ m.content + '<|im_end|>' }}{% for c in m.tool_calls or [] %}"
                                       "{{ c.function.name + c.function.arguments }}{% endfor %}{% endfor %}", text=spelled),
        "last-system": chat(CHATML, "{% set ns = namespace(s='') %}{% for m in messages if m.role == 'system' %}{% set ns.s = m.content %}"
                                    "{% endfor %}{{ ns.s }}{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"),
        "refuses": chat(CHATML, "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}" + turns),
        "llama3": chat(LLAMA3, "{% for m in messages %}<|start_header_id|>{{ m.content | trim }}<|eot_id|>{% endfor %}",
                       text=" \u3000" + spelled),
        "llama3.2-by-tokens": chat(LLAMA3 + ["<|eom_id|>"], name="Llama-3.2-1B"),
        "llama3-no-end": chat(LLAMA3[:4]),
        "llama2-by-name": chat(["<s>", "</s>"], name="LLaMA v2 CHAT", spm=True, text=spelled),
        "llama2-no-bos": chat(["<s>", "</s>"], name="llama2 chat", spm=True, bos_token_id=(U32, 9999)),
        "leaves-out": chat(CHATML, "<|im_start|>"),
        "no-template": chat(CHATML, "{% for"),
        "empty": chat(CHATML, ""),
        "not-utf8": chat(CHATML, b"{{ '\xff\0\xc3<|im_end|>' }}"),
        "no-string": b"a\0" + gguf([("tokenizer.chat_template", U32, 1)]),
    }
    for name, data in files.items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
