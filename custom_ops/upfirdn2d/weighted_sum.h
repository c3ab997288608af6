/* Weighted sums of lines: the inner loop of upfirdn2d. */
#ifndef TF_SG2_UPFIRDN2D_WEIGHTED_SUM_H_
#define TF_SG2_UPFIRDN2D_WEIGHTED_SUM_H_

#include "../common/vector.h"
#include "upfirdn2d.h"

namespace {

/* A weighted sum of lines of T, repeated `repeats` times at positions that are a step apart:
 * y[r * y_step + i] = sum over m < count of weights[m] * lines[m][r * line_step + i], i < n. */
template <typename T, typename A>
struct WeightedSum {
  const T* lines[TF_SG2_MAX_TAPS];
  A weights[TF_SG2_MAX_TAPS];
  int64_t count, n, repeats, line_step, y_step;
};

/* Prefetches rows that are read next, `lines` cache lines per vector. The processor predicts how a
 * row continues, but not where the next row begins. */
struct RowPrefetch {
  const char* row = nullptr;
  int64_t rows = 0, row_bytes = 0, row_stride = 0, lines = 0, offset = 0;

  TF_SG2_ALWAYS_INLINE void advance() {
    for (int64_t k = 0; k < lines && rows > 0; ++k) {
      __builtin_prefetch(row + offset, 0, 2); /* Into the second-level cache: the first is busy. */
      offset += kCacheLine;
      if (offset >= row_bytes) {
        offset = 0;
        row += row_stride;
        --rows;
      }
    }
  }
};

/* A sum of M lines, unrolled over them. */
template <int M, bool kPrefetch, typename A>
void sum_lines_unrolled(const WeightedSum<A, A>& s, A* y, bool non_temporal,
                        RowPrefetch* prefetch) {
  const A* lines[M];
  A weights[M];
  for (int m = 0; m < M; ++m) {
    lines[m] = s.lines[m];
    weights[m] = s.weights[m];
  }
  const int64_t n = s.n;
  RowPrefetch next;
  if (kPrefetch) next = *prefetch;
  for (int64_t r = 0; r < s.repeats; ++r) {
    const auto sum_at = [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
      if (kPrefetch && decltype(lanes)::kCount > 1) next.advance();
      auto sum = load(lanes, lines[0] + i) * weights[0];
      for (int m = 1; m < M; ++m) sum += load(lanes, lines[m] + i) * weights[m];
      return sum;
    };
    if (non_temporal && n >= 2 * FullVector<A>::kCount) {
      for_aligned_lanes<A>(n, y, [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
        store_non_temporal(lanes, sum_at(lanes, i), y + i);
      });
    } else {
      for_lanes<A>(n, [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
        store(lanes, sum_at(lanes, i), y + i);
      });
    }
    for (int m = 0; m < M; ++m) lines[m] += s.line_step;
    y += s.y_step;
  }
  if (kPrefetch) *prefetch = next;
}

template <int M, typename A>
void sum_lines_unrolled(const WeightedSum<A, A>& s, A* y, bool non_temporal,
                        RowPrefetch* prefetch) {
  if (prefetch != nullptr && prefetch->rows > 0) {
    sum_lines_unrolled<M, true>(s, y, non_temporal, prefetch);
  } else {
    sum_lines_unrolled<M, false>(s, y, non_temporal, prefetch);
  }
}

/* A sum of any number of lines of any type, for K vectors, or K lanes. */
template <int K, typename L, typename T, typename A>
TF_SG2_ALWAYS_INLINE void sum_block(L lanes, const WeightedSum<T, A>& s, int64_t offset, A* y) {
  typename L::type sums[K] = {};
  for (int64_t m = 0; m < s.count; ++m) {
    const T* line = s.lines[m] + offset;
    const A weight = s.weights[m];
    for (int k = 0; k < K; ++k) sums[k] += load(lanes, line + k * L::kCount) * weight;
  }
  for (int k = 0; k < K; ++k) store(lanes, sums[k], y + k * L::kCount);
}

/* A sum of any number of lines of any type. No lines give zeros. */
template <typename T, typename A>
void sum_any_lines(const WeightedSum<T, A>& s, A* y) {
  constexpr int kVectors = 4;
  constexpr int kBlock = kVectors * FullVector<A>::kCount;
  for (int64_t r = 0; r < s.repeats; ++r) {
    const int64_t offset = r * s.line_step;
    int64_t i = 0;
    for (; i + kBlock <= s.n; i += kBlock) {
      sum_block<kVectors>(FullVector<A>(), s, offset + i, y + i);
    }
    for (; i < s.n; ++i) sum_block<1>(OneLane<A>(), s, offset + i, y + i);
    y += s.y_step;
  }
}

/* Fills y. Advances `prefetch`, which may be null. */
template <typename T, typename A>
void sum_lines(const WeightedSum<T, A>& s, A* y, bool non_temporal, RowPrefetch* prefetch) {
  if constexpr (std::is_same<T, A>::value) {
    switch (s.count) {
      case 1: return sum_lines_unrolled<1>(s, y, non_temporal, prefetch);
      case 2: return sum_lines_unrolled<2>(s, y, non_temporal, prefetch);
      case 3: return sum_lines_unrolled<3>(s, y, non_temporal, prefetch);
      case 4: return sum_lines_unrolled<4>(s, y, non_temporal, prefetch);
      default: break;
    }
  }
  sum_any_lines(s, y);
}

}  // namespace

#endif  // TF_SG2_UPFIRDN2D_WEIGHTED_SUM_H_
