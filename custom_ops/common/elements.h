/* Element types of the CPU kernels: 16-bit floats, their conversions, and integer helpers.
 *
 * Everything here has internal linkage, because each target compiles it with other flags.
 */
#ifndef TF_SG2_COMMON_ELEMENTS_H_
#define TF_SG2_COMMON_ELEMENTS_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "types.h"

namespace {

inline int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t maximum(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

/* 16-bit floats, as bits. Subnormals are made by additions, because threads may flush them. */
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

/* The type in which elements of type T are computed and summed. */
template <typename T>
struct Accumulator {
  typedef float type;
};
template <>
struct Accumulator<double> {
  typedef double type;
};

inline size_t accumulator_bytes(int32_t type) {
  return type == TF_SG2_FLOAT64 ? sizeof(double) : sizeof(float);
}

inline float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}
inline uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float widen(Half h) {
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000u) << 16;
  const uint32_t magnitude = h.bits & 0x7fffu;
  const uint32_t shifted = magnitude << 13;
  const float subnormal = from_bits((113u << 23) | shifted) - from_bits(113u << 23);
  const uint32_t normal = shifted + (magnitude >= 0x7c00u ? (224u << 23) : (112u << 23));
  return from_bits((magnitude < 0x400u ? to_bits(subnormal) : normal) | sign);
}
inline float widen(BFloat16 b) { return from_bits(static_cast<uint32_t>(b.bits) << 16); }
inline float widen(float value) { return value; }
inline double widen(double value) { return value; }

/* Rounds to nearest, ties to even; NaN stays NaN. */
inline void narrow(float value, Half* h) {
  const uint32_t bits = to_bits(value), sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t subnormal = to_bits(from_bits(magnitude) + 0.5f) - (126u << 23);
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  uint32_t result = magnitude < (113u << 23) ? subnormal : normal;
  result = magnitude >= 0x477ff000u ? 0x7c00u : result;
  result = magnitude > 0x7f800000u ? 0x7e00u : result;
  h->bits = static_cast<uint16_t>(result | sign);
}
inline void narrow(float value, BFloat16* b) {
  const uint32_t bits = to_bits(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  b->bits = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
}
inline void narrow(float value, float* to) { *to = value; }
inline void narrow(double value, double* to) { *to = value; }

/* Calls `work` with a null pointer to the C++ type that `type` (TfSg2Type) names. */
template <typename Work>
void with_element_type(int32_t type, const Work& work) {
  switch (type) {
    case TF_SG2_FLOAT16: return work(static_cast<Half*>(nullptr));
    case TF_SG2_BFLOAT16: return work(static_cast<BFloat16*>(nullptr));
    case TF_SG2_FLOAT32: return work(static_cast<float*>(nullptr));
    default: return work(static_cast<double*>(nullptr));
  }
}

}  // namespace

#endif  // TF_SG2_COMMON_ELEMENTS_H_
