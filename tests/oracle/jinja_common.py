"""What the comparisons of templates share: Python's jinja2 set up as transformers' chat templates are
(utils/chat_template_utils.py: _compile_jinja_template), and our engine as a program that renders one JSON line after
the other."""
import datetime
import json
import pathlib
import subprocess

import jinja2
import jinja2.ext
import jinja2.sandbox

ROOT = pathlib.Path(__file__).resolve().parents[2]
RENDER = ROOT / "build/release/tests/jinja_render"
NOW = 1_753_500_000  # 2025-07-26 03:20:00 UTC


class Generation(jinja2.ext.Extension):
    """The tag that marks the assistant's text for training: a call block, so its body has variables of its own."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_generation_support"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _generation_support(self, context, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(format):
    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)
    return now.strftime(format)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


ENVIRONMENT = environment()


class Reference:
    """text, or error with raised: whether the template itself called raise_exception."""

    def __init__(self, source, variables):
        self.text, self.error, self.raised = None, None, False
        try:
            template = source if isinstance(source, jinja2.Template) else ENVIRONMENT.from_string(source)
            self.text = template.render(**variables)
            self.text.encode()  # a lone surrogate is no text
        except Exception as error:  # whatever Python raises, the template has no text
            self.text, self.error = None, f"{type(error).__name__}: {error}"
            self.raised = type(error) is jinja2.exceptions.TemplateError
            self.message = str(error)


class Engine:
    def __init__(self, program=RENDER):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def render(self, source, context=None, trusted=None, **more):
        request = {"template": source, "context": context or {}, "trusted": trusted or {}, "now": NOW, **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"jinja_render ended with {self.process.wait()} at {json.dumps(request)}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


def difference(answer, reference):
    """None, or what is wrong with our answer; "unsupported" is no difference, but told apart by its code."""
    if "text" in answer:
        if reference.text is None:
            return f"rendered {answer['text']!r}, the reference says {reference.error}"
        return None if answer["text"] == reference.text else f"{answer['text']!r} is not {reference.text!r}"
    if reference.text is not None:
        return None if answer["code"] == "unsupported" else f"{answer['error']} where {reference.text!r} is right"
    if reference.raised and answer["code"] not in ("raised", "unsupported"):
        return f"{answer['error']} is not what the template raises: {reference.error}"
    if answer["code"] == "raised" and answer["error"] != reference.message[:len(answer["error"])]:
        return f"raised {answer['error']!r}, not {reference.message!r}"
    return None
