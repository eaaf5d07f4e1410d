"""Tools in `puna run`: calls are printed for scripts, and answered by the user or a program of his in a chat (a pty).
What the model says is written in advance (scripted_model.py)."""
import base64
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import pytest

from scripted_model import scripted_model
from test_run import PUNA, Chat

FOLDER = tempfile.TemporaryDirectory()
ANSWER, CONSENT, CHAT = r"answer> $", r"\[y\]es, \[n\]o, \[a\]lways for this tool: $", r"\n(?:\x1b\[\?2004h)?(?:\x1b\[m)?\r?> $"


def tool(name, **more):
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.", **more}}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [tool("get_weather", parameters=CITY), tool("get_time", strict=False)]
ROME = '{"name": "get_weather", "parameters": {"city": "Rome"}}'
UTC = '{"name": "get_time", "parameters": {"zone": "UTC"}}'
ODD = '{ "name": "get_time", "parameters": {"zone": "UTC"} }'
SAID = "It is 12 degrees."


@functools.lru_cache(None)
def model_of(scripts, options=()):
    path = pathlib.Path(tempfile.mkstemp(suffix=".gguf", dir=FOLDER.name)[1])
    scripted_model(path, dict(scripts), **dict(options))
    return path


def model(said, **options):
    """Answers a conversation of n messages with said[n], or of one with the text."""
    said = said if isinstance(said, dict) else {1: said}
    return model_of(tuple(said.items()), tuple(options.items()))


@pytest.fixture
def tools(tmp_path):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return path


def run(path, *args, data=b"", **more):
    return subprocess.run([PUNA, "run", "--temp", "0", "--threads", "1", *map(str, args), str(path)], input=data,
                          capture_output=True, timeout=120, **more)


@pytest.fixture
def chat(tmp_path, tools):
    """chat(model, *args): a running chat with tools."""
    opened = []

    def make(path, *args, offered=True):
        args = [*(["--tools", str(tools)] if offered else []), *map(str, args)]
        opened.append(Chat(tmp_path, "--temp", "0", "--threads", "1", *args, model=path))
        return opened[-1]
    yield make
    for one in opened:
        one.close()


def say(c, line, prompt=CHAT):
    """What is shown between a line and that prompt."""
    c.send(line + "\r")
    return c.wait_for_prompt(prompt)


def saved(c, tmp_path):
    say(c, f"/save {tmp_path}/saved.json")
    return json.loads((tmp_path / "saved.json").read_text())


def program(tmp_path, text, name="tool"):
    path = tmp_path / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


# --- one answer

def test_calls_are_printed_for_scripts(tools):
    done = run(model(f"Let me look. {ROME}; {UTC}"), "--tools", tools, "-p", "Weather?")
    assert (done.returncode, done.stderr) == (0, b"")
    said, *calls, end = done.stdout.decode().split("\n")
    assert (said, end) == ("Let me look. ", "")
    calls = [json.loads(line) for line in calls]
    assert [(c["name"], c["arguments"]) for c in calls] == [("get_weather", {"city": "Rome"}), ("get_time", {"zone": "UTC"})]
    ids = [c["id"] for c in calls]
    assert all(re.fullmatch("call_[0-9a-f]{24}", i) for i in ids) and ids[0] != ids[1]


@pytest.mark.parametrize("text, options, arguments", [
    (ROME, {}, {"city": "Rome"}),
    (("<|python_tag|>" + ROME, "<|eom_id|>"), {}, {"city": "Rome"}),
    ("[get_weather(city='Rome')]", {}, {"city": "Rome"}),
    ('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>', {"family": "chatml"}, {"city": "Rome"}),
    ('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
     {"family": "chatml", "control": ("<tool_call>", "</tool_call>")}, {"city": "Rome"}),
    ('{"name": "get_weather", "parameters": {\n  "city":\t"R\\"om\u202ee\x7f",\n  "big": 1e400}\n}', {}, None),
], ids=["json", "tag", "pythonic", "hermes", "control", "lines"])
def test_calls_of_every_form_are_a_line_and_nothing_else(tools, text, options, arguments):
    done = run(model(text, **options), "--tools", tools, data=b"Weather?")
    assert (done.returncode, done.stderr) == (0, b"")
    line = done.stdout.decode()
    assert line.count("\n") == 1 and json.loads(line)["name"] == "get_weather"
    if arguments:
        assert json.loads(line)["arguments"] == arguments
    else:  # as it is spelled, without what cannot be seen
        assert line.endswith('"arguments":{   "city": "R\\"om\\u202ee\\u007f",   "big": 1e400}}\n')


def test_text_is_text_without_tools_and_of_tools_that_are_not_offered(tools):
    unknown = '{"name": "get_rain", "parameters": {"city": "Rome"}}'
    assert run(model(ROME), "-p", "Weather?").stdout.decode() == ROME + "\n"
    assert run(model(unknown), "--tools", tools, "-p", "Weather?").stdout.decode() == unknown + "\n"
    assert run(model(ROME), "--tools", tools, "--tool-format", "none", "-p", "Weather?").stdout.decode() == ROME + "\n"


def test_other_control_tokens_are_no_text_with_tools_either(tools):
    text = f"Well,<|start_header_id|> <|python_tag|>{ROME}"
    said, call = run(model(text), "--tools", tools, "-p", "Weather?").stdout.decode().splitlines()
    assert said == "Well, " and json.loads(call)["arguments"] == {"city": "Rome"}
    assert run(model(text), "-p", "Weather?").stdout.decode() == f"Well, {ROME}\n"


def text_of(call):
    """As its id has it."""
    before, after = base64.urlsafe_b64decode(re.fullmatch("call_[0-9a-f]{24}_([0-9a-zA-Z_-]{2,})", call["id"]).group(1) + "==").decode().split("\0")
    return before, after


def test_an_id_has_the_text_of_its_call_closed_where_the_answer_was_cut(tools):
    """What is missing at the end of one that is cut is no wish of the model's."""
    whole = run(model(ODD), "--tools", tools, "-p", "Time?", "--stats")
    n_tokens = int(re.search(rb"generation +(\d+) tokens", whole.stderr).group(1))  # with the one that ends it
    calls = [json.loads(run(model(ODD), "--tools", tools, "-p", "Time?", "-n", n).stdout) for n in (n_tokens, n_tokens - 1)]
    assert '{"zone": "UTC"}'.join(text_of(calls[0])) == ODD
    assert calls[1] == calls[0] | {"id": calls[1]["id"]}
    assert '{"zone": "UTC"}'.join(text_of(calls[1])) == ODD.split('{"zone": "UTC"}')[0] + '{"zone": "UTC"}}'


@pytest.mark.parametrize("text, why", [
    ('{"name": "get_weather", "parameters": {"city": "Ro', 'the answer ended within it: {"city": "Ro'),
    ('{"name": "get_weather", "parameters": {"city": x}} and so on', 'what follows is not the form of one: {"city": '),
])
def test_calls_without_an_end_are_said_and_do_not_count(tools, text, why):
    done = run(model(text), "--tools", tools, "-p", "Weather?")
    assert done.returncode == 0 and b'"id"' not in done.stdout
    assert done.stderr.decode() == f"puna run: warning: a call of get_weather does not count, {why}\n"


def test_the_model_is_told_the_tools(tools):
    stats = [run(model(SAID), *args, "-p", "Weather?", "--stats").stderr for args in ((), ("--tools", tools))]
    plain, told = (int(re.search(rb"prompt +(\d+) tokens", text).group(1)) for text in stats)
    assert told > plain + 200


@pytest.mark.parametrize("text, why", [
    ("", "no JSON: "),
    ("[1", "no JSON: "),
    ('[{"type": "function", "type": "function"}]', "no JSON: line 1, column 28: duplicate object key"),
    ("7", "no JSON: "),
    (json.dumps([tool("f", parameters={"maximum": 2**63})]), "no JSON: line 1, column 119: an integer is not within -9223372036854775808 to 9223372036854775807"),
    ('{"tools": 7}', "0 tools, expected an array of 1 to 128"),
    ("{}", "0 tools, expected an array of 1 to 128"),
    ("[]", "0 tools, expected an array of 1 to 128"),
    ('{"functions": []}', "the object has the unknown key 'functions'"),
    (json.dumps([tool("f" + str(i)) for i in range(129)]), "129 tools, expected an array of 1 to 128"),
    (json.dumps([TOOLS[0], 7]), 'tool 2 is not {"type": "function", "function": {"name": TEXT, '),
    (json.dumps([{"function": {"name": "f"}}]), 'tool 1 is not {"type": "function", '),
    (json.dumps([{"type": "custom", "function": {"name": "f"}}]), 'tool 1 is not {"type": "function", '),
    (json.dumps([{"type": "function", "name": "f"}]), 'tool 1 is not {"type": "function", '),
    (json.dumps([{**tool("f"), "more": 1}]), "tool 1 has the unknown key 'more'"),
    (json.dumps([tool("f", returns=1)]), "tool 1 has the unknown key 'returns'"),
    (json.dumps([{"type": "function", "function": {}}]), "tool 1 has no name"),
    (json.dumps([tool("")]), "the name of tool 1 is '', expected 1 to 64 of the characters"),
    (json.dumps([tool("a b")]), "the name of tool 1 is 'a b', expected 1 to 64 of the characters"),
    (json.dumps([tool("f" * 65)]), "the name of tool 1 is 'fff"),
    (json.dumps([tool("f"), tool("g"), tool("f")]), "tool 3 has the name of tool 1, 'f'"),
    (json.dumps([tool("f", parameters=[])]), "parameters of tool 1 are no object"),
    (json.dumps([tool("f", parameters={"type": "string"})]), "the type of the parameters of tool 1 is 'string', expected 'object'"),
    (json.dumps([tool("f") | {"function": {"name": "f", "description": 1}}]), "description of tool 1 is no text"),
    (json.dumps([tool("f", strict=True)]), "strict of tool 1 is not false"),
])
def test_what_is_wrong_with_the_tools_is_named(tmp_path, text, why):
    (tmp_path / "bad.json").write_text(text)
    done = run(model(SAID), "--tools", tmp_path / "bad.json", "-p", "Weather?")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"puna run: option --tools: {tmp_path}/bad.json: {why}") and done.stderr.count(b"\n") == 1


def test_tools_may_be_those_of_an_object(tmp_path):
    (tmp_path / "tools.json").write_text(json.dumps({"tools": [tool("f" * 64), *TOOLS]}))
    done = run(model(ROME), "--tools", tmp_path / "tools.json", "-p", "Weather?")
    assert json.loads(done.stdout)["name"] == "get_weather"


@pytest.mark.parametrize("args, code, text", [
    (["--tools", "no/such.json"], 3, "option --tools: no/such.json: No such file or directory"),
    (["--tools", "/"], 4, "option --tools: /: Is a directory"),
    (["--tools", "/dev/zero"], 2, "option --tools: /dev/zero: more than 4194304 bytes"),
    (["--tool-command", "true"], 2, "--tool-command is for a chat in the terminal"),
    (["--tool-timeout", "5"], 2, "--tool-timeout needs --tool-command"),
    (["--tool-timeout", "0"], 2, "--tool-timeout"),
])
def test_what_is_wrong_with_the_options_is_named(args, code, text):
    done = run(model(SAID), *args, "-p", "Weather?")
    assert (done.returncode, done.stdout, text in done.stderr.decode()) == (code, b"", True), done.stderr


@pytest.mark.parametrize("command, code, text", [
    ("no-such-program", 3, "option --tool-command: no program 'no-such-program' in the folders of PATH"),
    ("./no-such-program", 3, "option --tool-command: no program './no-such-program'"),
    ("/etc/passwd", 2, "option --tool-command: '/etc/passwd' is not an executable file"),
    ("/tmp", 2, "option --tool-command: '/tmp' is not an executable file"),
])
def test_a_command_that_is_not_there_is_said_at_the_start(command, code, text):
    terminal, other = os.openpty()
    done = subprocess.run([PUNA, "run", "--tool-command", command, model(SAID)], stdin=other, capture_output=True, timeout=60)
    os.close(terminal)
    os.close(other)
    assert (done.returncode, done.stderr.decode()) == (code, f"puna run: {text}\n")


# --- a chat: the user answers

TWO = f"Let me look. {ROME}; {UTC}"


def test_the_user_answers_and_the_chat_goes_on_and_is_kept(chat, tmp_path):
    c = chat(model({1: TWO, 4: SAID}))
    assert re.search(r'Let me look\. \r\nget_weather\(\{"city": "Rome"\}\)\r\n', say(c, "Weather?", ANSWER))
    c.send('"""12 °C\r')
    c.wait_for_prompt(r"\. $")
    assert 'get_time({"zone": "UTC"})\r\n' in say(c, '/and sunny"""', ANSWER)
    assert SAID in say(c, "noon")
    kept = saved(c, tmp_path)
    ids = [call["id"] for call in kept["messages"][1]["tool_calls"]]
    assert kept == {"tools": TOOLS, "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Let me look. ", "tool_calls": [
            {"id": ids[0], "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}},
            {"id": ids[1], "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'}}]},
        {"role": "tool", "content": "12 °C\n/and sunny", "tool_call_id": ids[0]},
        {"role": "tool", "content": "noon", "tool_call_id": ids[1]},
        {"role": "assistant", "content": SAID}]}
    history = (tmp_path / "state/puna/history").read_text()
    assert "Weather?" in history and "sunny" not in history and "noon" not in history


def test_a_chat_keeps_the_text_of_its_calls(chat, tmp_path):
    c = chat(model({1: f"{ODD};\n{ROME}", 4: SAID}))
    say(c, "Weather?", ANSWER)
    say(c, "noon", ANSWER)
    say(c, "12")
    calls = saved(c, tmp_path)["messages"][1]["tool_calls"]
    assert "".join(call["function"]["arguments"].join(text_of(call)) for call in calls) == f"{ODD};\n{ROME}"


def test_a_saved_chat_goes_on_with_its_calls_and_tools(chat, tmp_path):
    first = chat(model({1: ROME, 3: SAID}))
    say(first, "Weather?", ANSWER)
    say(first, "12 °C")
    kept = saved(first, tmp_path)
    c = chat(model({1: SAID, 5: UTC, 7: "Noon."}), offered=False)
    text = say(c, f"/load {tmp_path}/saved.json")
    assert "Loaded 4 messages" in text and "It has tools (2)." in text
    assert saved(c, tmp_path) == kept
    assert kept["messages"][1]["content"] is None
    say(c, "Thanks. And the time?", ANSWER)
    assert "Noon." in say(c, "12:00")
    say(c, "/clear")
    assert saved(c, tmp_path) == {"messages": [], "tools": TOOLS}
    say(c, "/system Be brief.")
    assert saved(c, tmp_path)["tools"] == TOOLS
    (tmp_path / "one.json").write_text(json.dumps({"messages": [], "tools": TOOLS[:1]}))
    assert "Its tools (1) take the place of those before (2)." in say(c, f"/load {tmp_path}/one.json")
    (tmp_path / "plain.json").write_text('{"messages": []}')
    assert "It has no tools; those before are gone." in say(c, f"/load {tmp_path}/plain.json")
    assert saved(c, tmp_path) == {"messages": []}


def test_a_chat_with_tools_that_are_none_is_not_loaded(chat, tmp_path):
    c = chat(model({1: SAID}))
    (tmp_path / "bad.json").write_text(json.dumps({"messages": [], "tools": [tool("a b")]}))
    assert f"{tmp_path}/bad.json: the name of tool 1 is 'a b'" in say(c, f"/load {tmp_path}/bad.json")
    assert saved(c, tmp_path) == {"messages": [], "tools": TOOLS}


@pytest.mark.parametrize("keys", ["\r", "\x03", "\x04"], ids=["empty", "interrupt", "end"])
def test_a_call_that_is_left_takes_the_message_back(chat, tmp_path, keys):
    c = chat(model({1: SAID, 3: TWO}))
    say(c, "Hi")
    say(c, "Weather?", ANSWER)
    say(c, "12", ANSWER)
    c.send(keys)
    assert "(not answered; the chat is as before your message)" in c.wait_for_prompt(CHAT)
    assert [m["content"] for m in saved(c, tmp_path)["messages"]] == ["Hi", SAID]
    c.type("half")
    c.interrupt()
    assert "leaves" in c.interrupt()  # one Ctrl-C leaves nothing


def test_ctrl_c_drops_half_an_answer(chat, tmp_path):
    c = chat(model({1: ROME, 3: SAID}))
    say(c, "Weather?", ANSWER)
    c.type("half")
    c.send("\x03")
    c.wait_for_prompt(ANSWER)
    say(c, "12")
    assert [m["content"] for m in saved(c, tmp_path)["messages"]] == ["Weather?", None, "12", SAID]


def test_a_call_cannot_drive_the_terminal(chat):
    c = chat(model({1: '{"name": "get_weather",\n"parameters": {"city":\n"\u009b2J\u202eR\\u001b"}}', 3: SAID}))
    assert 'get_weather({"city": "\\u009b2J\\u202eR\\u001b"})\r\n' in say(c, "Weather?", ANSWER)


def test_an_answer_of_nothing_but_half_a_call_can_be_saved(chat, tmp_path):
    c = chat(model({1: '{"name": "get_weather", "parameters": {"city": "Ro'}))
    assert "warning: a call of get_weather does not count" in say(c, "Weather?")
    kept = saved(c, tmp_path)
    assert [m["content"] for m in kept["messages"]] == ["Weather?", ""]
    assert "Loaded 2 messages" in say(c, f"/load {tmp_path}/saved.json")


def test_calls_of_an_answer_that_was_stopped_are_not_asked_for(chat, tmp_path):
    c = chat(model({1: f"Well. {ROME} and so on"}, context=8192), "--ignore-eos")  # and then the same token for ever
    c.send("Weather?\r")
    c.wait_for("and so on")
    c.send("\x03")
    assert "(stopped)" in c.wait_for_prompt(CHAT)
    said = saved(c, tmp_path)["messages"][1]
    assert "tool_calls" not in said and said["content"].startswith("Well.  and so on")


def test_a_context_without_room_for_the_answers_takes_the_message_back(chat, tmp_path):
    c = chat(model({1: ROME}, context=1400))
    say(c, "Weather?", ANSWER)
    text = say(c, "word " * 400)
    assert re.search(r"the prompt has \d+ tokens, the context holds 1400 .*; the chat is as before your message, /clear", text)
    assert saved(c, tmp_path)["messages"] == []


def test_a_template_that_leaves_out_what_tools_answer(chat, tmp_path):
    template = ("{% for m in messages if m.role != 'tool' %}{{ m.content }}{% if m.tool_calls %}{% for call in m.tool_calls %}{{ call.function.name }}"
                "{{ call.function.arguments | tojson }}{% endfor %}{% endif %}{% endfor %}{{ tools | tojson if tools else '' }}<|script_1|>")
    c = chat(model({1: ROME, 9: SAID}, template=template))
    text = say(c, "Weather?")
    assert "the model's chat template leaves out what tools answer; the chat is as before your message" in text


# --- a chat: a program answers

def test_a_program_answers_with_consent(chat, tmp_path):
    path = program(tmp_path, f'cat > {tmp_path}/input; echo "$#" "$0" "$1" >> {tmp_path}/calls; echo 12 °C; echo')
    c = chat(model({1: ROME, 3: SAID}), "--tool-command", path)
    text = say(c, "Weather?", CONSENT)
    assert f'get_weather({{"city": "Rome"}})\r\nrun {path} get_weather?\r\n' in text
    assert not (tmp_path / "calls").exists()
    text = say(c, "y")
    assert "= 12 °C\\n\r\n" in text and SAID in text
    assert (tmp_path / "calls").read_text() == f"1 {path} get_weather\n"
    assert (tmp_path / "input").read_text() == '{"city": "Rome"}'
    assert saved(c, tmp_path)["messages"][2]["content"] == "12 °C\n"


def test_a_program_ends_also_where_the_ends_of_children_are_ignored(chat, tmp_path):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the chat inherits it
    try:
        c = chat(model({1: ROME, 3: SAID}), "--tool-command", program(tmp_path, "echo 21 degrees; exit 3"))
    finally:
        signal.signal(signal.SIGCHLD, before)
    say(c, "Weather?", CONSENT)
    assert "ended with code 3" in say(c, "y")


def test_without_consent_nothing_runs(chat, tmp_path):
    path = program(tmp_path, f"echo ran >> {tmp_path}/calls")
    c = chat(model({1: ROME, 3: SAID}), "--tool-command", path)
    for leave in ("\x03", "\x04"):
        say(c, "Weather?", CONSENT)
        c.send(leave)
        assert "(not answered; the chat is as before your message)" in c.wait_for_prompt(CHAT)
    say(c, "Weather?", CONSENT)
    for unclear in ("", "maybe", "Y", "yy", " y"):
        say(c, unclear, CONSENT)
    say(c, "n", ANSWER)
    assert SAID in say(c, "by me")
    assert saved(c, tmp_path)["messages"][2]["content"] == "by me"
    assert not (tmp_path / "calls").exists()


def test_what_was_typed_before_the_question_is_no_consent(chat, tmp_path):
    path = program(tmp_path, f"echo ran >> {tmp_path}/calls")
    c = chat(model({1: "Well, " * 1000 + ROME, 3: SAID}, twins=True), "--tool-command", path)
    c.send("Weather?\r")
    c.wait_for("Well, ")
    c.send("y\r")
    c.wait_for_prompt(CONSENT)
    assert not (tmp_path / "calls").exists()
    say(c, "no", ANSWER)


def test_always_is_for_one_tool_and_this_list_of_tools(chat, tmp_path):
    path = program(tmp_path, f'echo "$1" >> {tmp_path}/calls')
    c = chat(model({1: TWO, 4: SAID, 6: TWO, 9: SAID}), "--tool-command", path)
    calls = tmp_path / "calls"
    say(c, "Weather?", CONSENT)
    assert "get_time?" in say(c, "a", CONSENT)
    say(c, "yes")
    assert calls.read_text() == "get_weather\nget_time\n"
    say(c, "Again?", r"get_time\?\r\n.*" + CONSENT)
    assert calls.read_text() == "get_weather\nget_time\nget_weather\n"
    say(c, "y")
    (tmp_path / "other.json").write_text(json.dumps({"messages": [], "tools": TOOLS[:1]}))
    say(c, f"/load {tmp_path}/other.json")
    say(c, "Weather?", r"get_weather\?\r\n.*" + CONSENT)
    c.send("\x03")
    c.wait_for_prompt(CHAT)


FAILURES = {
    "exit 1": ("echo sorry; exit 1", "ended with code 1\nsorry"),
    "silent exit": ("exit 3", "ended with code 3"),
    "signal": ("kill -SEGV $$", "was ended by signal 11"),
    "not UTF-8": (r"printf 'a\377b'", "wrote what is not UTF-8"),
    "endless output": ("exec yes", "was ended, it wrote more than 1048576 bytes"),
    "endless time": ("sleep 600", "was ended after 1 seconds"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_model_and_the_user_are_told_what_went_wrong(chat, tmp_path, name):
    script, why = FAILURES[name]
    path = program(tmp_path, script)
    c = chat(model({1: ROME, 3: SAID}), "--tool-command", path, "--tool-timeout", 1 if "time" in name else 60)
    say(c, "Weather?", CONSENT)
    text = say(c, "y")
    told = f"error: {path} {why}"
    assert "= " + told.replace("\n", "\\n") + "\r\n" in text and SAID in text
    assert saved(c, tmp_path)["messages"][2]["content"] == told


def test_a_program_that_is_gone_or_is_none(chat, tmp_path):
    path = program(tmp_path, "echo never")
    c = chat(model({1: ROME, 3: SAID, 5: ROME, 7: SAID}), "--tool-command", path)
    path.unlink()
    say(c, "Weather?", CONSENT)
    say(c, "y")
    path.write_text("neither a script nor a program")
    path.chmod(0o755)
    say(c, "Weather?", CONSENT)
    say(c, "y")
    told = [m["content"] for m in saved(c, tmp_path)["messages"] if m["role"] == "tool"]
    assert told == [f"error: {path} could not be started: {why}" for why in ("No such file or directory", "Exec format error")]


def test_ctrl_c_ends_the_program_and_the_user_decides(chat, tmp_path):
    path = program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child.part; mv {tmp_path}/child.part {tmp_path}/child; wait")
    c = chat(model({1: ROME, 3: SAID}), "--tool-command", path)
    for answered in (True, False):
        say(c, "Weather?", CONSENT)
        c.send("y\r")
        limit = time.monotonic() + 60
        while not (tmp_path / "child").exists() and time.monotonic() < limit:
            c.pump(0.05)
        child = (tmp_path / "child").read_text().strip()
        (tmp_path / "child").unlink()
        c.send("\x03")
        assert "(stopped; answer yourself" in c.wait_for_prompt(ANSWER)
        while time.monotonic() < limit and pathlib.Path(f"/proc/{child}").exists() and \
                pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert time.monotonic() < limit
        if not answered:
            assert "(not answered; " in say(c, "")
        else:
            assert SAID in say(c, "it was slow")
            say(c, "/clear")
    assert saved(c, tmp_path)["messages"] == []


def test_after_many_rounds_alone_the_user_is_asked(chat, tmp_path):
    path = program(tmp_path, f'echo x >> {tmp_path}/calls; echo ok')
    c = chat(model({n: ROME for n in range(1, 80, 2)}), "--tool-command", path)
    count = lambda: len((tmp_path / "calls").read_text().split())
    say(c, "Weather?", CONSENT)
    text = say(c, "a", CONSENT)
    assert "(16 rounds of calls without you: you are asked again)" in text and count() == 17
    assert "without you" not in say(c, "y", CONSENT) and count() == 18
    assert "(16 rounds" in say(c, "always", CONSENT) and count() == 35
    c.send("\x03")
    c.wait_for_prompt(CHAT)
    assert saved(c, tmp_path)["messages"] == []
