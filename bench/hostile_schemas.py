#!/usr/bin/env python3
"""How long `puna serve` takes over schemas that are made to be slow: `bench/hostile_schemas.py MODEL.gguf`.

Where size is what hurts they are as large as --max-schema-values lets them be; the first four are larger. Rows for the
table in docs/STRUCTURED.md: the median of the rounds from the request's first byte to the answer's last, and what it says.
An answer is of one token."""
import argparse
import json
import pathlib
import statistics
import time
import urllib.error
import urllib.request

from serve_peers import ROOT, Server

N = 65400  # values that are read
INTEGER = {"type": "integer"}


def of_patterns(*patterns):
    return {"type": "object", "patternProperties": {p: INTEGER for p in patterns}}


def nested(n):
    return {"anyOf": [nested(n - 1), INTEGER]} if n else INTEGER


def chain(n):
    return {f"d{i}": {"type": "object", "properties": {"x": {"$ref": f"#/$defs/d{(7 * i + 1) % n}"}}} for i in range(n)}


def strict_tool(name, n):
    names = [f"p{i}" for i in range(n)]
    return {"type": "function", "function": {"name": name, "strict": True, "parameters": {
        "type": "object", "additionalProperties": False, "required": names, "properties": dict.fromkeys(names, INTEGER)}}}


SCHEMAS = {
    "`enum` of 1,000,000 integers": {"enum": list(range(1000000))},
    "`enum` of 500,000": {"enum": list(range(500000))},
    "`enum` of 250,000": {"enum": list(range(250000))},
    "`enum` of 1,000,000, as a text": json.dumps({"enum": list(range(1000000))}),
    f"`enum` of {N:,}": {"enum": list(range(N))},
    f"`enum` of {N:,} strings": {"enum": [f"value {i}" for i in range(N)]},
    f"`anyOf` of {N // 2:,} constants": {"anyOf": [{"const": i} for i in range(N // 2)]},
    f"`anyOf` of {N // 7:,} objects": {"anyOf": [
        {"type": "object", "properties": {f"a{i}": {"type": "string"}}, "required": [f"a{i}"]} for i in range(N // 7)]},
    f"`oneOf` of {N // 8:,} objects": {"oneOf": [
        {"type": "object", "properties": {"k": {"const": i}}, "required": ["k"]} for i in range(N // 8)]},
    f"`allOf` of {N // 5:,} objects": {"allOf": [{"type": "object", "properties": {f"p{i}": INTEGER}} for i in range(N // 5)]},
    f"{N // 2:,} properties": {"type": "object", "properties": {f"p{i}": INTEGER for i in range(N // 2)}},
    f"{N:,} names in `required`": {"type": "object", "required": [f"p{i}" for i in range(N)]},
    "9,000 schemas that refer to each other": {"$defs": chain(9000), "$ref": "#/$defs/d0"},
    "`anyOf` within `anyOf`, 30 deep": nested(30),
    "`anyOf` of a pair of `$ref` 60 times: 2^60 ways": {
        "$defs": {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(60)} | {"d60": INTEGER},
        "$ref": "#/$defs/d0"},
    "`allOf` of 30 `anyOf` of 4: 4^30 ways": {"allOf": [
        {"anyOf": [{"type": "object", "properties": {f"a{i}": {"const": j}}} for j in range(4)]} for i in range(30)]},
    "a schema that is itself": {"$ref": "#"},
    "`pattern` `^(a+)+$`": {"type": "string", "pattern": "^(a+)+$"},
    "`pattern` `.*a.{30}`": {"type": "string", "pattern": ".*a.{30}"},
    "`pattern` `(a|b|c){1,1000}.*(x|y){1,1000}`": {"type": "string", "pattern": "(a|b|c){1,1000}.*(x|y){1,1000}"},
    "`pattern` `(((a{1,99}){1,99}){1,99}){1,99}`": {"type": "string", "pattern": "(((a{1,99}){1,99}){1,99}){1,99}"},
    "`patternProperties` of `^.*a{1}.*$` to `^.*a{59}.*$`": of_patterns(*[f"^.*a{{{i}}}.*$" for i in range(1, 60)]),
    "`minLength` and `maxLength` about 10^9": {"type": "string", "minLength": 10**9 - 1, "maxLength": 10**9},
    "arrays of 100,000 to 200,000 strings": {"type": "array", "minItems": 100000, "maxItems": 200000,
                                             "items": {"type": "string", "maxLength": 5000}},
    "128 strict tools of 100 integers": [strict_tool(f"f{i}", 100) for i in range(128)],
}


def request(server, schema):
    """Milliseconds and the error, or ""."""
    document = {"model": server.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    document |= ({"tools": schema, "tool_choice": "required"} if isinstance(schema, list) else
                 {"guided_json": schema} if isinstance(schema, str) else
                 {"response_format": {"type": "json_schema", "json_schema": {"name": "hostile", "schema": schema}}})
    body = json.dumps(document).encode()
    ask = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/chat/completions", body,
                                 {"Content-Type": "application/json"})
    error, begin = "", time.monotonic()
    try:
        urllib.request.urlopen(ask, timeout=60).read()
    except urllib.error.HTTPError as e:
        error = json.load(e)["error"]["message"].removeprefix("response_format.json_schema.schema: ")
    return 1000 * (time.monotonic() - begin), error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("model", type=pathlib.Path)
    args = parser.parse_args()
    with Server([ROOT / "build/release/puna", "serve", args.model]) as server:
        print("| schema | ms | answer |\n| --- | --: | --- |")
        for name, schema in SCHEMAS.items():
            taken, errors = zip(*[request(server, schema) for _ in range(args.rounds)])
            why = min(errors)[:90].replace("|", "\\|")
            print(f"| {name.replace('|', chr(92) + '|')} | {statistics.median(taken):.0f} | {why or 'taken'} |", flush=True)


if __name__ == "__main__":
    main()
