#!/usr/bin/env python3
"""Chats through `puna tokenize --chat` and through apply_chat_template of `transformers`, with the templates of
test_templates.py: the same token ids. Where texts spell control tokens it is asked to take them as text, too
(sanitize_control_tokens), which it does not for keys of JSON. Exit code 77 without transformers.

usage: template_transformers.py [EXAMPLES]   lists of conversations for each template, 200 unless said otherwise"""
import json
import pathlib
import sys
import tempfile

import hypothesis
from hypothesis import strategies as st

import jinja_common
import template_common as common
from test_templates import SETTINGS, TEMPLATES


DATE = "26 Jul 2024"  # of our clock


def of_transformers(tokenizer, template, conversation, prompt):
    """Ids, or None where the template gives no text."""
    variables = common.called(template, conversation, prompt)
    try:
        return tokenizer.apply_chat_template(variables["messages"], tools=variables["tools"], add_generation_prompt=prompt, tokenize=True,
                                             return_dict=False, date_string=DATE, sanitize_control_tokens=True)
    except Exception:  # whatever Python raises, there is no text
        return None


def keys_of(value):
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_of(inner)


def is_compared(template, conversation):
    """It leaves out contents that are none, which a template may tell from what is not there, or print."""
    arguments = [json.loads(call["function"]["arguments"]) for m in conversation["messages"] for call in m.get("tool_calls", [])]
    return not (any(common.spells_control(key) for key in keys_of([conversation, *arguments]))
                or (any(m["content"] is None for m in conversation["messages"]) and (template.arguments_text or prints_none(template, conversation))))


def prints_none(template, conversation):
    text = jinja_common.Reference(common.compiled(template.source), common.called(template, conversation)).text
    return text is not None and "None" in text


def text_between(vocabulary, template, ids):
    """Control tokens, and the text between them however it is cut into tokens."""
    control, parts = {vocabulary.ids[token] for token in [*common.CONTROL, *template.marks]}, [""]
    for one in ids:
        if one in control:
            parts += [one, ""]
        else:
            parts[-1] += vocabulary.tokens[one]
    return parts


def compare(vocabulary, folder, name, n_examples):
    """Returns how many conversations had ids, and how many were refused by both."""
    import transformers

    template, counts = TEMPLATES[name], [0, 0]
    model = vocabulary.write(folder / "v.gguf")
    path = folder / "t.jinja"
    path.write_text(template.source)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=vocabulary.tokenizer([*common.CONTROL, *template.marks]), bos_token=common.BOS,
                                                     eos_token=common.EOS, chat_template=template.source, clean_up_tokenization_spaces=False)

    @hypothesis.settings(SETTINGS, max_examples=n_examples)
    @hypothesis.given(conversations=st.lists(st.one_of(common.conversations(template, control, wild) for control in (False, True) for wild in (False, True)),
                                             min_size=1, max_size=20), prompt=st.booleans())
    def check(conversations, prompt):
        conversations = [c for c in conversations if is_compared(template, c)]
        options = ["--chat-template", path] + ([] if prompt else ["--no-generation-prompt"])
        for conversation, got in zip(conversations, common.puna_chats(model, conversations, *options), strict=True):
            wanted = of_transformers(tokenizer, template, conversation, prompt)
            if wanted is not None and isinstance(got, list) and common.spells_control(conversation):  # it cuts texts there
                got, wanted = text_between(vocabulary, template, got), text_between(vocabulary, template, wanted)
            assert (got == wanted) if wanted is not None else isinstance(got, str), (got, wanted, common.spelled(conversation))
            counts[wanted is None] += 1

    check()
    return counts


def main():
    n_examples = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    try:
        import transformers
    except ImportError:
        print("skipped: transformers is not installed")
        sys.exit(77)
    vocabulary, wrong = common.Vocabulary(), 0
    # theirs stands at this moment, ours at a day of its own
    names = [name for name, template in TEMPLATES.items() if "strftime_now" not in template.source or template.name]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                n_ids, n_refused = compare(vocabulary, pathlib.Path(folder), name, n_examples)
                print(f"{name}: {n_ids} conversations with the same ids, {n_refused} refused by both", flush=True)
            except AssertionError as error:
                wrong += 1
                print(f"{name}: DIFFERS {str(error)[:3000]}", flush=True)
    print(f"transformers {transformers.__version__}: {len(names) - wrong} passed, {wrong} failed")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
