/* Weighted sums of lines, the inner loop of upfirdn2d. Local to its file, as cpu.h says. */
#ifndef TF_SG2_COMBINE_CPU_H_
#define TF_SG2_COMBINE_CPU_H_

#include "cpu.h"
#include "upfirdn2d.h"

namespace {

/* A sum of lines of T, made `repeats` times on the way along them:
 * y[r * y_step + i] = sum over m < count of weights[m] * lines[m][r * line_step + i], i < n. */
template <typename T, typename A>
struct Combination {
  const T* lines[TF_SG2_MAX_TAPS];
  A weights[TF_SG2_MAX_TAPS];
  int64_t count, n, repeats, line_step, y_step;
};

/* Rows of memory that will be needed next, asked for on the way, `lines` cache lines with each
 * vector: the processor foresees how a row goes on, but not where the next one begins. */
struct Ahead {
  const char* row = nullptr;
  int64_t rows = 0, row_bytes = 0, row_stride = 0, lines = 0, offset = 0;

  TF_SG2_ALWAYS_INLINE void ask() {
    for (int64_t k = 0; k < lines && rows > 0; ++k) {
      __builtin_prefetch(row + offset, 0, 2); /* To the second level: the first is busy. */
      offset += kCacheLine;
      if (offset >= row_bytes) {
        offset = 0;
        row += row_stride;
        --rows;
      }
    }
  }
};

template <int M, bool kAsks, typename A>
void combine_fixed(const Combination<A, A>& c, A* y, bool past_caches, Ahead* soon) {
  constexpr int kLanes = Vector<A>::kLanes;
  const A* lines[M];
  A weights[M];
  for (int m = 0; m < M; ++m) {
    lines[m] = c.lines[m];
    weights[m] = c.weights[m];
  }
  const int64_t n = c.n;
  Ahead ahead;
  if (kAsks) ahead = *soon;
  for (int64_t r = 0; r < c.repeats; ++r) {
    int64_t i = 0;
    const auto scalar = [&]() {
      A sum = weights[0] * lines[0][i];
      for (int m = 1; m < M; ++m) sum += weights[m] * lines[m][i];
      y[i] = sum;
    };
    const auto vector = [&]() {
      if (kAsks) ahead.ask();
      typename Vector<A>::type sum = load(lines[0] + i) * weights[0];
      for (int m = 1; m < M; ++m) sum += load(lines[m] + i) * weights[m];
      return sum;
    };
    if (past_caches && n >= 2 * kLanes) {
      for (; !aligned(y + i); ++i) scalar();
      for (; i + kLanes <= n; i += kLanes) stream(y + i, vector());
    } else {
      for (; i + kLanes <= n; i += kLanes) store(y + i, vector());
    }
    for (; i < n; ++i) scalar();
    for (int m = 0; m < M; ++m) lines[m] += c.line_step;
    y += c.y_step;
  }
  if (kAsks) *soon = ahead;
}

/* Any number of lines of any type, a few vectors at a time; none gives zeros. */
template <typename T, typename A>
void combine_any(const Combination<T, A>& c, A* y) {
  constexpr int kBlock = 4 * Vector<A>::kLanes;
  for (int64_t r = 0; r < c.repeats; ++r) {
    const int64_t offset = r * c.line_step;
    int64_t i = 0;
    for (; i + kBlock <= c.n; i += kBlock) {
      A sums[kBlock] = {};
      for (int64_t m = 0; m < c.count; ++m) {
        const T* line = c.lines[m] + offset + i;
        const A weight = c.weights[m];
        for (int k = 0; k < kBlock; ++k) sums[k] += weight * widen(line[k]);
      }
      memcpy(y + i, sums, sizeof(sums));
    }
    for (; i < c.n; ++i) {
      A sum = 0;
      for (int64_t m = 0; m < c.count; ++m) sum += c.weights[m] * widen(c.lines[m][offset + i]);
      y[i] = sum;
    }
    y += c.y_step;
  }
}

template <int M, typename A>
void combine_fixed(const Combination<A, A>& c, A* y, bool past_caches, Ahead* ahead) {
  const bool asks = ahead != nullptr && ahead->rows > 0;
  asks ? combine_fixed<M, true>(c, y, past_caches, ahead)
       : combine_fixed<M, false>(c, y, past_caches, ahead);
}

/* Fills y; what is `ahead`, if anything, is asked for on the way. */
template <typename A>
void combine(const Combination<A, A>& c, A* y, bool past_caches, Ahead* ahead) {
  switch (c.count) {
    case 1: return combine_fixed<1>(c, y, past_caches, ahead);
    case 2: return combine_fixed<2>(c, y, past_caches, ahead);
    case 3: return combine_fixed<3>(c, y, past_caches, ahead);
    case 4: return combine_fixed<4>(c, y, past_caches, ahead);
    default: return combine_any(c, y);
  }
}
template <typename T, typename A>
void combine(const Combination<T, A>& c, A* y, bool, Ahead*) {
  combine_any(c, y);
}

}  // namespace

#endif  // TF_SG2_COMBINE_CPU_H_
