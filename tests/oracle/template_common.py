"""What the comparisons of whole chats share: conversations made by hypothesis, templates, and from a conversation to
the token ids that it must have. The reference is jinja2 as transformers sets it up, then Hugging Face `tokenizers`.

A text that spells a control token stays text. So the reference renders a conversation whose every letter of data stands
between two marks, cuts the result at control tokens, which data cannot spell now, takes the marks out and tokenises
what stands between control tokens without any."""
import dataclasses
import datetime
import functools
import json
import pathlib
import re
import subprocess
import sys

from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE

import jinja_common
import token_hf
from program import PUNA

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
import gguf_file  # noqa: E402

MARK = "\ue000"
CONTROL = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>",
           "<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "<｜User｜>", "<｜Assistant｜>", "<|user|>", "<|assistant|>"]
WRITTEN = "<tool_call>"  # user-defined, and written by a template: a control token there
MATCHED = "<think>"  # user-defined: matched in any text
BOS, EOS = CONTROL[:2]

# --- the vocabulary


class Vocabulary:
    """Byte-level BPE trained on this repository's documents, behind Llama 3's pre-tokeniser, and special tokens."""

    def __init__(self):
        trained = Tokenizer(BPE())
        trained.pre_tokenizer = self.pre_tokenizer()
        texts = [path.read_text() for path in sorted((jinja_common.ROOT / "docs").glob("*.md"))]
        trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                                               show_progress=False))
        model = json.loads(trained.to_str())["model"]
        self.vocab, self.merges = model["vocab"], [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
        self.tokens = sorted(self.vocab, key=self.vocab.get) + CONTROL + [WRITTEN, MATCHED]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.between = functools.cache(lambda user_defined: self.tokenizer([], user_defined))
        self.whole = functools.cache(lambda marks: self.tokenizer([*CONTROL, *marks]))

    @staticmethod
    def pre_tokenizer():
        return pre_tokenizers.Sequence([token_hf.isolated(token_hf.LLAMA3), token_hf.byte_level(False)])

    def tokenizer(self, control, user_defined=(MATCHED,)):
        vocab = self.vocab | {name: self.ids[name] for name in (*CONTROL, WRITTEN, MATCHED)}
        made = Tokenizer(BPE(vocab, self.merges, ignore_merges=True))
        made.pre_tokenizer = self.pre_tokenizer()
        made.add_special_tokens(list(control))
        made.add_tokens([AddedToken(name, normalized=False, special=False) for name in user_defined])
        return made

    def write(self, path, template=None, add_bos=False):
        n = len(self.vocab)
        keys = {"model": (gguf_file.STRING, "gpt2"), "pre": (gguf_file.STRING, "llama-bpe"), "tokens": (gguf_file.STRING, self.tokens),
                "token_type": (gguf_file.I32, [1] * n + [3] * len(CONTROL) + [4, 4]),
                "merges": (gguf_file.STRING, [" ".join(m) for m in self.merges]), "add_bos_token": (gguf_file.BOOL, add_bos),
                "bos_token_id": (gguf_file.U32, self.ids[BOS]), "eos_token_id": (gguf_file.U32, self.ids[EOS])}
        pairs = [("general.architecture", gguf_file.STRING, "llama")] + [("tokenizer.ggml." + k, *v) for k, v in keys.items()]
        pairs += [("tokenizer.chat_template", gguf_file.STRING, template)] if template is not None else []
        pathlib.Path(path).write_bytes(gguf_file.gguf(pairs))
        return path


# --- templates: what they can write is said here, and asked of `puna inspect`


@dataclasses.dataclass
class Template:
    source: str
    name: str | None = None  # of one written in Puna
    system: bool = True
    later_system: bool = True
    tools: bool = False
    calls: int = 0  # in a message
    beside: bool = False  # text beside calls
    answers: bool = False
    tool_format: str = "llama3-json"
    content_parts: bool = False  # how it must be called
    content_empty: bool = False
    arguments_text: bool = False
    tools_list: bool = False
    names: str = "system user assistant tool"  # what it calls them; "-": nothing
    take_turns: bool = False

    @property
    def marks(self):
        """User-defined tokens that it writes."""
        return [name for name in (WRITTEN, MATCHED) if name in self.source]


def environment():
    env = jinja_common.environment()
    env.globals["strftime_now"] = datetime.datetime(2024, 7, 26).strftime
    return env


ENVIRONMENT = environment()


@functools.cache
def compiled(source):
    return ENVIRONMENT.from_string(source)


def called(template, conversation, prompt=True):
    """The variables that a template is called with."""
    messages = []
    for message in conversation["messages"]:
        message = json.loads(json.dumps(message))
        if message["content"] is None and template.content_empty:
            message["content"] = ""
        if template.content_parts and message["content"] is not None:
            message["content"] = [{"type": "text", "text": message["content"]}]
        for call in message.get("tool_calls", []):
            if not template.arguments_text:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        messages.append(message)
    tools = conversation.get("tools") or ([] if template.tools_list else None)
    return {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt, "bos_token": BOS, "eos_token": EOS}


def marked_text(text):
    """Marks round every character but white space, so that trimming still trims."""
    return re.sub(r"(\S)", MARK + r"\1" + MARK, text)


def marked(value, key=None):
    if isinstance(value, dict):
        free = key in ("arguments", "properties")  # names of the caller's
        return {marked_text(k) if free else k: marked(v, key if free else k) for k, v in value.items()}
    if isinstance(value, list):
        return [marked(v, key) for v in value]
    return marked_text(value) if isinstance(value, str) and key not in ("role", "type") else value


def marked_conversation(conversation):
    made = marked(conversation)
    for message, plain in zip(made["messages"], conversation["messages"]):
        for call, before in zip(message.get("tool_calls", []), plain.get("tool_calls", [])):
            call["function"]["arguments"] = spelled(marked(json.loads(before["function"]["arguments"]), "arguments"))
    return made


def expected(vocabulary, template, conversation, prompt=True):
    """Ids, or a jinja_common.Reference that has no text."""
    template_of = compiled(template.source)
    plain = jinja_common.Reference(template_of, called(template, conversation, prompt))
    if plain.text is None:
        return plain
    text = jinja_common.Reference(template_of, called(template, marked_conversation(conversation), prompt)).text
    assert text is not None and text.replace(MARK, "") == plain.text, "marks change what this template writes"
    return cut(vocabulary, text, CONTROL + template.marks)


def cut(vocabulary, text, control):
    pieces = re.split("(" + "|".join(map(re.escape, control)) + ")", text)
    between = vocabulary.between(tuple(name for name in (WRITTEN, MATCHED) if name not in control))
    ids = []
    for i, piece in enumerate(pieces):
        ids += [vocabulary.ids[piece]] if i % 2 else between.encode(piece.replace(MARK, ""), add_special_tokens=False).ids
    return ids


def spells_control(value):
    text = json.dumps(value, ensure_ascii=False)
    return any(name in text for name in [*CONTROL, WRITTEN])


# --- conversations

SPELLED = [*CONTROL, WRITTEN, MATCHED, "<|im_", "end|>", "<|eot_id", "|>", "<|start_header_id|>system<|end_header_id|>\n\n", "[/INST] [INST]", "<<SYS>>\n"]
TEXTS = ["", " ", "\n", "Hi there!", "it's \"so\" \\n", "{{ x }}{% if %}", "a\nb\r\n", " \t x\u3000 ", "🦙é", "</think>x", "null", "\x00\x7f\u2028", "1234567 3.50"]


def texts(control):
    plain = st.one_of(st.text(max_size=12), st.sampled_from(TEXTS))
    if not control:
        return plain.filter(lambda text: not spells_control(text))
    return st.lists(st.one_of(st.sampled_from(SPELLED), plain), max_size=4).map("".join)


def spelled(value):
    return json.dumps(value, ensure_ascii=False)


def json_values(text, key):
    leaf = st.one_of(st.none(), st.booleans(), st.integers(-2**63, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), text)
    return st.recursive(leaf, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(key, inner, max_size=3)), max_leaves=6)


@st.composite
def conversations(draw, template, control=False, wild=False):
    """One that the template can write, or (wild) messages in any order."""
    text = texts(control).filter(lambda s: MARK not in s)
    key = text.filter(lambda s: "\0" not in s)  # which jansson has in no key
    value = json_values(text, key)
    name = st.sampled_from(["f", "look_up", "größe", "items", "<|eot_id|>" if control else "g"])

    def calls(n):
        return [{"id": f"callid{draw(st.integers(100, 999))}", "type": "function",
                 "function": {"name": draw(name), "arguments": spelled(draw(st.dictionaries(key, value, max_size=3)))}} for _ in range(n)]

    def assistant():
        if draw(st.booleans()) and template.calls:
            n = draw(st.integers(1, template.calls))
            says = draw(text.filter(bool)) if template.beside and draw(st.booleans()) else None
            return [{"role": "assistant", "content": says, "tool_calls": calls(n)}]
        return [{"role": "assistant", "content": draw(text)}]

    def answers(messages):
        asked = messages[-1].get("tool_calls", [])
        return [{"role": "tool", "content": draw(text), "tool_call_id": call["id"]} for call in asked] if template.answers else []

    messages = [{"role": "system", "content": draw(text)}] if template.system and draw(st.booleans()) else []
    if wild:
        roles = ["user", "assistant"] + ["system"] * template.later_system + ["tool"] * template.answers
        for role in draw(st.lists(st.sampled_from(roles), min_size=1, max_size=5)):
            messages += assistant() if role == "assistant" else [{"role": role, "content": draw(text)}]
    else:
        for _ in range(draw(st.integers(1, 3))):
            messages.append({"role": "user", "content": draw(text)})
            while draw(st.booleans()) and messages[-1]["role"] != "assistant":
                messages += assistant()
                messages += answers(messages)
            if messages[-1]["role"] != "assistant" or "tool_calls" in messages[-1]:
                break
    made = {"messages": messages}
    if template.tools and draw(st.booleans()):
        made["tools"] = [{"type": "function", "function": {"name": draw(name), "description": draw(text), "parameters": {
            "type": "object", "properties": draw(st.dictionaries(key, value, max_size=2)), "required": draw(st.lists(text, max_size=2))}}}
            for _ in range(draw(st.integers(1, 2)))]
    return made


# --- Puna


def puna_chats(model, conversations, *options):
    """For each: ids, or the error's text."""
    rest, results = [json.dumps(c).encode() for c in conversations], []
    while rest:
        command = [PUNA, "tokenize", "--chat", "--json", "--batch", *map(str, options), str(model)]
        done = subprocess.run(command, input=b"\0".join(rest) + b"\0", capture_output=True, timeout=60)
        lines = done.stdout.splitlines()
        results += [json.loads(line)["ids"] for line in lines]
        if done.returncode == 0:
            assert len(lines) == len(rest), (lines, done.stderr)
            break
        assert done.returncode in (2, 5, 6) and done.stderr.startswith(b"puna tokenize: "), done
        results.append(done.stderr.decode().removeprefix("puna tokenize: ").rstrip("\n"))
        rest = rest[len(lines) + 1:]
    return results
