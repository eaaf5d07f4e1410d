#!/usr/bin/env python3
"""Reference of the sampling chain in numpy, and maker of tests/golden/sampler/cases.json.

Written from the definitions in docs/SAMPLING.md with whole-array sorts and masks, so that it shares
no method with src/engine/sampler.c. Logits come from a seeded generator and are recorded as the bits
of their f32 values. Every case gives the distribution that is left (token, probability) and the
tokens that given uniform numbers choose. tests/unit/test_sampler.c reads the file.

usage: sampler_reference.py [--check]    write the golden file, or fail when it would change
"""

import json
import pathlib
import sys

import numpy as np

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "sampler" / "cases.json"
UNIFORMS = [0.0, 0.1234567, 0.5, 0.75, 0.9, 0.999, 1 - 2.0**-53]
DEFAULTS = {
    "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "typical_p": 1.0,
    "repeat_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "repeat_last_n": 64,
}
OFF = {**DEFAULTS, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def recorded_logits():
    rng = np.random.default_rng(20240726)
    peaked = rng.normal(0, 3, 240)
    peaked[[7, 99, 150]] += [14, 12, 11]
    flat = rng.normal(-40, 0.05, 160)
    masked = rng.normal(5, 4, 240)
    masked[rng.random(240) < 0.7] = -np.inf
    ties = np.round(rng.normal(0, 1, 200) * 2) / 2
    huge = rng.normal(0, 1, 200) * 1e30
    return {
        name: values.astype(np.float32)
        for name, values in
        [("peaked", peaked), ("flat", flat), ("masked", masked), ("ties", ties), ("huge", huge)]
    }


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def reference(logits, history, biases, p):
    """ids left (ascending) and their probabilities. Parameters are f32, as in the C struct."""
    p = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in p.items()}
    x = logits.astype(np.float64)
    for token, bias in biases:
        x[token] += np.float64(np.float32(bias))
    window = history[-p["repeat_last_n"]:] if p["repeat_last_n"] > 0 else []
    for token in set(window):
        x[token] = x[token] / p["repeat_penalty"] if x[token] > 0 else x[token] * p["repeat_penalty"]
        x[token] -= window.count(token) * p["frequency_penalty"] + p["presence_penalty"]
    ids = np.flatnonzero(x > -np.inf)
    if p["temperature"] == 0:
        best = ids[np.argmax(x[ids])]
        return np.array([best]), np.array([1.0])

    def by(key):  # ascending key, lower id first among equals
        return np.lexsort((ids, key))

    if p["top_k"] > 0:
        ids = np.sort(ids[by(-x[ids])][: p["top_k"]])
    if p["typical_p"] < 1:
        surprise = -np.log(softmax(x[ids]))
        with np.errstate(invalid="ignore"):
            entropy = np.nansum(softmax(x[ids]) * surprise)  # 0 log 0 = 0
        order = by(np.abs(surprise - entropy))
        total = np.cumsum(softmax(x[ids])[order])
        ids = np.sort(ids[order][: 1 + np.count_nonzero(total <= p["typical_p"])])
    if p["top_p"] < 1:
        order = by(-x[ids])
        total = np.cumsum(softmax(x[ids])[order])
        ids = np.sort(ids[order][: 1 + np.count_nonzero(total < p["top_p"])])
    if p["min_p"] > 0:
        q = softmax(x[ids])
        ids = ids[q >= p["min_p"] * q.max()]
    return ids, softmax(x[ids] / p["temperature"])


def choose(ids, probabilities, uniform):
    return int(ids[min(np.searchsorted(np.cumsum(probabilities), uniform, side="right"), len(ids) - 1)])


def cases():
    history = [3, 99, 3, 150, 7, 3, 99, 11, 12, 13, 150]
    one = [
        ("defaults", "peaked", {}),
        ("everything off", "flat", OFF),
        ("temperature alone, hot", "peaked", {**OFF, "temperature": 3.0}),
        ("temperature alone, cold", "peaked", {**OFF, "temperature": 0.05}),
        ("greedy", "peaked", {"temperature": 0.0}),
        ("greedy among ties", "ties", {"temperature": 0.0}),
        ("greedy, all penalties", "peaked", {"temperature": 0.0, "repeat_penalty": 3.0,
                                             "presence_penalty": 2.0, "frequency_penalty": 1.0}),
        ("top_k 1", "peaked", {**OFF, "top_k": 1}),
        ("top_k 7", "flat", {**OFF, "top_k": 7}),
        ("top_k cuts ties", "ties", {**OFF, "top_k": 25}),
        ("top_k above what is left", "masked", {**OFF, "top_k": 220}),
        ("top_k above the vocabulary", "ties", {**OFF, "top_k": 100000}),
        ("top_p 0", "flat", {**OFF, "top_p": 0.0}),
        ("top_p small", "flat", {**OFF, "top_p": 0.0333}),
        ("top_p nearly all", "flat", {**OFF, "top_p": 0.9991}),
        ("top_p, hot", "peaked", {**OFF, "top_p": 0.9, "temperature": 5.0}),
        ("top_p over a mask", "masked", {**OFF, "top_p": 0.97}),
        ("min_p", "peaked", {**OFF, "min_p": 0.001}),
        ("min_p 1 keeps ties", "ties", {**OFF, "min_p": 1.0}),
        ("min_p over a mask", "masked", {**OFF, "min_p": 0.02}),
        ("typical_p", "peaked", {**OFF, "typical_p": 0.5}),
        ("typical_p, flat", "flat", {**OFF, "typical_p": 0.3123}),
        ("typical_p 0", "peaked", {**OFF, "typical_p": 0.0}),
        ("typical_p over a mask", "masked", {**OFF, "typical_p": 0.8}),
        ("repeat_penalty", "peaked", {**OFF, "repeat_penalty": 1.3}),
        ("repeat_penalty below 1", "peaked", {**OFF, "top_k": 60, "repeat_penalty": 0.7}),
        ("frequency_penalty", "peaked", {**OFF, "top_k": 60, "frequency_penalty": 0.9}),
        ("presence_penalty", "peaked", {**OFF, "top_k": 60, "presence_penalty": 1.5}),
        ("negative penalties", "masked", {**OFF, "frequency_penalty": -1.0, "presence_penalty": -0.5}),
        ("penalties over the last 4", "peaked", {**OFF, "top_k": 60, "repeat_last_n": 4,
                                                 "repeat_penalty": 1.2, "frequency_penalty": 0.5}),
        ("penalties over no token", "peaked", {"repeat_last_n": 0, "repeat_penalty": 2.0}),
        ("whole chain", "peaked", {"top_k": 100, "top_p": 0.99, "min_p": 0.0001, "typical_p": 0.95,
                                   "temperature": 1.7, "repeat_penalty": 1.1, "frequency_penalty": 0.2,
                                   "presence_penalty": 0.3}),
        ("whole chain over a mask", "masked", {"top_k": 50, "top_p": 0.9, "min_p": 0.01,
                                               "typical_p": 0.9, "temperature": 0.6}),
        ("huge logits", "huge", {**OFF, "top_p": 0.9}),
        ("huge logits, hot", "huge", {**OFF, "temperature": 1e30}),
    ]
    biased = [
        ("logit_bias", "peaked", OFF, [[7, -3.5], [200, 9.25], [7, 1.0]]),
        ("logit_bias forbids", "peaked", {}, [[7, "-inf"], [99, -100.0]]),
        ("logit_bias cannot lift a mask", "masked", {}, [[0, 100.0], [1, 100.0], [2, 100.0]]),
        ("logit_bias before penalties", "peaked", {**OFF, "top_k": 30, "repeat_penalty": 1.5},
         [[3, 20.0], [99, -2.0]]),
    ]
    return [(n, s, p, []) for n, s, p in one] + biased, history


def make():
    logits = recorded_logits()
    listed, history = cases()
    out = []
    for name, source, changed, biases in listed:
        params = {**DEFAULTS, **changed}
        numbers = [[t, float(b)] for t, b in biases]
        ids, probabilities = reference(logits[source], history, numbers, params)
        out.append({
            "name": name, "logits": source, "params": params, "logit_bias": biases,
            "tokens": [int(i) for i in ids], "p": [float(f"{q:.14g}") for q in probabilities],
            "chosen": [choose(ids, probabilities, u) for u in UNIFORMS],
        })
    head = {
        "made_by": "tests/oracle/sampler_reference.py", "uniforms": UNIFORMS, "history": history,
        "logits": {k: [int(b) for b in v.view(np.uint32)] for k, v in logits.items()},
    }
    lines = ",\n".join(json.dumps(c) for c in out)
    return json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n"


def main():
    text = make()
    if "--check" in sys.argv[1:]:
        if GOLDEN.read_text() != text:
            sys.exit(f"{GOLDEN} differs from what this script makes")
        return
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(text)
    print(f"{GOLDEN}: {len(text)} bytes")


if __name__ == "__main__":
    main()
