/* 3x3 convolution by Winograd's algorithm: the plain C interface of the CPU kernels.
 *
 *   y[n, i, j, k] = sum over a, b, c of weight[a, b, c, k] * x[n, i + a - 1, j + b - 1, c]
 *
 * Stride 1, zero padding ("same"), NHWC, float32. An output tile has `tile` x `tile` pixels. It is
 * made of an input tile of two more rows and columns, whose transform has (tile + 2)^2 positions
 * (Lavin and Gray 2015, section 4). Per position, the products over channels are one matrix product.
 *
 * The caller has checked the arguments: all sizes are at least 1, and `tile` is 2 or 4.
 */
#ifndef TF_SG2_CONV2D_CONV2D_H_
#define TF_SG2_CONV2D_CONV2D_H_

#include <stddef.h>
#include <stdint.h>

#include "../common/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t batch, height, width, in_channels, out_channels;
  int32_t tile;
  /* Whether the weights are [3, 3, out, in], and turned by 180 degrees: the convolution is then the
   * gradient by x of the convolution with these weights. */
  int32_t turned;
} TfSg2Conv2d;

/* The CPU kernels of one target. Work is divided into independent tasks. How a sum is ordered
 * depends only on the shape, so results depend neither on the division nor on threads. */
typedef struct {
  /* Output channels of one pass. The weights of a pass are transformed before its tasks run. */
  int64_t (*pass_channels)(const TfSg2Conv2d* shape);
  /* Bytes of the transformed weights of one pass. They are none, and there are no tasks of weights,
   * if `run` transforms them itself. */
  size_t (*weight_bytes)(const TfSg2Conv2d* shape);
  int64_t (*weight_tasks)(const TfSg2Conv2d* shape, int64_t channels);
  /* Transforms the weights of output channels `from` … `from` + `channels` - 1. */
  void (*transform_weights)(const TfSg2Conv2d* shape, const float* weight, float* transformed,
                            int64_t from, int64_t channels, int64_t first, int64_t last);
  /* Tasks of one pass, for this number of threads. */
  int64_t (*tasks)(const TfSg2Conv2d* shape, int64_t channels, int64_t threads);
  /* Bytes of scratch memory per thread, aligned to 64 bytes. */
  size_t (*scratch)(const TfSg2Conv2d* shape);
  void (*run)(const TfSg2Conv2d* shape, const float* x, const float* weight,
              const float* transformed, float* y, int64_t from, int64_t channels, int64_t threads,
              void* scratch, int64_t first, int64_t last);

  /* The gradient by the weights, [3, 3, in, out]. Its tasks write sums over parts of the image into
   * `sums`, of `gradient_sums` floats. Then `add_sums` adds them, one task per value of
   * [3, 3, in]. */
  int64_t (*gradient_tasks)(const TfSg2Conv2d* shape);
  size_t (*gradient_sums)(const TfSg2Conv2d* shape);
  size_t (*gradient_scratch)(const TfSg2Conv2d* shape);
  void (*gradient)(const TfSg2Conv2d* shape, const float* x, const float* dy, float* sums,
                   void* scratch, int64_t first, int64_t last);
  void (*add_sums)(const TfSg2Conv2d* shape, const float* sums, float* dweight, int64_t first,
                   int64_t last);
} TfSg2Conv2dKernels;

#ifdef __cplusplus
}
#endif

#endif /* TF_SG2_CONV2D_CONV2D_H_ */
