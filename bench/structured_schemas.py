"""What structured_peers.py knows of JSON schemas: their parts, ways to order the members of a value, and whether a text is
valid by the Python package jsonschema."""
import decimal
import json
import re
import signal

# Keywords that allow less, and that llama.cpp's converter reads nowhere.
LEFT_OUT = {"not", "if", "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependencies", "dependentRequired",
            "dependentSchemas", "unevaluatedProperties", "multipleOf", "uniqueItems", "contains", "additionalItems", "unevaluatedItems"}
# Keywords whose value is a schema, or schemas in an array or by name.
OF_SCHEMAS = {"items", "prefixItems", "additionalProperties", "anyOf", "allOf", "oneOf", *LEFT_OUT}
BY_NAME = {"properties", "patternProperties", "dependentSchemas", "dependencies", "definitions", "$defs"}
JUDGE_S = 5
SPACES = r"\s\xa0\ufeff\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # beside those of ASCII: \s of ECMA-262
OUTSIDE = {r"\s": f"[{SPACES}]", r"\S": f"[^{SPACES}]", ".": r"[^\n\r\u2028\u2029]", "$": r"\Z", "(?<": "(?P<"}


def schemas_in(schema):
    """A schema and all below it."""
    if isinstance(schema, list):
        for item in schema:
            yield from schemas_in(item)
    elif isinstance(schema, dict):
        yield schema
        for keyword, value in schema.items():
            if keyword in BY_NAME and isinstance(value, dict):
                yield from schemas_in(list(value.values()))
            elif keyword in OF_SCHEMAS:
                yield from schemas_in(value)


def reordered(value, key):
    """With the members of all objects sorted, and 1 for 1.0."""
    if isinstance(value, dict):
        return {name: reordered(value[name], key) for name in sorted(value, key=key)}
    if isinstance(value, list):
        return [reordered(item, key) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def required_first(schema, value):
    """With the names first that are required anywhere in the schema: the order of llama.cpp's grammars."""
    names = set(required_names(schema))
    return reordered(value, lambda name: name not in names)


def required_names(schema):
    lists = [part.get("required") for part in schemas_in(schema)]
    return [name for required in lists if isinstance(required, list) for name in required]


def orders(schema, value):
    """The value, and guesses at the order of its members in Puna's grammar: that of the schema's properties, where a name
    that several of its parts have stands first or last, alone or behind those that the schema itself requires."""
    maps = [part.get("properties") for part in schemas_in(schema)]
    names = [name for properties in maps if isinstance(properties, dict) for name in properties]
    own = schema.get("required") if isinstance(schema, dict) else None
    own = own if isinstance(own, list) and "properties" not in schema else []
    yield value
    for found in (names, names[::-1]):
        place = {name: i if found is names else -i for i, name in reversed(list(enumerate(found)))}
        yield reordered(value, lambda name: place.get(name, len(names)))
        yield reordered(value, lambda name: (name not in own, place.get(name, len(names))))


def without(part, keyword):
    if isinstance(part, dict):
        return {k: without(v, keyword) for k, v in part.items() if k != keyword or not isinstance(v, str)}
    return [without(item, keyword) for item in part] if isinstance(part, list) else part


def pattern_as_python(pattern):
    """A pattern of ECMA-262 that means the same to Python."""
    made, in_class = "", False
    for part in re.findall(r"\\.|\(\?<(?![=!])|.", pattern, re.DOTALL):
        made += (SPACES if part == r"\s" else part) if in_class else OUTSIDE.get(part, part)
        in_class = part != "]" if in_class else part == "["
    return f"(?a:{made})"


def as_python(part):
    """A schema with its patterns so."""
    if isinstance(part, list):
        return [as_python(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: as_python(value) for key, value in part.items()}
    if isinstance(part.get("pattern"), str):
        made["pattern"] = pattern_as_python(part["pattern"])
    if isinstance(part.get("patternProperties"), dict):
        made["patternProperties"] = {pattern_as_python(key): value for key, value in made["patternProperties"].items()}
    return made


def judge(schema, text):
    """What jsonschema says of a text that was drawn from the grammar. Numbers are decimals: 9.2 is a multiple of 0.01."""
    import jsonschema

    def stop(*_):
        raise TimeoutError

    try:
        value = json.loads(text, parse_float=decimal.Decimal)
    except ValueError as e:
        return f"INVALID: no JSON: {e}"
    schema = json.loads(json.dumps(as_python(schema)), parse_float=decimal.Decimal)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft7Validator)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(JUDGE_S)
    try:
        fault = next(kind(schema, format_checker=kind.FORMAT_CHECKER).iter_errors(value), None)
    except Exception as e:  # whatever it raises for schemas, patterns and references that it cannot read
        return f"not judged by jsonschema: {e!r}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return "valid" if fault is None else f"INVALID: {fault.json_path}: {fault.message[:200]}"
