// fp16 and bf16 as bits. Plain integer and float arithmetic without branches, so that a compiler can vectorize loops
// over it for any processor; ATen's own conversions are either calls or need a fixed instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#define RESKD_INLINE inline __attribute__((always_inline))

namespace reskd {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

RESKD_INLINE uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

RESKD_INLINE float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

RESKD_INLINE float widen(float value) { return value; }
RESKD_INLINE double widen(double value) { return value; }

RESKD_INLINE float widen(BFloat16 value) { return float_of(static_cast<uint32_t>(value.bits) << 16); }

// fp16: 1 sign, 5 exponent (bias 15), 10 mantissa; fp32: 8 (bias 127) and 23.
RESKD_INLINE float widen(Half value) {
  const uint32_t magnitude = value.bits & 0x7fffu;
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t normal = (magnitude << 13) + ((127u - 15u) << 23);
  const uint32_t subnormal = bits_of(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  const uint32_t not_finite = (magnitude << 13) | 0x7f800000u;
  uint32_t bits = magnitude < 0x0400u ? subnormal : normal;
  bits = magnitude >= 0x7c00u ? not_finite : bits;
  return float_of(bits | sign);
}

RESKD_INLINE void narrow(float value, float& out) { out = value; }
RESKD_INLINE void narrow(double value, double& out) { out = value; }

// Round to nearest, ties to even: add half a unit in the last place less one, plus the bit that decides a tie.
RESKD_INLINE void narrow(float value, BFloat16& out) {
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  out.bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

RESKD_INLINE void narrow(float value, Half& out) {
  const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - ((127u - 15u) << 23)) >> 13;
  // The last place of 0.5 is 2^-24, that of an fp16 subnormal: the addition rounds as wanted.
  const uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;  // 2^-14
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;              // 65,520 and more round to infinity
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  out.bits = static_cast<uint16_t>(half | sign);
}

}  // namespace reskd
