#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/jinja: templates with every statement and filter, hostile ones, and programs of
tests/oracle/jinja_programs.py. None is taken from a model."""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
OUT = HERE / "corpus/jinja"
sys.path.insert(0, str(HERE.parent / "oracle"))

HAND_MADE = {
    "turns": "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | string | trim }}{{ '<|end|>' }}\n{% endfor %}",
    "tools": "{% if tools %}{{ tools | tojson(indent=2) }}{{ tools }}{% else %}none{% endif %}",
    "macro": "{% macro f(x, y=1) %}{{ x }}{{ y }}{{ caller() if caller }}{{ varargs }}{{ kwargs }}{% endmacro %}"
             "{% call f(s, n, 2, z=3) %}in{% endcall %}",
    "namespace": "{% set ns = namespace(a=s) %}{% for i in range(n) %}{% set ns.a = ns.a ~ i %}{% endfor %}{{ ns.a }}",
    "strings": "{{ s.split()|join('-') }}{{ s[::-1] }}{{ s|replace(' ', '<|x|>') }}{{ s|title }}{{ s.upper() * 3 }}",
    "formats": "{{ '%s %05d %r' % (s, n, s) }}{{ '{0:>9}{1:,}'.format(s, n) }}{{ '%(a)s'|format(a=s) }}",
    "lists": "{{ messages|map(attribute='role')|list }}{{ messages|selectattr('content')|list|length }}"
             "{{ [3,1,2]|sort }}{{ messages|groupby('role') }}{{ d|dictsort }}{{ [1,2,3]|batch(2, 0)|list }}",
    "loops": "{% for c in s if c != ' ' %}{{ loop.index }}{{ loop.last }}{{ loop.nextitem }}{% if loop.index > 3 %}"
             "{% break %}{% endif %}{{ loop.cycle(1, 2) }}{% else %}e{% endfor %}",
    "blocks": "{% set b | upper %}{{ s }}{% endset %}{% filter trim %} {{ b }} {% endfilter %}{% with q = n %}{{ q }}{% endwith %}"
              "{% generation %}g{% endgeneration %}{% raw %}{{ }}{% endraw %}{#- c -#}",
    "white-space": "  {%- if true -%}  \n  x  {%+ endif +%}\n  {% if n %}\n  y\n {% endif %}\n\n",
    "numbers": "{{ 7 // -2 }}{{ 7 % -2 }}{{ 1 / 3 }}{{ 2 ** 62 }}{{ 1e16 }}{{ 0x1f }}{{ '42.5'|int }}{{ 2.5|round }}{{ 1_0.5 }}",
    "raise": "{{ raise_exception('roles must alternate ' ~ s) }}",
    "date": "{{ strftime_now('%d %b %Y %% %-d') }}",
    "deep-brackets": "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "deep-lists": "{{ " + "[" * 90 + "]" * 90 + " }}",
    "deep-not": "{{ " + "not " * 500 + "x }}",
    "deep-blocks": "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "long-sum": "{{ " + "1+" * 2000 + "1 }}",
    "doubling": "{% set ns = namespace(a='x') %}{% for i in range(90) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    "list-doubling": "{% set ns = namespace(a=[1]) %}{% for i in range(90) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
    "nested-loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "self-reference": "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}{{ ns == ns }}",
    "repeat": "{{ 'x' * 999999999999 }}{{ [0] * 99999999999 }}",
    "huge-range": "{{ range(-9223372036854775807, 9223372036854775807) }}",
    "overflow": "{{ 9223372036854775807 + 1 }}{{ -9223372036854775807 - 2 }}{{ 3 ** 99 }}",
    "bad-escapes": "{{ '\\x4' }}{{ '\\ud800' }}{{ '\\N{DASH}' }}",
    "open": "{{ x", "open-block": "{% if x", "open-comment": "{# x", "open-raw": "{% raw %}x", "open-string": "{{ 'x }}",
    "unsupported": "{% include 'x' %}", "unknown": "{% foo %}{{ x|foo }}",
    "variables": "{{ a }}{{ b.c[0] }}{{ l|tojson }}\0" + json.dumps({"a": "é", "b": {"c": [1]}, "l": [None, 1.5, {"k": True}]}),
    "bad-json": "x\0{", "not-utf8": b"{{ '\xff' }}\xfe", "empty": "",
}


def main():
    import jinja_programs
    OUT.mkdir(parents=True, exist_ok=True)
    for name, text in HAND_MADE.items():
        (OUT / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for seed in range(40):
        template, context = jinja_programs.program(seed)
        variables = "\0" + json.dumps(context, ensure_ascii=False) if seed % 2 else ""
        (OUT / f"program-{seed}").write_bytes((template.replace("\0", "") + variables).encode())


if __name__ == "__main__":
    main()
