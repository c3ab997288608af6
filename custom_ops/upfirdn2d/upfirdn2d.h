/* Upsample, filter, downsample: the plain C interface of its CPU and CUDA kernels.
 *
 * With u the input after zero insertion (u[q] = x[q / up] where up divides q, else 0; 0 outside),
 *
 *   y[n, i, j, c] = sum over a, b of kernel[kernel_rows - 1 - a, kernel_columns - 1 - b]
 *                   * u[n, i * down_rows + a - pad_top, j * down_columns + b - pad_left, c]
 *
 * Tensors are NHWC and contiguous. Gains and flips are in the kernel's values. Arguments have been
 * checked by the caller: factors and kernel sizes are 1 or more, sizes are 0 or more.
 */
#ifndef TF_SG2_UPFIRDN2D_H_
#define TF_SG2_UPFIRDN2D_H_

#include <stddef.h>
#include <stdint.h>

#include "types.h"

#define TF_SG2_MAX_TAPS 32 /* Rows or columns of a kernel. */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t type; /* TfSg2Type of x and y; sums are float32, float64 for float64. */
  int64_t batch, in_height, in_width, channels;
  int64_t out_height, out_width;
  int32_t up_rows, up_columns, down_rows, down_columns;
  int64_t pad_top, pad_left; /* Zeros before the upsampled input; negative ones crop. */
  int32_t kernel_rows, kernel_columns;
} TfSg2Upfirdn2d;

/* CPU. The work is `tasks` independent pieces, whose number follows from the shape alone; a thread
 * runs pieces first ... last - 1 with `scratch` bytes of its own, 64-byte aligned. */
TF_SG2_API int64_t tf_sg2_upfirdn2d_cpu_tasks(const TfSg2Upfirdn2d* shape);
TF_SG2_API size_t tf_sg2_upfirdn2d_cpu_scratch(const TfSg2Upfirdn2d* shape);
TF_SG2_API void tf_sg2_upfirdn2d_cpu(const TfSg2Upfirdn2d* shape, const double* kernel,
                                     const void* x, void* y, void* scratch, int64_t first,
                                     int64_t last);

/* CUDA. `kernel` lies in host memory and is copied before the call returns; x and y lie on the
 * device; `stream` is a cudaStream_t. Returns the cudaError_t of the launch. */
TF_SG2_API int tf_sg2_upfirdn2d_cuda(const TfSg2Upfirdn2d* shape, const double* kernel,
                                     const void* x, void* y, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* TF_SG2_UPFIRDN2D_H_ */
