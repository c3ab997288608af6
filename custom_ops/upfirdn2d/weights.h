/* The filter's weights, split into a column and a row where the filter is their outer product. */
#ifndef TF_SG2_UPFIRDN2D_WEIGHTS_H_
#define TF_SG2_UPFIRDN2D_WEIGHTS_H_

#include <math.h>

#include "upfirdn2d.h"

namespace {

/* kernel[a, b] = rows[a] * columns[b] if `separable`. */
template <typename A>
struct Weights {
  bool separable;
  A rows[TF_SG2_MAX_TAPS], columns[TF_SG2_MAX_TAPS];
  A kernel[TF_SG2_MAX_TAPS * TF_SG2_MAX_TAPS];
};

/* Factors an outer product through its largest entry. */
template <typename A>
void find_weights(const TfSg2Upfirdn2d& s, const double* kernel, Weights<A>* w) {
  const int64_t height = s.kernel_rows, width = s.kernel_columns;
  int64_t pivot = 0;
  for (int64_t i = 0; i < height * width; ++i) {
    if (fabs(kernel[i]) > fabs(kernel[pivot])) pivot = i;
    w->kernel[i] = static_cast<A>(kernel[i]);
  }
  const int64_t row = pivot / width, column = pivot % width;
  const double peak = kernel[pivot];
  const double root = sqrt(fabs(peak));
  w->separable = isfinite(peak);
  const double tolerance = (sizeof(A) == sizeof(double) ? 1e-15 : 1e-7) * fabs(peak);
  for (int64_t a = 0; a < height && w->separable; ++a) {
    for (int64_t b = 0; b < width && w->separable; ++b) {
      const double product =
          peak == 0 ? 0 : kernel[a * width + column] * (kernel[row * width + b] / peak);
      // A NaN makes this comparison false: such a filter is not separable.
      w->separable = fabs(product - kernel[a * width + b]) <= tolerance;
    }
  }
  for (int64_t a = 0; a < height; ++a) {
    w->rows[a] = static_cast<A>(peak == 0 ? 0 : kernel[a * width + column] / root);
  }
  for (int64_t b = 0; b < width; ++b) {
    w->columns[b] = static_cast<A>(peak == 0 ? 0 : kernel[row * width + b] / peak * root);
  }
}

}  // namespace

#endif  // TF_SG2_UPFIRDN2D_WEIGHTS_H_
