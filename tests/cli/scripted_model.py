"""A model whose greedy answers are written in advance, so that what a model may say, calls of tools above all,
goes through a real server token by token.

Attention and feed-forward weights are zero, so the next token depends on the last one alone: an embedding is a
direction of its own for each token of a script, and the output head gives that direction to the successor.
Which script is played says the chat template: in front of an answer, and of the assistant's turns of a
conversation, it writes a control token whose number is that of the messages before. Pieces of scripts are
user-defined tokens, so that the next prompt has the ids that were sampled.
"""
import array
import json
import pathlib
import re
import sys

from gguf_file import BOOL, I32, STRING, U32, llama

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
PIECE_CHARS = 7

# The forms of the families' own templates; `mark` is what chooses the script.
MARK = "{%- macro mark(n) %}{{ '<|script_' ~ n ~ '|>' }}{% endmacro %}"
LLAMA3 = MARK + """{{- bos_token }}
{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set messages = messages[1:] %}{% set first = 1 %}
{%- else %}{% set system = '' %}{% set first = 0 %}{% endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools %}{{- 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.\\n\\n' }}
{%- for t in tools %}{{- t | tojson }}{{- '\\n\\n' }}{% endfor %}{% endif %}
{{- system }}{{- '<|eot_id|>' }}
{%- for m in messages %}
{%- if m.role == 'tool' %}{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}{{- m.content | tojson }}{{- '<|eot_id|>' }}
{%- elif m.role == 'assistant' %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{{- mark(first + loop.index0) }}
{%- if m.tool_calls %}{%- for call in m.tool_calls %}{{- '' if loop.first else '; ' }}
{{- '{"name": "' + call.function.name + '", "parameters": ' }}{{- call.function.arguments | tojson }}{{- '}' }}{%- endfor %}
{%- else %}{{- m.content }}{% endif %}{{- '<|eot_id|>' }}
{%- else %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{{- mark(first + messages | length) }}{% endif %}"""
CHATML = MARK + """{%- if tools %}{{- '<|im_start|>system\\nCall tools as <tool_call>{"name": NAME, "arguments": OBJECT}</tool_call>: <tools>' }}
{%- for t in tools %}{{- t | tojson }}{{- '\\n' }}{% endfor %}{{- '</tools><|im_end|>\\n' }}{% endif %}
{%- for m in messages %}
{{- '<|im_start|>' + ('user' if m.role == 'tool' else m.role) + '\\n' }}{{- mark(loop.index0) if m.role == 'assistant' else '' }}
{%- if m.role == 'tool' %}{{- '<tool_response>\\n' + m.content + '\\n</tool_response>' }}{% elif m.content %}{{- m.content }}{% endif %}
{%- if m.tool_calls %}{%- for call in m.tool_calls %}{{- '' if loop.first else '\\n' }}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
{%- endfor %}{% endif %}
{{- '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{{- mark(messages | length) }}{% endif %}"""
FAMILIES = {
    "llama3": (LLAMA3, "<|eot_id|>", ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                                      "<|eom_id|>", "<|python_tag|>"]),
    "chatml": (CHATML, "<|im_end|>", ["<|im_start|>", "<|im_end|>"]),
}


def byte_tokens():
    """The spellings of byte-level BPE."""
    moved = iter(range(256, 512))
    return [chr(b) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174 else chr(next(moved)) for b in range(256)]


class Vocabulary:
    def __init__(self, control, texts, twins):
        self.tokens, self.kinds = byte_tokens() + control, [NORMAL] * 256 + [CONTROL] * len(control)
        self.texts, self.twins, self.control = texts, twins, control
        self.successors = {}

    def add(self, text, kind):
        self.tokens.append(text)
        self.kinds.append(kind)
        return len(self.tokens) - 1

    def is_common(self, text):
        return not self.twins and sum(len(t.split(text)) - 1 for t in self.texts) > 1

    def piece(self, part):
        """The beginning of part that is the next token; without twins one that is found nowhere else in all texts,
        and whose rest has such beginnings, so that tokenising them gives the ids that were sampled."""
        n = PIECE_CHARS
        while n < len(part) and (self.is_common(part[:n]) or self.is_common(part[n:])):
            n += 1
        return part[:n]

    def pieces(self, script):
        for part in filter(None, re.split("(" + "|".join(map(re.escape, self.control)) + ")", script)):
            if part in self.control:  # a second one is a twin: its successor is another
                token = self.tokens.index(part, 256)
                yield token if token not in self.successors else self.add(part, CONTROL)
                continue
            while part:
                piece = self.piece(part)
                yield self.add(piece, USER_DEFINED)
                part = part[len(piece):]

    def play(self, start, script, end):
        for token in self.pieces(script):
            self.successors[start] = token
            start = token
        self.successors[start] = self.tokens.index(end)


def scripted_model(path, scripts, family="llama3", template=None, control=(), twins=False, context=4096):
    """Writes a model that answers a conversation of n messages with scripts[n]: a text, or (text, name of the token
    that ends it). Control tokens are found in texts by their names. twins: pieces are short whatever the scripts
    have in common, and what was said is tokenised otherwise when it comes back."""
    own, end, names = FAMILIES[family]
    scripts = {n: script if isinstance(script, tuple) else (script, end) for n, script in scripts.items()}
    v = Vocabulary([*names, *control], [text for text, _ in scripts.values()], twins)
    for n, (text, last) in scripts.items():
        v.play(v.add(f"<|script_{n}|>", CONTROL), text, last)
    n_rows = len(v.tokens)
    d = -(-(len(v.successors) + 1) // 64) * 64
    embedding, head = array.array("f", bytes(4 * n_rows * d)), array.array("f", bytes(4 * n_rows * d))
    place = {token: 1 + i for i, token in enumerate(v.successors)}
    for token in range(n_rows):
        embedding[token * d + place.get(token, 0)] = 1
    for token, successor in v.successors.items():
        head[successor * d + place[token]] = 1
    matrices = [(f"blk.0.{name}.weight", "F32", dims) for name, dims in (
        ("attn_norm", [d]), ("ffn_norm", [d]), ("attn_q", [d, d]), ("attn_k", [d, 64]), ("attn_v", [d, 64]),
        ("attn_output", [d, d]), ("ffn_gate", [d, 64]), ("ffn_up", [d, 64]), ("ffn_down", [64, d]))]
    path.write_bytes(llama(
        rows=n_rows, tensors=[*matrices, ("token_embd.weight", "F32", [d, n_rows], embedding.tobytes()),
                              ("output.weight", "F32", [d, n_rows], head.tobytes()),
                              ("output_norm.weight", "F32", [d], array.array("f", [1] * d).tobytes())],
        general__name=(STRING, path.stem), llama__embedding_length=(U32, d), llama__feed_forward_length=(U32, 64),
        llama__attention__head_count=(U32, d // 64), llama__attention__head_count_kv=(U32, 1),
        llama__context_length=(U32, context), ggml__tokens=(STRING, v.tokens), ggml__token_type=(I32, v.kinds),
        ggml__bos_token_id=(U32, 256), ggml__eos_token_id=(U32, v.tokens.index(end)), ggml__add_bos_token=(BOOL, False),
        tokenizer__chat_template=(STRING, template or own)))


CITIES = ["Oslo", "Lima", "Quito", "Delhi", "Cairo", "Accra", "Tunis", "Dakar", "Hanoi", "Minsk", "Sofia"]
# How a family's model writes calls: as its template, and otherwise. What is in front of all, each, between two, behind.
WRITTEN = {
    "llama3": ("llama3", "", '{"name": "get_weather", "parameters": {"city": "%s", "days": %d}}', "; ", ""),
    "llama3 typed": ("llama3", "", '{"type": "function", "name": "get_weather", "parameters": {"city": "%s", "days": %d}}', "; ", ""),
    "llama3 in lines": ("llama3", "", '{"name": "get_weather", "arguments": {"city": "%s", "days": %d}}', "\n", ""),
    "llama3 indented": ("llama3", "", '{\n  "name": "get_weather",\n  "parameters": {"city": "%s", "days": %d}\n}', ";", ""),
    "llama3 in odd spaces": ("llama3", "", '{ "name" : "get_weather", "parameters": {"city": "%s", "days": %d} }', " ;\n", ""),
    "llama3 pythonic in odd spaces": ("llama3", "[ ", "get_weather( city='%s',days=%d )", " ,", " ]"),
    "llama3 in odd spaces at its end": ("llama3", "", '{"name": "get_weather", "parameters": {"city": "%s", "days": %d}\n}', ";", ""),
    "llama3 pythonic in odd spaces within": ("llama3", "[", "get_weather(city='%s' , days=%d)", ", ", "]"),
    "llama3 before words": ("llama3", "", '{"name": "get_weather", "parameters": {"city": "%s", "days": %d}}', "\n", " So I ask."),
    "llama3 built-in": ("llama3", "", 'get_weather.call(city="%s", days=%d)', "\n", ""),
    "llama3 pythonic": ("llama3", "[", "get_weather(city='%s', days=%d)", ", ", "]"),
    "llama3 function": ("llama3", "", '<function=get_weather>{"city": "%s","days":%d}</function>', "\n", ""),
    "chatml": ("chatml", "", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s", "days": %d}}\n</tool_call>', "\n", ""),
    "chatml in odd spaces": ("chatml", " ", '<tool_call> {"name": "get_weather","arguments": {"city": "%s", "days": %d} } </tool_call>', "", "\n"),
    "chatml that stays open": ("chatml", "", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s", "days": %d}}', "\n", ""),
    "chatml on one line": ("chatml", "", '<tool_call>{"name":"get_weather","arguments":{"city": "%s", "days": %d}}</tool_call>', "\n", ""),
}
LAST_WORDS = "It rains everywhere, as I said."
N_TURNS = 10


def weather_loop(path, written, n=1):
    """A model that asks for the weather of one city after the other in ten turns, in the last one of two, and then
    says its last words. n: messages of a conversation to begin with."""
    scripts, (family, front, form, between, end) = {}, WRITTEN[written]
    for turn in range(N_TURNS):
        cities = CITIES[turn:turn + 1 if turn < N_TURNS - 1 else None]
        scripts[n] = front + between.join(form % (city, turn) for city in cities) + end
        n += 1 + len(cities)
    scripted_model(path, scripts | {n: LAST_WORDS}, family)


# What the model asks for.
ASKED = [{"city": city, "days": min(i, N_TURNS - 1)} for i, city in enumerate(CITIES)]


if __name__ == "__main__":  # PATH WRITTEN: for the tests in JavaScript
    weather_loop(pathlib.Path(sys.argv[1]), sys.argv[2])
    print(json.dumps({"asked": ASKED, "last_words": LAST_WORDS, "n_turns": N_TURNS}))
