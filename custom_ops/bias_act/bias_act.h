/* Scale, noise, bias, activation, gain and clamp in one pass over memory, and the first and second
 * derivatives: the plain C interface of the CPU and CUDA kernels.
 *
 *   t = x * scale[n, c] + noise[n, p] + bias[c],   v = act(t) * gain,   y = clip(v, -clamp, clamp)
 *
 * x is [batch, pixels, channels], contiguous. A null pointer for scale, noise or bias omits that
 * term. At 0, relu and lrelu have the slope of t < 0, as in TensorFlow's gradients. A value equal to
 * the clamp passes the gradient. Where the clamp limits the value, or the value is NaN under a clamp,
 * dy counts as zero, even if it is infinite.
 */
#ifndef TF_SG2_BIAS_ACT_BIAS_ACT_H_
#define TF_SG2_BIAS_ACT_BIAS_ACT_H_

#include <stddef.h>
#include <stdint.h>

#include "../common/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum TfSg2Activation {
  TF_SG2_LINEAR = 0,
  TF_SG2_RELU = 1,
  TF_SG2_LRELU = 2,
  TF_SG2_TANH = 3,
  TF_SG2_SIGMOID = 4,
  TF_SG2_ELU = 5,
  TF_SG2_SELU = 6,
  TF_SG2_SOFTPLUS = 7,
  TF_SG2_SWISH = 8,
};

typedef struct {
  int32_t type;       /* TfSg2Type of all tensors. Arithmetic is float32, or float64 for float64. */
  int32_t activation; /* TfSg2Activation */
  int64_t batch, pixels, channels;
  int64_t noise_batch; /* 1: all samples share one noise image. Else batch. */
  double alpha, gain;
  double clamp; /* Negative: none. */
} TfSg2BiasAct;

/* The inputs of the function. */
typedef struct {
  const void* x;     /* [batch, pixels, channels] */
  const void* scale; /* [batch, channels] or null */
  const void* noise; /* [noise_batch, pixels] or null */
  const void* bias;  /* [channels] or null */
} TfSg2BiasActPoint;

/* First derivative, with g = dy * act'(t) * gain where |v| <= clamp, else 0:
 *   x = g * scale, scale = sum over p of g * x, noise = sum over c of g, bias = sum over n, p of g.
 * Null outputs are not computed. x is never null. */
typedef struct {
  void* x;     /* [batch, pixels, channels] */
  void* scale; /* [batch, channels] or null */
  void* noise; /* [batch, pixels] or null: one value per sample even if noise_batch is 1 */
  void* bias;  /* [channels] or null */
} TfSg2BiasActGradient;

/* Second derivative. The cotangents (ux, uscale, unoise [batch, pixels], ubias; null: zero) belong to
 * the outputs of the first derivative. With U = ux * scale + uscale * x + unoise + ubias,
 * m = act'(t) * gain and h = dy * U * act''(t) * gain where |v| <= clamp, else 0:
 *   dy = U * m, x = h * scale + uscale * dy * m, scale = sum over p of h * x + ux * dy * m,
 *   noise = sum over c of h, bias = sum over n, p of h. */
typedef struct {
  const void* x;
  const void* scale;
  const void* noise;
  const void* bias;
} TfSg2BiasActCotangent;

/* The CPU kernels of one target. A call is divided into independent tasks. Their number depends only
 * on the shape. A thread runs tasks first … last - 1, in any order, with scratch memory of its own.
 * `partials` is shared by all threads and receives the partial sums of each task. `finish` adds them,
 * always in the same order. Both are aligned to 64 bytes. */
typedef struct {
  int64_t (*tasks)(const TfSg2BiasAct* shape);
  size_t (*partials)(const TfSg2BiasAct* shape);               /* Bytes. */
  size_t (*scratch)(const TfSg2BiasAct* shape, int32_t order); /* Bytes; derivatives 0 to 2. */
  void (*forward)(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, void* y, void* scratch,
                  int64_t first, int64_t last);
  void (*gradient)(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, const void* dy,
                   const TfSg2BiasActGradient* out, void* partials, void* scratch, int64_t first,
                   int64_t last);
  void (*gradient2)(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, const void* dy,
                    const TfSg2BiasActCotangent* u, void* out_dy, const TfSg2BiasActGradient* out,
                    void* partials, void* scratch, int64_t first, int64_t last);
  void (*finish)(const TfSg2BiasAct* shape, const TfSg2BiasActGradient* out, const void* partials);
} TfSg2BiasActKernels;

/* CUDA. Pointers are on the device. `partials` has the number of bytes that the first function
 * returns. Sums are added in a fixed order, so results repeat bit for bit. The other functions return
 * a cudaError_t. */
TF_SG2_API size_t tf_sg2_bias_act_cuda_partials(const TfSg2BiasAct* shape);
TF_SG2_API int tf_sg2_bias_act_cuda(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, void* y,
                                    void* stream);
TF_SG2_API int tf_sg2_bias_act_gradient_cuda(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at,
                                             const void* dy, const TfSg2BiasActGradient* out,
                                             void* partials, void* stream);
TF_SG2_API int tf_sg2_bias_act_gradient2_cuda(const TfSg2BiasAct* shape,
                                              const TfSg2BiasActPoint* at, const void* dy,
                                              const TfSg2BiasActCotangent* u, void* out_dy,
                                              const TfSg2BiasActGradient* out, void* partials,
                                              void* stream);

#ifdef __cplusplus
}
#endif

#endif /* TF_SG2_BIAS_ACT_BIAS_ACT_H_ */
