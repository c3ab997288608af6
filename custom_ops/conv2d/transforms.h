/* The transforms of Winograd's algorithm F(M x M, 3 x 3), one dimension at a time.
 *
 * F(2, 3) has the points 0, 1, -1 and infinity, F(4, 3) also 2 and -2 (Lavin and Gray 2015, sections
 * 4.1 and 4.3). Each function transforms one row or column of a tile. A two-dimensional transform
 * applies it to all columns, then to all rows. Elements are vectors over channels, or single floats.
 */
#ifndef TF_SG2_CONV2D_TRANSFORMS_H_
#define TF_SG2_CONV2D_TRANSFORMS_H_

#include "../common/vector.h"

namespace {

template <int M>
struct Transform;

template <>
struct Transform<2> {
  static constexpr int kPositions = 4;

  /* B^T d: an input tile. */
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void input(const V* d, V* out) {
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
  }
  /* G g: weights. */
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void weight(const V* g, V* out) {
    const V even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    out[0] = g[0];
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = g[2];
  }
  /* A^T m: an output tile. */
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void output(const V* m, V* out) {
    out[0] = m[0] + m[1] + m[2];
    out[1] = m[1] - m[2] - m[3];
  }
  /* A d: the gradient of an output tile. */
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void output_gradient(const V* d, V* out) {
    out[0] = d[0];
    out[1] = d[0] + d[1];
    out[2] = d[0] - d[1];
    out[3] = -d[1];
  }
  /* G^T u: the gradient of weights. */
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void weight_gradient(const V* u, V* out) {
    const V even = 0.5f * (u[1] + u[2]);
    out[0] = u[0] + even;
    out[1] = 0.5f * (u[1] - u[2]);
    out[2] = even + u[3];
  }
};

template <>
struct Transform<4> {
  static constexpr int kPositions = 6;

  template <typename V>
  static TF_SG2_ALWAYS_INLINE void input(const V* d, V* out) {
    const V a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1];
    const V e = d[4] - d[2], f = 2.0f * (d[3] - d[1]);
    out[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
    out[1] = a + b;
    out[2] = a - b;
    out[3] = e + f;
    out[4] = e - f;
    out[5] = 4.0f * d[1] - 5.0f * d[3] + d[5];
  }
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void weight(const V* g, V* out) {
    const V a = (g[0] + g[2]) * (-1.0f / 6), b = g[1] * (-1.0f / 6);
    const V e = g[0] * (1.0f / 24) + g[2] * (1.0f / 6), f = g[1] * (1.0f / 12);
    out[0] = 0.25f * g[0];
    out[1] = a + b;
    out[2] = a - b;
    out[3] = e + f;
    out[4] = e - f;
    out[5] = g[2];
  }
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void output(const V* m, V* out) {
    const V a = m[1] + m[2], b = m[1] - m[2], e = m[3] + m[4], f = m[3] - m[4];
    out[0] = m[0] + a + e;
    out[1] = b + 2.0f * f;
    out[2] = a + 4.0f * e;
    out[3] = b + 8.0f * f + m[5];
  }
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void output_gradient(const V* d, V* out) {
    const V a = d[0] + d[2], b = d[1] + d[3];
    const V e = d[0] + 4.0f * d[2], f = 2.0f * d[1] + 8.0f * d[3];
    out[0] = d[0];
    out[1] = a + b;
    out[2] = a - b;
    out[3] = e + f;
    out[4] = e - f;
    out[5] = d[3];
  }
  template <typename V>
  static TF_SG2_ALWAYS_INLINE void weight_gradient(const V* u, V* out) {
    const V a = (u[1] + u[2]) * (-1.0f / 6), e = u[3] + u[4];
    out[0] = 0.25f * u[0] + a + e * (1.0f / 24);
    out[1] = (u[2] - u[1]) * (1.0f / 6) + (u[3] - u[4]) * (1.0f / 12);
    out[2] = a + e * (1.0f / 6) + u[5];
  }
};

/* Transforms a square of Rows x Rows elements to Out x Out: columns first, then rows. */
template <int Rows, int Out, typename V, typename OneDimension>
TF_SG2_ALWAYS_INLINE void transform_square(const V (&in)[Rows][Rows], V (&out)[Out][Out],
                                           const OneDimension& transform) {
  V half[Out][Rows];
#pragma GCC unroll 6
  for (int j = 0; j < Rows; ++j) {
    V column[Rows], done[Out];
#pragma GCC unroll 6
    for (int i = 0; i < Rows; ++i) column[i] = in[i][j];
    transform(column, done);
#pragma GCC unroll 6
    for (int i = 0; i < Out; ++i) half[i][j] = done[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < Out; ++i) transform(half[i], out[i]);
}

}  // namespace

#endif  // TF_SG2_CONV2D_TRANSFORMS_H_
