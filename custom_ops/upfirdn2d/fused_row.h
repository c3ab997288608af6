/* Filters rows of the input along both axes in one loop over the pixels.
 *
 * The sums along the height of the last four columns are in a ring buffer, which the first-level
 * cache holds. Each new column completes a pixel of the output. So reads and writes overlap, and the
 * next rows are prefetched in the order in which they are read.
 */
#ifndef TF_SG2_UPFIRDN2D_FUSED_ROW_H_
#define TF_SG2_UPFIRDN2D_FUSED_ROW_H_

#include "../common/vector.h"

namespace {

constexpr int kFusedTaps = 4; /* Taps along the width; at most as many rows along the height. */

/* Output pixel i = sum over b < kFusedTaps of column_weights[b] * v[first + stride * i + b], where
 * v[j] = sum over m < count of row_weights[m] * rows[m][j], and zero outside of 0 … columns - 1.
 * `channels` is a multiple of the vector's elements: there is no remainder. */
template <typename A>
struct FusedRow {
  const A* rows[kFusedTaps];
  A row_weights[kFusedTaps], column_weights[kFusedTaps];
  int64_t count, columns, channels, first, outputs;
  const A* prefetch; /* Input rows that only the next row of the output reads. */
  int64_t prefetch_count, row_elements;
  A* ring; /* Room for kFusedTaps pixels. */
};

template <int M, int kStride, typename A>
void filter_fused_unrolled(const FusedRow<A>& s, A* y, bool non_temporal) {
  constexpr FullVector<A> lanes;
  typedef typename FullVector<A>::type V;
  const A* rows[M];
  A row_weights[M], weights[kFusedTaps];
  for (int m = 0; m < M; ++m) {
    rows[m] = s.rows[m];
    row_weights[m] = s.row_weights[m];
  }
  for (int b = 0; b < kFusedTaps; ++b) weights[b] = s.column_weights[b];
  const int64_t channels = s.channels;
  const auto sum_rows = [&](int64_t i) {
    for (int64_t k = 0; k < s.prefetch_count; ++k) {
      __builtin_prefetch(s.prefetch + k * s.row_elements + i, 0, 2); /* Second-level cache. */
    }
    V sum = load(lanes, rows[0] + i) * row_weights[0];
    for (int m = 1; m < M; ++m) sum += load(lanes, rows[m] + i) * row_weights[m];
    return sum;
  };
  int64_t column = s.first, oldest = 0;
  const auto pixel = [&](int b) { return s.ring + (oldest + b) % kFusedTaps * channels; };
  /* Calls `consume` with the sums of the next column, vector by vector. */
  const auto next_column = [&](const auto& consume) {
    const int64_t from = column * channels;
    const bool inside = column >= 0 && column < s.columns;
    for (int64_t i = 0; i < channels; i += lanes.kCount) {
      consume(i, inside ? sum_rows(from + i) : V{});
    }
    ++column;
  };
  const auto keep = [&](A* to) {
    next_column([&](int64_t i, V sum) { store(lanes, sum, to + i); });
  };
  for (int b = 0; b < kFusedTaps - 1; ++b) keep(pixel(b));
  for (int64_t o = 0; o < s.outputs; ++o) {
    const A *a = pixel(0), *b = pixel(1), *c = pixel(2);
    A* d = pixel(3);
    next_column([&](int64_t i, V last) {
      store(lanes, last, d + i);
      const V sum = load(lanes, a + i) * weights[0] + load(lanes, b + i) * weights[1] +
                    load(lanes, c + i) * weights[2] + last * weights[3];
      non_temporal ? store_non_temporal(lanes, sum, y + i) : store(lanes, sum, y + i);
    });
    ++oldest;
    if (kStride == 2 && o + 1 < s.outputs) {
      keep(pixel(3));
      ++oldest;
    }
    y += channels;
  }
}

template <int kStride, typename A>
void filter_fused_strided(const FusedRow<A>& s, A* y, bool non_temporal) {
  switch (s.count) {
    case 1: return filter_fused_unrolled<1, kStride>(s, y, non_temporal);
    case 2: return filter_fused_unrolled<2, kStride>(s, y, non_temporal);
    case 3: return filter_fused_unrolled<3, kStride>(s, y, non_temporal);
    default: return filter_fused_unrolled<4, kStride>(s, y, non_temporal);
  }
}

/* Fills y. `stride` is 1 or 2. For non-temporal stores, y is aligned to the vector. */
template <typename A>
void filter_fused(const FusedRow<A>& s, int64_t stride, A* y, bool non_temporal) {
  stride == 1 ? filter_fused_strided<1>(s, y, non_temporal)
              : filter_fused_strided<2>(s, y, non_temporal);
}

}  // namespace

#endif  // TF_SG2_UPFIRDN2D_FUSED_ROW_H_
