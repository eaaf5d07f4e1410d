#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/schema: JSON schemas, good and bent (see fuzz_schema.c)."""
import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/schema"
SCHEMAS = {
    "any": {},
    "never": False,
    "tool": {"type": "object", "properties": {"location": {"type": "string", "minLength": 1}, "unit": {"enum": ["c", "f"]},
                                              "days": {"type": "integer", "minimum": 1, "maximum": 7}},
             "required": ["location"], "additionalProperties": False},
    "open": {"type": "object", "properties": {"a": {"type": "null"}}, "patternProperties": {"^x": {"type": "boolean"}},
             "additionalProperties": {"type": "number"}, "propertyNames": {"maxLength": 3}},
    "counted": {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 1, "maxProperties": 2},
    "dependent": {"type": "object", "dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {"required": ["d"]}},
                  "dependencies": {"e": ["f"], "g": {"maxProperties": 3}}},
    "tree": {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"value": {"$ref": "#v"}, "next": {
        "anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}, "required": ["value", "next"]}, "v": {"$anchor": "v", "type": "integer"}}},
    "itself": {"$ref": "#"},
    "endless": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    "one-of": {"oneOf": [{"properties": {"k": {"const": "a"}}, "required": ["k"]}, {"properties": {"k": {"const": "b"}}, "required": ["k"]}]},
    "overlap": {"oneOf": [{"type": "integer"}, {"minimum": 2}]},
    "if": {"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]}, "else": {"maxProperties": 1}},
    "not": {"not": {"enum": [1, "a", None, True, 2.5]}},
    "numbers": {"type": "number", "exclusiveMinimum": -2.5, "maximum": 100, "multipleOf": 0.25},
    "large": {"type": "integer", "minimum": 1e19},
    "strings": {"type": "string", "pattern": "^[a-z]+\\d?$", "minLength": 2, "maxLength": 5},
    "array": {"type": "array", "prefixItems": [{"type": "string"}, {"const": 1}], "items": {"type": "null"}, "minItems": 1, "maxItems": 4},
    "draft-7": {"definitions": {"a": {"type": "string"}}, "items": [{"$ref": "#/definitions/a"}], "additionalItems": False},
    "contains": {"type": "array", "items": {"enum": [1, 2, 3]}, "contains": {"const": 2}, "minContains": 1, "maxContains": 2},
    "unique": {"type": "array", "items": {"enum": ["a", 1, None]}, "uniqueItems": True},
    "literals": {"enum": [{"a": [1, {}], "b\"\n": "\u0001é"}, [[], ""], 1.0, 1e300, -0.5]},
    "all-of": {"allOf": [{"type": ["string", "object"]}, {"required": ["a"]}, {"minLength": 1}]},
    "unknown": {"properties": {"a": {"minimun": 1}}},
    "unevaluated": {"unevaluatedProperties": False},
    "foreign": {"x-a": 1, "nullable": True, "properties": {"a/b~c": {"x-a": 1, "é" * 70: 1}}, "items": {"x-a": 1, "format": "url"},
                **{f"name {i}": i for i in range(20)}},
    "documents": {"properties": {"a": {"$id": "http://a.example/", "items": {"type": "null"}}, "b": {"id": "b", "items": {"$ref": "#"}}}},
    "draft-3": {"items": {"extends": {"type": "null"}, "divisibleBy": 2}},
}
SCHEMAS.update({name: {"type": "string", "format": name} for name in
                ["date", "time", "date-time", "duration", "uuid", "email", "hostname", "ipv4", "ipv6", "uri", "color", "datetime", "regex"]})


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, schema in SCHEMAS.items():
        (OUT / f"{name}.json").write_text(json.dumps(schema, ensure_ascii=False))


if __name__ == "__main__":
    main()
