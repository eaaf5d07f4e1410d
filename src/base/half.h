/* half.h - IEEE binary16 and bfloat16, converted in plain integer arithmetic (same bits everywhere,
 * equal to vcvtph2ps and vcvtps2ph with round-to-nearest-even). */
#ifndef BASE_HALF_H
#define BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t half_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float half_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 0x1F;
    uint32_t mantissa = h & 0x3FF;
    if (exponent == 0x1F) {
        /* infinity, or a NaN made quiet as the instruction does */
        return half_from_bits(sign | 0x7F800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
    }
    if (exponent == 0) {
        float magnitude = (float)mantissa * 0x1p-24f;
        return half_from_bits(sign | half_to_bits(magnitude));
    }
    return half_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t half_f32_to_f16(float f)
{
    uint32_t bits = half_to_bits(f);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) {
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x1FF));
    }
    if (magnitude >= 0x477FF000) { /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7C00);
    }
    if (magnitude < 0x38800000) { /* below 2^-14: a multiple of 2^-24, rounded by the addition */
        float shifted = half_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (half_to_bits(shifted) - 0x3F000000));
    }
    uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

static inline float half_bf16_to_f32(uint16_t h)
{
    return half_from_bits((uint32_t)h << 16);
}

/* Rounds to nearest even, denormals too; a NaN becomes a quiet one. */
static inline uint16_t half_f32_to_bf16(float f)
{
    uint32_t bits = half_to_bits(f);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

#endif
