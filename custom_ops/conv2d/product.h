/* Matrix products in registers: the inner loops of the convolution and of its filter gradient. */
#ifndef TF_SG2_CONV2D_PRODUCT_H_
#define TF_SG2_CONV2D_PRODUCT_H_

#include "../common/vector.h"

namespace {

typedef FullVector<float> Full;
typedef Full::type Vector;
constexpr int kLanes = Full::kCount;

/* Columns of a panel: those that one call of an inner loop makes. */
constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;

/* Rows of a result that stay in registers. AVX-512 has 32 registers, the others 16. */
#if defined(__AVX512F__)
constexpr int kRows = 12, kSumRows = 8;
#else
constexpr int kRows = 6, kSumRows = 6;
#endif
/* Rows that share a base pointer, because an address takes a stride times 0, 1 or 2. */
constexpr int kRowGroup = 3;

/* out[r][k] = sum over c < depth of a[r][c] * b[c][k], for kRows rows and a panel of N vectors.
 *
 * If `adds`, it is added to `out`. The rows of `b` are contiguous. The sum is in the order of c. So
 * results do not depend on how the depth and the rows are divided. */
template <int N>
inline void multiply(bool adds, const float* a, int64_t a_stride, const float* b, int64_t depth,
                     float* out, int64_t out_stride) {
  Vector sum[kRows][N] = {};
  if (adds) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[r][n] = load(Full(), out + r * out_stride + n * kLanes);
    }
  }
  const float* groups[kRows / kRowGroup];
  for (int g = 0; g < kRows / kRowGroup; ++g) groups[g] = a + g * kRowGroup * a_stride;
  for (int64_t c = 0; c < depth; ++c, b += N * kLanes) {
    Vector columns[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) columns[n] = load(Full(), b + n * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float value = groups[r / kRowGroup][r % kRowGroup * a_stride + c];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[r][n] += value * columns[n];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(Full(), sum[r][n], out + r * out_stride + n * kLanes);
  }
}

/* sums[r][k] += sum over t < depth of a[t][r] * b[t][k], for kSumRows rows and N vectors. */
template <int N>
inline void multiply_transposed(const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                                int64_t depth, float* sums, int64_t sums_stride) {
  Vector sum[kSumRows][N];
#pragma GCC unroll 16
  for (int r = 0; r < kSumRows; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[r][n] = load(Full(), sums + r * sums_stride + n * kLanes);
  }
  for (int64_t t = 0; t < depth; ++t, a += a_stride, b += b_stride) {
    Vector columns[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) columns[n] = load(Full(), b + n * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kSumRows; ++r) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[r][n] += a[r] * columns[n];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kSumRows; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(Full(), sum[r][n], sums + r * sums_stride + n * kLanes);
  }
}

}  // namespace

#endif  // TF_SG2_CONV2D_PRODUCT_H_
