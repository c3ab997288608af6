/* Scale, noise, bias, activation, gain, clamp in one pass over memory, and its derivatives: the
 * plain C interface of the CPU and CUDA kernels.
 *
 *   t = x * scale[n, c] + noise[n, p] + bias[c],   v = act(t) * gain,   y = clip(v, -clamp, clamp)
 *
 * x is [batch, pixels, channels], contiguous. A null pointer for scale, noise or bias leaves that
 * term out. Piecewise slopes are those of the right-hand side of TensorFlow's own gradients: relu
 * and lrelu take the slope of t <= 0 at 0, and a value at the clamp itself lets the gradient pass.
 * Where the clamp holds the value back, and at NaN under a clamp, dy counts as zero, even if it is
 * infinite.
 */
#ifndef TF_SG2_BIAS_ACT_H_
#define TF_SG2_BIAS_ACT_H_

#include <stddef.h>
#include <stdint.h>

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t type;       /* TfSg2Type of all tensors; arithmetic is float32, float64 for float64. */
  int32_t activation; /* TfSg2Activation */
  int64_t batch, pixels, channels;
  int64_t noise_batch; /* 1: one noise image for all samples; else batch. */
  double alpha, gain;
  double clamp; /* Negative: none. */
} TfSg2BiasAct;

/* What the function is evaluated at. */
typedef struct {
  const void* x;     /* [batch, pixels, channels] */
  const void* scale; /* [batch, channels] or null */
  const void* noise; /* [noise_batch, pixels] or null */
  const void* bias;  /* [channels] or null */
} TfSg2BiasActPoint;

/* First derivative, with g = dy * act'(t) * gain where |v| <= clamp, else 0:
 *   x = g * scale, scale = sum over p of g * x, noise = sum over c of g, bias = sum over n, p of g.
 * Null outputs are not computed; x is never null. */
typedef struct {
  void* x;     /* [batch, pixels, channels] */
  void* scale; /* [batch, channels] or null */
  void* noise; /* [batch, pixels] or null: per sample also where noise_batch is 1 */
  void* bias;  /* [channels] or null */
} TfSg2BiasActGradient;

/* Second derivative. Given the cotangents (ux, uscale, unoise [batch, pixels], ubias; null: zero)
 * of the outputs of the first, with U = ux * scale + uscale * x + unoise + ubias,
 * m = act'(t) * gain and h = dy * U * act''(t) * gain where |v| <= clamp, else 0:
 *   dy = U * m, x = h * scale + uscale * dy * m, scale = sum over p of h * x + ux * dy * m,
 *   noise = sum over c of h, bias = sum over n, p of h. */
typedef struct {
  const void* x;
  const void* scale;
  const void* noise;
  const void* bias;
} TfSg2BiasActCotangent;

/* CPU. The work is `tasks` independent pieces, whose number follows from the shape alone; threads
 * run pieces first ... last - 1, in any order, each with `scratch` bytes of its own for the order
 * of the derivative, 0 to 2. `partials`, shared by all, receives each piece's part of the sums;
 * `finish` adds them, always in the same order. Both are 64-byte aligned. */
TF_SG2_API int64_t tf_sg2_bias_act_cpu_tasks(const TfSg2BiasAct* shape);
TF_SG2_API size_t tf_sg2_bias_act_cpu_partials(const TfSg2BiasAct* shape);
TF_SG2_API size_t tf_sg2_bias_act_cpu_scratch(const TfSg2BiasAct* shape, int32_t order);
TF_SG2_API void tf_sg2_bias_act_cpu(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, void* y,
                                    void* scratch, int64_t first, int64_t last);
TF_SG2_API void tf_sg2_bias_act_gradient_cpu(const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at,
                                             const void* dy, const TfSg2BiasActGradient* out,
                                             void* partials, void* scratch, int64_t first,
                                             int64_t last);
TF_SG2_API void tf_sg2_bias_act_gradient2_cpu(const TfSg2BiasAct* shape,
                                              const TfSg2BiasActPoint* at, const void* dy,
                                              const TfSg2BiasActCotangent* u, void* out_dy,
                                              const TfSg2BiasActGradient* out, void* partials,
                                              void* scratch, int64_t first, int64_t last);
TF_SG2_API void tf_sg2_bias_act_finish_cpu(const TfSg2BiasAct* shape,
                                           const TfSg2BiasActGradient* out, const void* partials);

/* CUDA. Pointers lie on the device, `partials` holds as many bytes as asked for; sums are added in
 * a fixed order, so results do not change from run to run. Each returns a cudaError_t. */
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

#endif /* TF_SG2_BIAS_ACT_H_ */
