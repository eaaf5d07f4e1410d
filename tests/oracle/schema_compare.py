#!/usr/bin/env python3
"""Random JSON schemas against another implementation: what the validator says of random values; whether
the grammar has a text of exactly the valid ones; and whether texts written by taking any byte that the
grammar allows are JSON whose value is valid.

usage: schema_compare.py [SCHEMAS [SEED]]     with jsonschema_rs of build/venv, or --python: jsonschema"""
import collections
import itertools
import json
import random
import re
import sys

import schema_suite

PATTERNS = ["^a", "b$", "^[ab]+$", "a.b", "^(x|yy)*$", "[^a]", "^\\d{2,3}$", "\"", "é", "^.{2}$"]
NAMES = ["a", "b", "c", "ab", "x\"y"]
STRINGS = ["", "a", "b", "ab", "ba", "aab", "x", "yy", "é", "\"", "a\nb", "12", "123", "🦙a", "2024-02-29"]
NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 10, 12, 21, 99, 100, -1, -2, -7, 0.5, 1.5, 2.25, -0.5, 0.1, 0.25, 3.0, 1e3, 12345.678]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def schema(self, depth):
        r = self.r
        if depth <= 0 or r.random() < 0.35:
            return self.leaf()
        return r.choice([self.object, self.object, self.array, self.combined])(depth)

    def leaf(self):
        r = self.r
        kind = r.randrange(12)
        if kind == 0:
            return r.choice([True, {}, {"description": "any"}])
        if kind == 1:
            return {"const": self.value(1)}
        if kind == 2:
            return {"enum": [self.value(1) for _ in range(r.randint(1, 4))]}
        if kind == 3:
            return {"type": r.sample(["null", "boolean", "integer", "number", "string", "array", "object"], r.randint(1, 3))}
        if kind in (4, 5, 6):
            return self.number()
        if kind in (7, 8, 9):
            return self.string()
        if kind == 10:
            return {"$ref": r.choice(["#/$defs/one", "#/$defs/two"])}
        return {"type": r.choice(["null", "boolean", "integer", "number", "string", "array", "object"])}

    def number(self):
        r, s = self.r, {}
        if r.random() < 0.7:
            s["type"] = r.choice(["integer", "number"])
        for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if r.random() < 0.3:
                s[keyword] = r.choice(NUMBERS)
        if r.random() < 0.2:
            s["multipleOf"] = r.choice([1, 2, 3, 7, 0.5, 0.25, 2.5, 0.1, 10])
        return s

    def string(self):
        r, s = self.r, {}
        if r.random() < 0.8:
            s["type"] = "string"
        if r.random() < 0.4:
            s["minLength"] = r.randint(0, 3)
        if r.random() < 0.4:
            s["maxLength"] = r.randint(0, 4)
        if r.random() < 0.4:
            s["pattern"] = r.choice(PATTERNS)
        return s

    def object(self, depth):
        r, s = self.r, {}
        if r.random() < 0.8:
            s["type"] = "object"
        if r.random() < 0.9:
            s["properties"] = {n: self.schema(depth - 1) for n in r.sample(NAMES, r.randint(1, 3))}
        if r.random() < 0.5:
            s["required"] = r.sample(NAMES, r.randint(1, 2))
        if r.random() < 0.6:
            s["additionalProperties"] = r.choice([False, False, self.schema(depth - 2)])
        if r.random() < 0.15:
            s["patternProperties"] = {r.choice(["^a", "b", "^[xy]"]): self.schema(depth - 2)}
        if r.random() < 0.1:
            s["propertyNames"] = r.choice([self.string(), {"enum": r.sample(NAMES, 2)}])
        if r.random() < 0.1:
            s["minProperties"] = r.randint(0, 2)
        if r.random() < 0.1:
            s["maxProperties"] = r.randint(0, 3)
        if r.random() < 0.1:
            s["dependentRequired"] = {r.choice(NAMES): r.sample(NAMES, 1)}
        if r.random() < 0.1:
            s["dependentSchemas"] = {r.choice(NAMES): self.schema(depth - 1)}
        return s

    def array(self, depth):
        r, s = self.r, {}
        if r.random() < 0.8:
            s["type"] = "array"
        if r.random() < 0.8:
            s["items"] = self.schema(depth - 1)
        if r.random() < 0.3:
            s["prefixItems"] = [self.schema(depth - 1) for _ in range(r.randint(1, 2))]
        if r.random() < 0.25:
            s["contains"] = self.schema(depth - 1)
            if r.random() < 0.5:
                s["minContains"] = r.randint(0, 2)
            if r.random() < 0.5:
                s["maxContains"] = r.randint(0, 2)
        if r.random() < 0.3:
            s["minItems"] = r.randint(0, 2)
        if r.random() < 0.3:
            s["maxItems"] = r.randint(0, 3)
        if r.random() < 0.1:
            s["uniqueItems"] = True
            if r.random() < 0.7:
                few = r.sample([0, -0.0, 1, 1.0, 10, 1e1, 2.5, "a", "b", None, True], r.randint(2, 5))
                s["items"] = r.choice([{"enum": few + few[:2]}, {"anyOf": [{"enum": few}, {"const": few[0]}]}])
        return s

    def combined(self, depth):
        r = self.r
        s = self.leaf() if r.random() < 0.3 else self.object(depth - 1) if r.random() < 0.3 else {}
        s = dict(s) if isinstance(s, dict) else {}
        keyword = r.choice(["anyOf", "anyOf", "oneOf", "allOf", "not", "if"])
        if keyword == "not":
            s["not"] = self.schema(depth - 1)
        elif keyword == "if":
            s["if"] = self.schema(depth - 1)
            for branch in r.sample(["then", "else"], r.randint(1, 2)):
                s[branch] = self.schema(depth - 1)
        else:
            s[keyword] = [self.schema(depth - 1) for _ in range(r.randint(1, 3))]
        return s

    def root(self):
        s = self.schema(3)
        if not isinstance(s, dict):
            return s
        s = dict(s)
        s["$defs"] = {"one": self.leaf(), "two": {"type": ["array", "null"], "items": {"$ref": "#/$defs/two"}, "maxItems": 2}}
        return s

    def value(self, depth):
        r = self.r
        kind = r.randrange(8 if depth > 0 else 6)
        if kind < 2:
            return r.choice(NUMBERS)
        if kind < 4:
            return r.choice(STRINGS)
        if kind < 6:
            return r.choice([None, True, False])
        if kind == 6:
            return [self.value(depth - 1) for _ in range(r.randint(0, 3))]
        return {n: self.value(depth - 1) for n in r.sample(NAMES, r.randint(0, 3))}

    def changed(self, value):
        """A value with something else somewhere."""
        r = self.r
        if isinstance(value, dict) and value and r.random() < 0.8:
            value = dict(value)
            key = r.choice(list(value))
            if r.random() < 0.3:
                del value[key]
            else:
                value[key] = self.changed(value[key])
            return value
        if isinstance(value, list) and value and r.random() < 0.8:
            value = list(value)
            i = r.randrange(len(value))
            if r.random() < 0.3:
                del value[i]
            else:
                value[i] = self.changed(value[i])
            return value
        return self.value(1)


def has_nul(value):
    """In a name, which jansson does not read."""
    if isinstance(value, dict):
        return any("\0" in name or has_nul(member) for name, member in value.items())
    return isinstance(value, list) and any(map(has_nul, value))


def size(value):
    """Ways to order its members, about."""
    if isinstance(value, dict):
        n = 1
        for i, member in enumerate(value.values()):
            n *= (i + 1) * size(member)
        return n
    if isinstance(value, list):
        n = 1
        for item in value:
            n *= size(item)
        return n
    return 1


def oracle(schema):
    if "--python" in sys.argv:
        import jsonschema
        return jsonschema.Draft202012Validator(schema).is_valid
    import jsonschema_rs
    return jsonschema_rs.Draft202012Validator(schema).is_valid


class Comparison:
    def __init__(self):
        self.checker, self.counts, self.wrong = schema_suite.Checker(), collections.Counter(), []
        self.refused = collections.Counter()

    def fault(self, what, schema, detail):
        self.counts["WRONG: " + what] += 1
        self.wrong.append(f"{what} | {json.dumps(schema)} | {detail}")

    def values(self, schema, is_valid, values):
        """A random sample of values: the validator, and the grammar's texts."""
        values = [v for v in values if size(v) <= 200 and not has_nul(v)]
        texts = [list(itertools.islice(schema_suite.texts_of(v), 200)) for v in values]
        answer = self.checker.ask(schema, instances=values, texts=sum(texts, []))
        allowed = iter(answer.get("allowed", []))
        for value, ways, (outcome, why) in zip(values, texts, answer["verdicts"]):
            valid = is_valid(value)
            self.counts["values: validator " + outcome] += 1
            if outcome not in ("unchecked", "valid" if valid else "invalid"):
                self.fault("validator", schema, f"{json.dumps(value)} {outcome} {why}")
            if answer["code"] == "usage" and valid:
                self.fault("no value is said to be valid", schema, json.dumps(value))
            if answer["error"] is None:
                has_text = any([next(allowed) for _ in ways])
                self.counts["values: grammar " + ("has" if has_text else "has not")] += 1
                if valid and not has_text and re.search('"minProperties": [2-9]', json.dumps(schema)):
                    self.counts["values: without a text, as documented"] += 1  # members count as one
                elif has_text != valid:
                    self.fault("text of an invalid value" if has_text else "no text", schema, json.dumps(value))

    def schema(self, maker, schema, seed):
        is_valid = oracle(schema)
        answer = self.checker.ask(schema, walks=20, seed=seed)
        values = [maker.value(2) for _ in range(30)]
        if answer["error"] is not None:
            self.counts["schemas: " + answer["code"]] += 1
            if answer["code"] == "unsupported":
                self.refused[answer["error"].split(": ", 1)[-1][:60]] += 1
        else:
            self.counts["schemas: compiled"] += 1
        self.counts["schemas: slower than 100 ms"] += answer["ms"] > 100
        for text in answer.get("walks", []):
            self.counts["walks: not ended" if text is None else "walks"] += 1
            if text is None:
                continue
            try:
                value = json.loads(text)
            except ValueError as e:
                self.fault("walk is no JSON", schema, f"{text} {e}")
                continue
            if not is_valid(value):
                self.fault("walk is invalid", schema, text)
            values.append(maker.changed(value))
        self.values(schema, is_valid, values)


def main():
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()] + [2000, 1][len([a for a in sys.argv[1:] if a.isdigit()]):]
    comparison = Comparison()
    for i in range(numbers[0]):
        seed = numbers[1] * 1000000 + i
        maker = Maker(seed)
        comparison.schema(maker, maker.root(), seed)
    print("\n".join(comparison.wrong[:40]))
    print(", ".join(f"{n} {what}" for what, n in sorted(comparison.counts.items())))
    print("refused:", "; ".join(f"{n} {what}" for what, n in comparison.refused.most_common(12)))
    sys.exit(1 if comparison.wrong else 0)


if __name__ == "__main__":
    main()
