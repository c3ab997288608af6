/* One axis of the resampling: which inputs and taps make an output, and how that repeats. */
#ifndef TF_SG2_UPFIRDN2D_AXIS_H_
#define TF_SG2_UPFIRDN2D_AXIS_H_

#include "../common/elements.h"
#include "upfirdn2d.h"

namespace {

inline int64_t floor_divide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
inline int64_t ceil_divide(int64_t a, int64_t b) { return -floor_divide(-a, b); }

inline int64_t greatest_common_divisor(int64_t a, int64_t b) {
  while (b) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Output o reads the inputs first(o) … last(o). Those outside of 0 … in - 1 are zero. */
struct Axis {
  int64_t in, out, up, down, pad, taps;
  int64_t first(int64_t o) const { return ceil_divide(o * down - pad, up); }
  int64_t last(int64_t o) const { return floor_divide(o * down - pad + taps - 1, up); }
  /* The index of the weight by which output o multiplies input j. */
  int64_t weight(int64_t o, int64_t j) const { return taps - 1 - (j * up - (o * down - pad)); }
  /* The largest number of inputs that one output reads. */
  int64_t most() const { return divide_up(taps, up); }
};

inline Axis rows_of(const TfSg2Upfirdn2d& s) {
  return {s.in_height, s.out_height, s.up_rows, s.down_rows, s.pad_top, s.kernel_rows};
}
inline Axis columns_of(const TfSg2Upfirdn2d& s) {
  return {s.in_width, s.out_width, s.up_columns, s.down_columns, s.pad_left, s.kernel_columns};
}

/* The phases of a polyphase filter. Outputs that are `phases` apart use the same taps. Their inputs
 * are `stride` apart. */
struct Polyphase {
  int64_t phases, stride;
  bool trivial() const { return phases == 1 && stride == 1; }
};

inline Polyphase polyphase_of(const Axis& axis) {
  const int64_t common = greatest_common_divisor(axis.up, axis.down);
  return {axis.up / common, axis.down / common};
}

/* Output columns from … to - 1, and the input columns base … base + width - 1 that they read. */
struct Strip {
  int64_t from, to, base, width;
  int64_t outputs() const { return to - from; }
};

inline Strip strip_at(const Axis& columns, int64_t from, int64_t to) {
  const int64_t base = columns.first(from);
  return {from, to, base, maximum(columns.last(to - 1) - base + 1, 0)};
}

}  // namespace

#endif  // TF_SG2_UPFIRDN2D_AXIS_H_
