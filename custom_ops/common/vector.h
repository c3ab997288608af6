/* Vectors for the CPU kernels, and loops that run one body on full vectors and on the remainder.
 *
 *   for_lanes<float>(n, [&](auto lanes, int64_t i) {
 *     store(lanes, load(lanes, x + i) * gain, y + i);
 *   });
 *
 * `lanes` says how many elements one call handles: those of a full vector, or one.
 *
 * build.py compiles a kernel file once per target, with other flags each time. Everything here has
 * internal linkage: otherwise the linker could take an inline function from another target.
 */
#ifndef TF_SG2_COMMON_VECTOR_H_
#define TF_SG2_COMMON_VECTOR_H_

#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "elements.h"

#define TF_SG2_ALWAYS_INLINE inline __attribute__((always_inline))
/* The same for a lambda; it stands between the parameters and the body. */
#define TF_SG2_INLINE_LAMBDA __attribute__((always_inline))

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

constexpr int64_t kCacheLine = 64; /* Bytes. */
/* Results of at least this many bytes leave the caches before they are read again. They are written
 * with non-temporal stores. */
constexpr int64_t kNonTemporalBytes = 16 << 20;

inline bool aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % kVectorBytes == 0;
}

/* A tag for N elements of type A that one operation handles. `type` is their value. */
template <typename A, int N>
struct Lanes {
  typedef A type __attribute__((vector_size(N * sizeof(A))));
  static constexpr int kCount = N;
};
template <typename A>
struct Lanes<A, 1> {
  typedef A type;
  static constexpr int kCount = 1;
};

template <typename A>
using FullVector = Lanes<A, kVectorBytes / sizeof(A)>;
template <typename A>
using OneLane = Lanes<A, 1>;

/* Loads elements of any type T, widened to A. */
template <typename A, int N, typename T>
TF_SG2_ALWAYS_INLINE typename Lanes<A, N>::type load(Lanes<A, N>, const T* from) {
  typename Lanes<A, N>::type v;
  if constexpr (std::is_same<T, A>::value) {
    memcpy(&v, from, sizeof(v));
  } else if constexpr (N == 1) {
    v = widen(*from);
  } else {
    A values[N];  // The compiler vectorizes this loop, but not one over v[i].
    for (int i = 0; i < N; ++i) values[i] = widen(from[i]);
    memcpy(&v, values, sizeof(v));
  }
  return v;
}

/* Stores elements of any type T, narrowed from A. */
template <typename A, int N, typename T>
TF_SG2_ALWAYS_INLINE void store(Lanes<A, N>, typename Lanes<A, N>::type v, T* to) {
  if constexpr (std::is_same<T, A>::value) {
    memcpy(to, &v, sizeof(v));
  } else if constexpr (N == 1) {
    narrow(v, to);
  } else {
    A values[N];
    memcpy(values, &v, sizeof(v));
    for (int i = 0; i < N; ++i) narrow(values[i], to + i);
  }
}

/* A non-temporal store: it does not read the cache line first. `to` is aligned to the vector. One
 * lane, and elements that are narrowed, are stored as usual. */
template <typename A, int N, typename T>
TF_SG2_ALWAYS_INLINE void store_non_temporal(Lanes<A, N> lanes, typename Lanes<A, N>::type v,
                                             T* to) {
  if constexpr (N > 1 && std::is_same<T, A>::value) {
#if defined(__AVX512F__)
    __m512i bits;
    memcpy(&bits, &v, sizeof(bits));
    return _mm512_stream_si512(reinterpret_cast<__m512i*>(to), bits);
#elif defined(__AVX__)
    __m256i bits;
    memcpy(&bits, &v, sizeof(bits));
    return _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bits);
#elif defined(__SSE2__)
    __m128i bits;
    memcpy(&bits, &v, sizeof(bits));
    return _mm_stream_si128(reinterpret_cast<__m128i*>(to), bits);
#endif
  }
  store(lanes, v, to);
}

/* Makes non-temporal stores visible to other threads. A task calls it before it ends. */
inline void finish_non_temporal_stores() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/* Calls body(lanes, i) for the elements i of 0 … n - 1: full vectors first, then the remainder. */
template <typename A, typename Body>
TF_SG2_ALWAYS_INLINE void for_lanes(int64_t n, const Body& body, int64_t i = 0) {
  constexpr int kCount = FullVector<A>::kCount;
  for (; i + kCount <= n; i += kCount) body(FullVector<A>(), i);
  for (; i < n; ++i) body(OneLane<A>(), i);
}

/* The same, but one lane at a time until `to` + i is aligned to a vector. `n` is at least the count
 * of a full vector. */
template <typename A, typename Body>
TF_SG2_ALWAYS_INLINE void for_aligned_lanes(int64_t n, const A* to, const Body& body) {
  int64_t i = 0;
  for (; !aligned(to + i); ++i) body(OneLane<A>(), i);
  for_lanes<A>(n, body, i);
}

/* A sum over all lanes of a loop. */
template <typename A>
class LaneSum {
 public:
  void add(FullVector<A>, typename FullVector<A>::type v) { vectors_ += v; }
  void add(OneLane<A>, A v) { remainder_ += v; }
  A total() const {
    A sum = 0;
    for (int i = 0; i < FullVector<A>::kCount; ++i) sum += vectors_[i];
    return sum + remainder_;
  }

 private:
  typename FullVector<A>::type vectors_ = {};
  A remainder_ = 0;
};

/* Writes n elements to memory, with non-temporal stores if `non_temporal`. */
template <typename T, typename A>
inline void write_line(const A* from, T* to, int64_t n, bool non_temporal) {
  if constexpr (std::is_same<T, A>::value) {
    if (non_temporal && n >= 4 * FullVector<A>::kCount) {
      for_aligned_lanes<A>(n, to, [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
        store_non_temporal(lanes, load(lanes, from + i), to + i);
      });
    } else {
      memcpy(to, from, n * sizeof(A));
    }
  } else {
    for (int64_t i = 0; i < n; ++i) narrow(from[i], to + i);
  }
}

}  // namespace

#endif  // TF_SG2_COMMON_VECTOR_H_
