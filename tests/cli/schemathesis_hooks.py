"""What the schema of the API cannot say about a request: the names of this server's models, the size of
its vocabulary, and what parameters have to do with each other. Without this most requests that the schema
allows would be refused, and nothing behind the refusal tested. What the schema forbids stays forbidden."""
import re

import schemathesis

N_VOCAB, N_EMBD = 512, 256  # of the model tiny
MOST_TOKENS = 4
# Objects of any content and no effect: a NUL byte in a key, or an integer of more than 64 bits, would make
# the whole body unreadable.
OPEN = ("prompt_cache_breakpoint", "prompt_cache_options", "parameters")


def is_number(value, least, most):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def is_integer(value):
    """Of JSON, where 1.0 is one too; as large as lengths and ids may be."""
    return is_number(value, 0, 2**31 - 1) and value % 1 == 0


def is_bias(bias):
    return isinstance(bias, dict) and all(k.isascii() and k.isdigit() and str(int(k)) == k and len(k) < 10 for k in bias)


def with_known_tokens(value):
    if isinstance(value, list):
        return [with_known_tokens(v) for v in value]
    return value % N_VOCAB if is_integer(value) else value


def with_open_objects_empty(value):
    if isinstance(value, list):
        return [with_open_objects_empty(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: {} if k in OPEN and isinstance(v, dict) else with_open_objects_empty(v) for k, v in value.items()}


def is_call(call):
    return isinstance(call, dict) and isinstance(call.get("function"), dict) and isinstance(call["function"].get("arguments"), str)


def with_answers_to_calls(messages):
    """Arguments that are JSON, calls with ids of their own, and behind them an answer to each; no others."""
    out = []
    for m in messages:
        if not isinstance(m, dict):
            out.append(m)
            continue
        if m.get("role") == "tool" and isinstance(m.get("tool_call_id"), str) and 0 < len(m["tool_call_id"]) <= 4126:
            m = {"role": "user"} | {k: v for k, v in m.items() if k not in ("role", "tool_call_id")}
        elif m.get("role") == "function" and isinstance(m.get("name"), str) and 0 < len(m["name"]) <= 256:
            m = m | {"role": "user"}
        calls = m["tool_calls"] if isinstance(m.get("tool_calls"), list) else []
        if m.get("function_call") is not None and calls:
            m = {k: v for k, v in m.items() if k != "tool_calls"}
            calls = []
        for i, call in enumerate(calls):
            if is_call(call):
                call.pop("index", None)
                call["function"]["arguments"] = "{}"
                call["id"] = f"c{i}" if isinstance(call.get("id"), str) and 0 < len(call["id"]) <= 4126 else call.get("id")
        if is_call({"function": m.get("function_call")}):
            m["function_call"]["arguments"] = "{}"
        out.append(m)
        out += [{"role": "tool", "tool_call_id": f"c{i}", "content": "a"} for i in range(len(calls))]
    return out


def with_names_of_their_own(body):
    for i, tool in enumerate(body["tools"] if isinstance(body.get("tools"), list) else []):
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict) and is_name(tool["function"].get("name")):
            tool["function"]["name"] = f"f{i}"
    for i, function in enumerate(body["functions"] if isinstance(body.get("functions"), list) else []):
        if isinstance(function, dict) and is_name(function.get("name")):
            function["name"] = f"f{i}"


def is_name(name):
    return isinstance(name, str) and re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) is not None


def with_something_to_choose_among(body):
    if body.get("tools") and body.get("functions") and isinstance(body["functions"], list):
        body["functions"] = []
    for name, of, values in (("tool_choice", "tools", ("none", "auto", "required")), ("parallel_tool_calls", "tools", (True, False)),
                             ("function_call", "functions", ("none", "auto"))):
        named = body[name].get("function", body[name]) if isinstance(body.get(name), dict) else None
        several = allowed_by(body[name]) if named is not None else []
        if isinstance(named, dict) and is_name(named.get("name")) and body.get(of):
            named["name"] = "f0"
        elif several and body.get(of):
            for function in several:
                function["name"] = "f0"
        elif not body.get(of) and (body.get(name) in values if named is None else several or is_named(body[name])):
            del body[name]


def is_named(choice):
    """A choice of a function that the schema allows."""
    name = choice["function"].get("name") if choice.get("type") == "function" and isinstance(choice.get("function"), dict) else choice.get("name")
    return is_name(name) and len(choice) == (2 if "type" in choice else 1)


def allowed_by(choice):
    """The functions of a choice of some tools that the schema allows."""
    some = choice.get("allowed_tools")
    if choice.keys() != {"type", "allowed_tools"} or not isinstance(some, dict) or some.keys() != {"mode", "tools"} or not isinstance(some["tools"], list):
        return []
    good = (choice["type"] == "allowed_tools" and some["mode"] in ("auto", "required") and len(some["tools"]) <= 128 and
            all(isinstance(t, dict) and t.get("type") == "function" and isinstance(t.get("function"), dict) and len(t) == 2 and is_named(t)
                and len(t["function"]) == 1 for t in some["tools"]))
    return [t["function"] for t in some["tools"]] if good else []


# What stands for a value of a type that the schema allows; other values stay what they are.
FORMATS = {"json_schema": {}, "guided_json": {}, "guided_regex": "a*", "guided_grammar": "root ::= [a-z]*", "grammar": "root ::= [a-z]*",
           "json": {}, "regex": "a*"}


def with_formats_that_can_be(value):
    """Schemas, patterns and grammars that are some; what a name may be is known by its value's type alone."""
    for name, good in FORMATS.items():
        if isinstance(value.get(name), (str, bool, dict) if good == {} else str):
            value[name] = good


def with_one_format(body):
    """As an answer has one; and what goes with none of them is left out."""
    format = body.get("response_format") if isinstance(body.get("response_format"), dict) else {}
    if isinstance(format.get("json_schema"), dict) and isinstance(format["json_schema"].get("schema"), (dict, bool)):
        format["json_schema"]["schema"] = {}
    n = format.get("type") in ("json_object", "json_schema")
    for holder in (body, body.get("structured_outputs")):
        if not isinstance(holder, dict):
            continue
        with_formats_that_can_be(holder)
        for name in (*FORMATS, "guided_choice", "choice", "json_object"):
            if is_format(name, holder.get(name)):
                holder[name] = holder[name] if n == 0 else None
                n += 1
    is_demanded = body.get("tool_choice") not in (None, "none", "auto") or body.get("function_call") not in (None, "none", "auto")
    if (n > 0 or is_demanded) and body.get("ignore_eos") is True:
        body["ignore_eos"] = False


def is_format(name, value):
    """One that the schema allows, so that leaving it out hides no mistake."""
    if name.endswith("choice"):
        return isinstance(value, list) and 0 < len(value) <= 10000 and all(isinstance(v, str) for v in value)
    return value is True if name == "json_object" else value == FORMATS.get(name) and value is not None


def with_page_that_can_be(query):
    """Buckets of a usage query: a beginning before its end, as many as every width has, and its first page."""
    start, end, limit = (int(v) if v.isascii() and v.isdigit() else -1 for v in
                         (str(query.get(name)) for name in ("start_time", "end_time", "limit")))
    if 1 <= end <= start < 10**12:
        query["start_time"] = type(query["start_time"])(0)
    if 31 < limit <= 1440:
        query["limit"] = type(query["limit"])(31)
    page = str(query.get("page"))
    if page.startswith("page_") and page[5:].isascii() and page[5:].isdigit():
        del query["page"]


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict):
        with_page_that_can_be(case.query)
    if not isinstance(case.body, dict):
        return
    body = with_open_objects_empty(case.body)
    if isinstance(body.get("model"), str) and 0 < len(body["model"]) <= 256:
        body["model"] = "tiny"
    for name, most in (("max_tokens", MOST_TOKENS), ("max_completion_tokens", MOST_TOKENS), ("min_tokens", 1)):
        if is_integer(body.get(name)):
            body[name] = min(body[name], most)
    if is_integer(body.get("dimensions")) and body["dimensions"] > 0:
        body["dimensions"] = N_EMBD
    for name in ("tokens", "content", "stop_token_ids", "prompt", "input"):
        if isinstance(body.get(name), list):
            body[name] = with_known_tokens(body[name])
    if is_bias(body.get("logit_bias")):
        body["logit_bias"] = {str(int(k) % N_VOCAB): v for k, v in body["logit_bias"].items()}
    if all(is_number(body.get(name), 0.01, 100) for name in ("repeat_penalty", "repetition_penalty")):
        body["repeat_penalty"] = body["repetition_penalty"]  # one has two names
    if is_number(body.get("best_of"), 1, 16) and (body.get("n") is None or is_number(body["n"], 1, 16)):
        body["best_of"] = body.get("n") or 1  # at least n, and n in a stream
    if isinstance(body.get("messages"), list):
        body["messages"] = with_answers_to_calls(body["messages"])
    with_names_of_their_own(body)
    with_something_to_choose_among(body)
    with_one_format(body)
    if body.get("strict") is True:
        body["strict"] = None  # refuses what the schema allows and what has no effect
    case.body = body
