/* What the CPU kernels share: names by instruction set, element conversion, streaming stores.
 *
 * A kernel file is compiled once for each instruction set (build.py gives TF_SG2_TARGET and the
 * compiler's flags); cpu_dispatch.cc picks among the results when the library runs. Everything
 * here is local to its file: a shared inline function could be taken from the wrong build.
 */
#ifndef TF_SG2_CPU_H_
#define TF_SG2_CPU_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "types.h"

#define TF_SG2_JOIN2(name, target) name##_##target
#define TF_SG2_JOIN(name, target) TF_SG2_JOIN2(name, target)
/* The name of a function in this build of the file. */
#define TF_SG2_CPU(name) TF_SG2_JOIN(name, TF_SG2_TARGET)
#define TF_SG2_ALWAYS_INLINE inline __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename A>
struct Vector {
  typedef A type __attribute__((vector_size(kVectorBytes)));
  static constexpr int kLanes = kVectorBytes / sizeof(A);
};

template <typename A>
inline typename Vector<A>::type load(const A* from) {
  typename Vector<A>::type v;
  memcpy(&v, from, sizeof(v));
  return v;
}

template <typename A>
inline void store(A* to, typename Vector<A>::type v) {
  memcpy(to, &v, sizeof(v));
}

/* A store past the caches: the line is not read first. `to` is aligned to the vector. */
template <typename A>
inline void stream(A* to, typename Vector<A>::type v) {
#if defined(__AVX512F__)
  __m512i bits;
  memcpy(&bits, &v, sizeof(bits));
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), bits);
#elif defined(__AVX__)
  __m256i bits;
  memcpy(&bits, &v, sizeof(bits));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bits);
#elif defined(__SSE2__)
  __m128i bits;
  memcpy(&bits, &v, sizeof(bits));
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), bits);
#else
  store(to, v);
#endif
}

/* Makes streamed stores visible before the piece of work counts as done. */
inline void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/* Results this large leave the caches before anybody reads them: they are streamed. */
constexpr int64_t kStreamBytes = 16 << 20;
constexpr int64_t kCacheLine = 64; /* Bytes. */

inline bool aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0;
}

inline int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t maximum(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* 16-bit floats, as bits. Subnormals are made by additions, since threads may flush them. */
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

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

/* To nearest, ties to even; NaN stays NaN. */
inline void narrow(float value, Half* h) {
  const uint32_t bits = to_bits(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
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
  b->bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
}
inline void narrow(float value, float* to) { *to = value; }
inline void narrow(double value, double* to) { *to = value; }

/* The type that elements of type T are summed in. */
template <typename T>
struct Sum {
  typedef float type;
};
template <>
struct Sum<double> {
  typedef double type;
};

/* Copies n sums to memory, past the caches where asked for. */
template <typename T, typename A>
inline void write_line(const A* from, T* to, int64_t n, bool past_caches) {
  (void)past_caches;
  for (int64_t i = 0; i < n; ++i) narrow(from[i], to + i);
}
template <typename A>
inline void write_line(const A* from, A* to, int64_t n, bool past_caches) {
  constexpr int kLanes = Vector<A>::kLanes;
  if (!past_caches || n < 4 * kLanes) {
    memcpy(to, from, n * sizeof(A));
    return;
  }
  int64_t i = 0;
  for (; !aligned(to + i); ++i) to[i] = from[i];
  for (; i + kLanes <= n; i += kLanes) stream(to + i, load(from + i));
  for (; i < n; ++i) to[i] = from[i];
}

}  // namespace

#endif  // TF_SG2_CPU_H_
