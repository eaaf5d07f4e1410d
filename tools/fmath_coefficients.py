#!/usr/bin/env python3
"""Prints the constants of src/base/fmath.h and fmath.c.

Every polynomial is the near-minimax one: mpmath's Chebyshev interpolation of the function below on
the reduced interval, in 60 digits, each coefficient then rounded to the working precision.
Needs: mpmath.
"""
import struct

import mpmath as mp

mp.mp.dps = 60
LN2 = mp.log(2)


def to_double(x):
    return float(mp.nstr(x, 40))


def to_float(x):
    return struct.unpack("f", struct.pack("f", float(mp.nstr(x, 40))))[0]


def fit(function, low, high, n_terms, rounding):
    """Coefficients c0.. of function on [low, high]."""
    poly = mp.chebyfit(function, [low, high], n_terms)
    return [rounding(c) for c in reversed(poly)]


def show(name, coefficients):
    print(name)
    for c in coefficients:
        print("   ", c.hex())


def split(x, n_parts, keep_bits):
    """x as a sum of doubles of which all but the last have keep_bits significant bits."""
    parts = []
    for i in range(n_parts - 1):
        m, e = mp.frexp(x)
        part = mp.ldexp(mp.floor(mp.ldexp(m, keep_bits)), e - keep_bits)
        parts.append(to_double(part))
        x -= part
    return parts + [to_double(x)]


def atanh_tail(z):
    """(2 atanh(s) / s - 2) / z with z = s^2: log((1+s)/(1-s)) = 2s + s z (this)."""
    if z < mp.mpf("1e-12"):
        return mp.mpf(2) / 3 + 2 * z / 5 + 2 * z**2 / 7
    s = mp.sqrt(z)
    return (mp.log((1 + s) / (1 - s)) / s - 2) / z


def sin_tail(z):
    """(sin(r)/r - 1) / z with z = r^2."""
    if z < mp.mpf("1e-12"):
        return mp.mpf(-1) / 6 + z / 120 - z**2 / 5040
    r = mp.sqrt(z)
    return (mp.sin(r) / r - 1) / z


def cos_tail(z):
    """(cos(r) - 1 + z/2) / z^2 with z = r^2."""
    if z < mp.mpf("1e-6"):
        return mp.mpf(1) / 24 - z / 720 + z**2 / 40320 - z**3 / 3628800
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2."""
    if abs(r) < mp.mpf("1e-8"):
        return mp.mpf(1) / 2 + r / 6 + r**2 / 24 + r**3 / 120
    return (mp.exp(r) - 1 - r) / r**2


half_ln2 = LN2 / 2 * mp.mpf("1.0001")
show("expf: exp(r) = 1 + r + r^2 (c0 + c1 r ...)", fit(exp_tail, -half_ln2, half_ln2, 5, to_float))
show("exp", fit(exp_tail, -half_ln2, half_ln2, 11, to_double))
z_log = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")
tiny = mp.mpf("1e-30")
show("log: tail in z = s^2", fit(atanh_tail, tiny, z_log, 8, to_double))
z_trig = (mp.pi / 4) ** 2 * mp.mpf("1.001")
show("sin: tail in z = r^2", fit(sin_tail, tiny, z_trig, 7, to_double))
show("cos: tail in z = r^2", fit(cos_tail, tiny, z_trig, 6, to_double))
show("log2(e) float, double", [to_float(1 / LN2), to_double(1 / LN2)])
show("ln2 in two floats for fmaf", [to_float(LN2), to_float(LN2 - mp.mpf(to_float(LN2)))])
show("ln2 in two doubles, 32 bits first", split(LN2, 2, 32))
show("ln2 in two doubles, full first", [to_double(LN2), to_double(LN2 - mp.mpf(to_double(LN2)))])
show("pi/2 in three doubles, 33 bits first", split(mp.pi / 2, 3, 33))
show("2/pi", [to_double(2 / mp.pi)])
third = mp.mpf(2) / 3
show("2/3 in two doubles", [to_double(third), to_double(third - mp.mpf(to_double(third)))])


def atanh_tail5(z):
    """((2 atanh(s) / s - 2) / z - 2/3) / z."""
    if z < mp.mpf("1e-9"):
        return mp.mpf(2) / 5 + 2 * z / 7 + 2 * z**2 / 9 + 2 * z**3 / 11
    return (atanh_tail(z) - third) / z


show("pow: tail in z = s^2 behind 2s + 2/3 s^3", fit(atanh_tail5, tiny, z_log, 8, to_double))
