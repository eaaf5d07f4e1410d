#!/usr/bin/env python3
"""Templates of models through the whole of Puna: each template found below the folders (see jinja_compare.py) writes some
hundred chats, and `puna tokenize --chat` must give the ids that jinja2 and `tokenizers` give, or refuse what they refuse.
How a template must be called, and what it can write, is found out here by trying jinja2.

usage: template_folders.py [--chats N] [--list] FOLDER..."""
import argparse
import collections
import pathlib
import sys
import tempfile
import warnings

import hypothesis
import jinja2
from hypothesis import strategies as st

import jinja_common
import template_common as common
from jinja_compare import find_templates
from template_common import Template

TOOL = {"type": "function", "function": {"name": "kqtool", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "d"}}, "required": ["a"]}}}


def say(role, content, **more):
    return {"role": role, "content": content, **more}


def calls(*names):
    return [{"id": f"callid00{i}", "type": "function", "function": {"name": name, "arguments": '{"a": "kqgiven"}'}} for i, name in enumerate(names)]


def text_of(template, messages, tools):
    return jinja_common.Reference(common.compiled(template.source), common.called(template, {"messages": messages, "tools": tools})).text


def writes(template, messages, words, tools=None):
    text = text_of(template, messages, tools)
    return text is not None and all(word in text for word in words)


def describe(source):
    """A Template, or None where nothing that a user says is written."""
    asked, ruled = say("user", "kqasked"), say("system", "kqruled")
    for parts in (False, True):
        for tools_list in (False, True):
            t = Template(source, content_parts=parts, tools_list=tools_list)
            if writes(t, [asked], ["kqasked"]):
                return describe_more(t, asked, ruled)
    return None


def describe_more(t, asked, ruled):
    t.system = writes(t, [ruled, asked], ["kqruled"])
    t.later_system = False
    t.tools = writes(t, [asked], ["kqtool", "kqasked"], [TOOL]) and (not t.system or writes(t, [ruled, asked], ["kqtool", "kqruled"], [TOOL]))
    one = [asked, say("assistant", None, tool_calls=calls("kqcalled"))]
    for words in (["kqcalled", '{"a": "kqgiven"}'], ["kqcalled", "kqgiven"]):
        for t.arguments_text in (False, True):
            for t.content_empty in (False, True):
                if writes(t, one, words, [TOOL]):
                    both = [asked, say("assistant", None, tool_calls=calls("kqcalled", "kqsecond"))]
                    t.calls = 2 if writes(t, both, ["kqcalled", "kqsecond"], [TOOL]) else 1
                    t.beside = writes(t, [asked, say("assistant", "kqsaid", tool_calls=calls("kqcalled"))], ["kqsaid", "kqcalled"], [TOOL])
                    t.answers = writes(t, [*one, say("tool", "kqanswer", tool_call_id="callid000")], ["kqanswer"], [TOOL])
                    return t
    t.arguments_text = t.content_empty = False
    return t


def compare(vocabulary, folder, name, template, n_chats):
    """Counts of outcomes; prints the first differences."""
    counts, model, path = collections.Counter(), folder / "v.gguf", folder / "t.jinja"
    path.write_text(template.source)
    chats = []

    @hypothesis.settings(max_examples=n_chats, deadline=None, database=None, derandomize=True, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(chat=st.one_of(common.conversations(template, control, wild) for control in (False, True) for wild in (False, True)))
    def collect(chat):
        chats.append(chat)

    collect()
    for chat, got in zip(chats, common.puna_chats(model, chats, "--chat-template", path), strict=True):
        try:
            wanted = common.expected(vocabulary, template, chat)
        except AssertionError:  # it looks into texts, which marks change
            counts["not comparable"] += 1
            continue
        if isinstance(wanted, list):
            outcome = "same ids" if got == wanted else "refused" if isinstance(got, str) else "different"
        else:
            outcome = "different" if isinstance(got, list) else "both refuse"
        counts[outcome] += 1
        if outcome in ("different", "refused") and counts[outcome] == 1:
            said = got if isinstance(got, str) else f"{got}\n  not {wanted if isinstance(wanted, list) else wanted.error}"
            print(f"{name}: {outcome}: {said[:1500]}\n  {common.spelled(chat)[:1500]}")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--chats", type=int, default=100)
    parser.add_argument("--list", action="store_true", help="the counts of every template")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # Python on escapes in templates
    vocabulary, total = common.Vocabulary(), collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        vocabulary.write(folder / "v.gguf")
        for name, source in find_templates(args.folders):
            try:
                template = describe(source)
            except jinja2.TemplateError:
                template = None
            if template is None:
                total["left out"] += 1
                print(f"{name}: writes no user's message with jinja2 either")
                continue
            counts = compare(vocabulary, folder, name, template, args.chats)
            total += counts
            if args.list:
                print(f"{name}: {dict(counts)}", flush=True)
    print(f"{dict(total)}")
    sys.exit(total["different"] > 0 or total["refused"] > 0)


if __name__ == "__main__":
    main()
