/* Upsample, filter, downsample: the plain C interface of the CPU and CUDA kernels.
 *
 * u is the input after zero insertion: u[q] = x[q / up] where `up` divides q, else 0. Outside of the
 * input it is 0.
 *
 *   y[n, i, j, c] = sum over a, b of kernel[kernel_rows - 1 - a, kernel_columns - 1 - b]
 *                   * u[n, i * down_rows + a - pad_top, j * down_columns + b - pad_left, c]
 *
 * Tensors are NHWC and contiguous. The kernel's values include gain and flip. The caller has checked
 * the arguments: factors and kernel sizes are at least 1, other sizes are at least 0.
 */
#ifndef TF_SG2_UPFIRDN2D_UPFIRDN2D_H_
#define TF_SG2_UPFIRDN2D_UPFIRDN2D_H_

#include <stddef.h>
#include <stdint.h>

#include "../common/types.h"

#define TF_SG2_MAX_TAPS 32 /* Rows or columns of a kernel. */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t type; /* TfSg2Type of x and y. Sums are float32, or float64 for float64. */
  int64_t batch, in_height, in_width, channels;
  int64_t out_height, out_width;
  int32_t up_rows, up_columns, down_rows, down_columns;
  int64_t pad_top, pad_left; /* Zeros before the upsampled input. Negative numbers crop. */
  int32_t kernel_rows, kernel_columns;
} TfSg2Upfirdn2d;

/* The CPU kernels of one target. A call is divided into independent tasks. Their number depends only
 * on the shape. */
typedef struct {
  int64_t (*tasks)(const TfSg2Upfirdn2d* shape);
  /* Bytes of scratch memory per thread, aligned to 64 bytes. */
  size_t (*scratch)(const TfSg2Upfirdn2d* shape);
  /* Runs tasks first … last - 1 in this thread. */
  void (*run)(const TfSg2Upfirdn2d* shape, const double* kernel, const void* x, void* y,
              void* scratch, int64_t first, int64_t last);
} TfSg2Upfirdn2dKernels;

/* CUDA. `kernel` is in host memory and is copied before the call returns. x and y are on the device.
 * `stream` is a cudaStream_t. Returns the cudaError_t of the launch. */
TF_SG2_API int tf_sg2_upfirdn2d_cuda(const TfSg2Upfirdn2d* shape, const double* kernel,
                                     const void* x, void* y, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* TF_SG2_UPFIRDN2D_UPFIRDN2D_H_ */
