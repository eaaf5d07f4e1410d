"""Chats from JSON to token ids: `puna tokenize --chat` with templates written in Puna and with templates in the style of
published ones, against jinja2 as transformers sets it up and Hugging Face `tokenizers` (template_common.py)."""
import ast
import json
import re
import subprocess

import hypothesis
import pytest
from hypothesis import strategies as st

import jinja_common
import template_common as common
from program import PUNA
from template_common import Template

BUILTIN = {name: "".join(ast.literal_eval(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', body)) for name, body in re.findall(
    r"^static const char (\w+)\[\] =\n(.*?);$", (jinja_common.ROOT / "src/chat/builtin.c").read_text(), re.MULTILINE | re.DOTALL)}
LLAMA31 = {"tools": True, "calls": 1, "answers": True, "names": "system user assistant ipython"}

TEMPLATES = {
    "chatml": Template(BUILTIN["chatml"], "chatml", tool_format="hermes", answers=True),
    "llama2": Template(BUILTIN["llama2"], "llama2", later_system=False, names="- - - -", take_turns=True),
    "llama3": Template(BUILTIN["llama3"], "llama3", answers=True),
    "llama3.1": Template(BUILTIN["llama31"], "llama3.1", **LLAMA31),
    # as Qwen and Hermes: tools beside the system's text, calls and answers in tags
    "tags": Template("""\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{% endif %}
    {{- '# Tools\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{% endfor %}
    {{- '\\n</tools> Answer with <tool_call>{"name": ..., "arguments": ...}</tool_call>\\n<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' or (m.role == 'system' and not loop.first) or (m.role == 'assistant' and not m.tool_calls) %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>' + m.role }}
        {%- if m.content %}{{- '\\n' + m.content }}{% endif %}
        {%- for call in m.tool_calls %}
            {%- if call.function %}{% set call = call.function %}{% endif %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif m.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{% endif %}
        {{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{% endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
""", tools=True, calls=3, beside=True, answers=True, tool_format="hermes", names="system user assistant user"),
    # as Mistral Nemo: the last user's message has the tools, roles take turns, ids of nine letters
    "instructions": Template("""\
{%- set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}
{%- set asked = turns | selectattr('role', 'equalto', 'user') | list %}
{%- set ns = namespace(n=0) %}
{%- for m in turns if m.role in ('user', 'assistant') and m.tool_calls is not defined %}
    {%- if (m.role == 'user') != (ns.n % 2 == 0) %}{{- raise_exception('user and assistant do not take turns') }}{% endif %}
    {%- set ns.n = ns.n + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for m in turns %}
    {%- if m.role == 'user' %}
        {%- if tools is not none and m == asked[-1] %}
            {{- '[AVAILABLE_TOOLS][' }}
            {%- for tool in tools | map(attribute='function') %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, value in tool.items() %}
                    {{- '"' ~ key ~ '": ' ~ ('"' ~ value ~ '"' if value is string else value | tojson) ~ ('' if loop.last else ', ') }}
                {%- endfor %}
                {{- '}}' ~ ('' if loop.last else ', ') }}
            {%- endfor %}
            {{- '][/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST]' }}
        {%- if loop.last and messages[0]['role'] == 'system' %}{{- messages[0]['content'] ~ '\\n\\n' }}{% endif %}
        {{- m.content + '[/INST]' }}
    {%- elif m.tool_calls is defined %}
        {{- '[TOOL_CALLS][' }}
        {%- for call in m.tool_calls %}
            {%- if call.id | length < 9 %}{{- raise_exception('an id is too short') }}{% endif %}
            {%- set out = call.function | tojson %}
            {{- out[:-1] ~ ', "id": "' ~ call.id ~ '"}' ~ (']' ~ eos_token if loop.last else ', ') }}
        {%- endfor %}
    {%- elif m.role == 'assistant' %}
        {{- m.content ~ eos_token }}
    {%- elif m.role == 'system' %}{{- raise_exception('only the first message may be from system') }}
    {%- else %}
        {{- '[TOOL_RESULTS]{"content": ' ~ m.content ~ ', "call_id": "' ~ m.tool_call_id ~ '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}
""", tools=True, calls=2, answers=True, later_system=False, names="- - - -", take_turns=True),
    # as DeepSeek R1 Distill Llama: arguments are text, the system's text stands bare
    "text-arguments": Template("""\
{% set ns = namespace(first=true) %}{{ bos_token }}
{%- for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% endif %}
    {%- if m['role'] == 'assistant' and m['content'] is none %}
        {%- for call in m['tool_calls'] %}
            {{- ('<｜Assistant｜>' if loop.first else '\\n') + call['type'] + ' ' + call['function']['name'] + '\\n```json\\n' + call['function']['arguments'] + '\\n```' }}
        {%- endfor %}{{ eos_token }}
    {%- elif m['role'] == 'assistant' %}
        {{- '<｜Assistant｜>' + m['content'].split('\\f')[-1] + eos_token }}
    {%- endif %}
    {%- if m['role'] == 'tool' %}{{ '<｜User｜>' + m['content'] }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}""",
                               calls=3, answers=True, arguments_text=True, names="- user assistant user"),
    # as Llama Guard 3 1B: contents in parts, who must take turns, and no system
    "guard": Template("""\
{%- set who = 'Agent' if messages | length % 2 == 0 else 'User' -%}
{%- if categories is not defined -%}{%- set categories = ({"S1": "Violence.", "S2": "Fraud.",}) -%}{%- endif -%}
{{- "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\\n\\n" -}}
{{- "Is the last message of '" + who + "' unsafe?\\n<BEGIN>\\n" -}}
{%- for key in categories -%}
    {%- if key not in excluded_category_keys -%}{{- key + ": " + categories[key] + "\\n" -}}{%- endif -%}
{%- endfor -%}
{{- "<END>\\n\\n" -}}
{%- for m in messages -%}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate user/assistant/...') }}{%- endif -%}
    {%- for part in m['content'] | selectattr('type', 'equalto', 'text') -%}
        {{- {'user': 'User', 'assistant': 'Agent'}[m.role] + ': ' + part['text'] | trim + '\\n\\n' -}}
    {%- endfor -%}
{%- endfor -%}
{{- "<|eot_id|><|start_header_id|>assistant<|end_header_id|>" -}}""", system=False, content_parts=True, names="- user - -",
                      take_turns=True),
    # as Ministral and Bielik: a content that is none cannot be joined; a macro writes texts
    "joined": Template("""\
{%- macro turn(role, text) -%}{{ '<|' + role + '|>\\n' + text.strip() + eos_token + '\\n' }}{%- endmacro -%}
{{- strftime_now('%Y-%m-%d') + '\\n' -}}
{%- for m in messages -%}
    {%- if m.role == 'tool' -%}{{ turn('user', 'Result ' + m.tool_call_id + ': ' + m.content) }}
    {%- else -%}
        {%- set text = m.content + '' -%}
        {%- for call in m.tool_calls | default([]) -%}
            {%- set text = text ~ '\\n' ~ loop.index ~ '. ' ~ call.function.name -%}
        {%- endfor -%}
        {{- turn(m.role, text) -}}
        {%- for call in m.tool_calls or [] -%}{{ call.function.name ~ ': ' ~ call.function.arguments | tojson(indent=2) ~ '\\n' }}{%- endfor -%}
    {%- endif -%}
{%- endfor -%}
{{- '<|assistant|>\\n' if add_generation_prompt -}}
""", calls=2, beside=True, answers=True, content_empty=True, names="system user assistant user"),
    # as QwQ: it takes apart what all assistants but the last said, and that may not be none
    "thought": Template("""\
{%- for m in messages %}
    {%- if m.role == 'tool' %}{{- '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}
    {%- else %}
        {%- set text = m.content %}
        {%- if m.role == 'assistant' and not loop.last %}{%- set text = text.split('\\f')[-1] %}{% endif %}
        {{- '<|im_start|>' + m.role + '\\n' }}{% if text %}{{- text }}{% endif %}
        {%- for call in m.tool_calls or [] %}{{- '\\n' + call.function.name + ': ' + call.function.arguments | tojson }}{% endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\\n' if add_generation_prompt }}
""", calls=3, beside=True, answers=True, content_empty=True, tool_format="hermes", names="system user assistant user"),
    # as llama.cpp's DeepSeek R1: it fails where there are tools, as no filter's result is JSON
    "no-tools": Template("""\
{%- if tools %}{{- tools | map(attribute='function') | tojson }}{% endif %}
{%- for m in messages %}
    {{- '<|' + m.role + '|>' + (m.content or '') }}
    {%- for call in m.tool_calls or [] %}{{- call.function.name + ' ' + call.function.arguments | tojson + '\\n' }}{% endfor %}
{%- endfor %}
""", calls=3, beside=True, answers=True),
    # as Hermes 2 Pro's for tools: it walks through tools that may not be there
    "tools-list": Template("""\
{{- bos_token + '<|im_start|>system\\n' }}
{%- for tool in tools %}{{ tool.function.name ~ ': ' ~ tool.function.description ~ ' ' ~ tool.function.parameters | tojson }}
{% endfor %}
{{- '<|im_end|>' }}
{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content or '' }}<|im_end|>
{% endfor %}
""", tools=True, tools_list=True, answers=True, tool_format="hermes", names="system - - -"),
}


@pytest.fixture(scope="module")
def vocabulary():
    return common.Vocabulary()


@pytest.fixture(scope="module", params=TEMPLATES)
def case(request, vocabulary, tmp_path_factory):
    """A template, a file with the vocabulary, and options."""
    folder = tmp_path_factory.mktemp(request.param)
    template = TEMPLATES[request.param]
    model = vocabulary.write(folder / "v.gguf")
    (folder / "t.jinja").write_text(template.source)
    return template, model, ["--chat-template", template.name or folder / "t.jinja"]


def compare(vocabulary, case, conversations, prompt):
    """Returns how many had ids."""
    template, model, options = case
    options = options + ([] if prompt else ["--no-generation-prompt"])
    n = 0
    for conversation, got in zip(conversations, common.puna_chats(model, conversations, *options), strict=True):
        wanted = common.expected(vocabulary, template, conversation, prompt)
        if isinstance(wanted, list):
            assert got == wanted, common.spelled(conversation)
            if not common.spells_control(conversation):  # then all of it at once, as transformers does
                text = common.compiled(template.source).render(**common.called(template, conversation, prompt))
                assert wanted == vocabulary.whole(tuple(template.marks)).encode(text, add_special_tokens=False).ids
            n += 1
        elif wanted.raised:
            assert got == wanted.message, common.spelled(conversation)
        else:
            assert re.match(r"line \d+, column \d+: ", got), (got, wanted.error, common.spelled(conversation))
    return n


SETTINGS = hypothesis.settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck),
                               phases=[p for p in hypothesis.Phase if p is not hypothesis.Phase.explain])


@pytest.mark.parametrize("control", [False, True], ids=["plain", "spelling control tokens"])
def test_a_chat_gets_the_ids_of_the_rendered_text(vocabulary, case, control):
    n = []

    @SETTINGS
    @hypothesis.given(conversations=st.lists(common.conversations(case[0], control), min_size=4, max_size=12), prompt=st.booleans())
    def check(conversations, prompt):
        n.append(compare(vocabulary, case, conversations, prompt))

    check()
    assert sum(n) > 50


def test_messages_in_any_order_are_written_as_jinja2_does_or_refused_as_the_template_says(vocabulary, case):
    @SETTINGS
    @hypothesis.given(conversations=st.lists(common.conversations(case[0], True, wild=True), min_size=1, max_size=8), prompt=st.booleans())
    def check(conversations, prompt):
        compare(vocabulary, case, conversations, prompt)

    check()


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_can_write_is_recognised(vocabulary, tmp_path, name):
    template = TEMPLATES[name]
    model = vocabulary.write(tmp_path / "m.gguf", template.source)
    seen = json.loads(subprocess.run([PUNA, "inspect", "--json", model], capture_output=True, check=True).stdout)["chat_template"]
    writes = {"system": template.system, "user": True, "assistant": True, "tool": template.answers}
    roles = {role: None if name == "-" else name for role, name in zip(writes, template.names.split(), strict=True) if writes[role]}
    assert seen == {"built_in": None, "roles": roles, "take_turns": template.take_turns, "system": template.system, "tools": template.tools, "tool_calls": template.calls > 0,
                    "parallel_tool_calls": template.calls > 1, "text_beside_calls": template.beside, "tool_answers": template.answers,
                    "date": "strftime_now" in template.source or "date_string" in template.source, "tool_format": template.tool_format}


# --- what a template cannot write

def user(text):
    return {"role": "user", "content": text}


def call_of(name, arguments):
    return {"id": "callid001", "type": "function", "function": {"name": name, "arguments": arguments}}


FORMS = {"llama3-json": lambda calls: "; ".join(f'{{"name": "{name}", "parameters": {arguments}}}' for name, arguments in calls),
         "hermes": lambda calls: "\n".join(f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>' for name, arguments in calls)}


def test_calls_that_a_template_cannot_write_are_the_assistants_text(vocabulary, case):
    template, model, options = case
    two = [("f", '{"a":  1.0}'), ("g", "{}")]
    for calls, says in ((two[:1], None), (two, None), (two[:1], "I look."), (two, "I look.<|eot_id|>")):
        if template.calls >= len(calls) and (says is None or template.beside):
            continue
        asked = {"messages": [user("x"), {"role": "assistant", "content": says, "tool_calls": [call_of(*c) for c in calls]}]}
        told = {"messages": [user("x"), {"role": "assistant", "content": (says or "") + FORMS[template.tool_format](calls)}]}
        assert common.puna_chats(model, [asked], *options) == [common.expected(vocabulary, template, told)]


def test_what_a_template_would_leave_out_is_refused(case):
    template, model, options = case
    system, tool = {"role": "system", "content": "Be brief."}, {"role": "tool", "content": "20", "tool_call_id": "callid001"}
    called = {"role": "assistant", "content": None, "tool_calls": [call_of("f", "{}")]}
    for conversation, writes in (([system, user("x")], template.system), ([user("x"), called, tool], template.answers),
                                 ([user("x"), {"role": "assistant", "content": "y"}, system, user("z")], template.system and template.later_system)):
        got, = common.puna_chats(model, [{"messages": conversation}], *options)
        assert isinstance(got, list) == writes, got


def test_the_beginning_of_the_text_stands_once(vocabulary, tmp_path):
    for source, first in (("{{ messages[0].content }}", 0), ("{{ bos_token + messages[0].content }}", 0), ("{{ bos_token + bos_token + messages[0].content }}", 0),
                          ("{{ ' ' + bos_token + messages[0].content }}", 1)):  # Llama Guard 3
        for add in (False, True):
            model = vocabulary.write(tmp_path / "m.gguf", source, add_bos=add)
            ids, = common.puna_chats(model, [{"messages": [user("Hi <|begin_of_text|>")]}])
            at = [i for i, one in enumerate(ids) if one == vocabulary.ids[common.BOS]]
            assert at == ([first] if add or "bos_token" in source else []), (source, add)
