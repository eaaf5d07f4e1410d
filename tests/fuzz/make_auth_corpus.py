#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/auth: scripts of requests with keys (see fuzz_auth.c)."""
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/auth"
SECRET = [bytes([i]) for i in range(8)]  # 1..5: of keys 0..4; 6: the old one of key 4; 7: of minutes


def bearer(i):
    return b"Bearer " + SECRET[i]


CASES = {
    "enter": [b"10" + bearer(1), b"20" + bearer(1), b"l0", b"51" + bearer(1), b"02" + bearer(2)],
    "forms": [b"10bearer  " + SECRET[1], b"11BEARER " + SECRET[1], b"12Basic " + SECRET[1], b"13" + SECRET[1], b"14",
              b"15" + bearer(1) + b" ", b"16" + bearer(1) + b"x", b"17Bearer", b"18Bearer  "],
    "unknown": [b"10Bearer sk-puna-" + b"0" * 12 + b"-" + b"c" * 64, b"11Bearer sk-puna-" + b"f" * 12 + b"-" + b"a" * 64,
                b"12Bearer ek-puna-" + b"0" * 12 + b"-" + b"a" * 64, b"13Bearer sk-other"],
    "rate": [line for _ in range(5) for line in (b"10" + bearer(2), b"l0")] + [b"t 25", b"10" + bearer(2)],
    "at-once": [b"10" + bearer(2), b"11" + bearer(2), b"12" + bearer(2), b"l0", b"13" + bearer(2)],
    "tokens": [b"10" + bearer(2), b"r0 100 1 100", b"l0 50", b"10" + bearer(2), b"r0?900 2 100", b"l0 0",
               b"11" + bearer(2), b"r1 2000 1 1"],
    "scopes": [b"40" + bearer(2), b"41" + bearer(3), b"52" + bearer(3), b"13" + bearer(3)],
    "expiry": [b"40" + bearer(3), b"l0", b"t 99", b"40" + bearer(3), b"l0", b"t 1", b"40" + bearer(3)],
    "origins": [b"10" + bearer(4) + b"\thttps://a.example", b"11" + bearer(4), b"12" + bearer(4) + b"\thttps://c.example",
                b"m0m", b"m0other"],
    "grace": [b"10" + bearer(6), b"l0", b"t 49", b"10" + bearer(6), b"l0", b"t 1", b"10" + bearer(6), b"11" + bearer(5)],
    "revoke": [b"10" + bearer(1), b"x0", b"r0 5 1 5", b"11" + bearer(1), b"l0 3", b"12" + bearer(2)],
    "minutes": [b"50" + bearer(1), b"k0 10 100 60 m\thttps://a.example", b"11" + bearer(7) + b"\thttps://a.example",
                b"r1 5 1 10", b"l1 5", b"12" + bearer(7), b"13" + bearer(7) + b"\thttps://a.example", b"r3 95 1 1",
                b"m3m", b"m3other", b"t 59", b"14" + bearer(7) + b"\thttps://a.example", b"t 2",
                b"15" + bearer(7) + b"\thttps://a.example"],
    "minutes-scope": [b"50" + bearer(3), b"k0 10 100 60 m\thttps://a.example"],
    "minutes-model": [b"50" + bearer(4) + b"\thttps://a.example", b"k0 1 1 1 other\thttps://a.example",
                      b"k0 1 1 1 m\thttps://c.example", b"k0 1 1 1 another\thttps://b.example"],
    "minutes-revoked": [b"50" + bearer(1), b"k0 10 100 60 m\thttps://a.example", b"x0",
                        b"11" + bearer(7) + b"\thttps://a.example"],
}

OUT.mkdir(parents=True, exist_ok=True)
for name, lines in CASES.items():
    (OUT / name).write_bytes(b"\n".join(lines) + b"\n")
