/* The activations on numbers, with first and second derivatives, for the CPU and CUDA kernels. */
#ifndef TF_SG2_ACTIVATIONS_H_
#define TF_SG2_ACTIVATIONS_H_

#include <math.h>
#include <stdint.h>

#include "types.h"

#ifdef __CUDACC__
#define TF_SG2_HOST_DEVICE __host__ __device__ inline
#else
#define TF_SG2_HOST_DEVICE inline
#endif

namespace {

TF_SG2_HOST_DEVICE float exponential(float t) { return expf(t); }
TF_SG2_HOST_DEVICE double exponential(double t) { return exp(t); }
TF_SG2_HOST_DEVICE float exponential_less_one(float t) { return expm1f(t); }
TF_SG2_HOST_DEVICE double exponential_less_one(double t) { return expm1(t); }
TF_SG2_HOST_DEVICE float hyperbolic_tangent(float t) { return tanhf(t); }
TF_SG2_HOST_DEVICE double hyperbolic_tangent(double t) { return tanh(t); }
TF_SG2_HOST_DEVICE float logarithm_of_one_plus(float t) { return log1pf(t); }
TF_SG2_HOST_DEVICE double logarithm_of_one_plus(double t) { return log1p(t); }

template <typename A>
TF_SG2_HOST_DEVICE A logistic(A t) {
  // Either branch keeps the exponential from overflowing.
  const A e = exponential(t < 0 ? t : -t);
  return t < 0 ? e / (1 + e) : 1 / (1 + e);
}

constexpr double kSeluScale = 1.0507009873554804934193349852946;
constexpr double kSeluScaleAlpha = 1.7580993408473768599402175208123;

/* The smooth activations, chosen at run time: their cost hides that of the choice. */
template <typename A>
TF_SG2_HOST_DEVICE A smooth_value(int32_t activation, A t) {
  switch (activation) {
    case TF_SG2_TANH: return hyperbolic_tangent(t);
    case TF_SG2_SIGMOID: return logistic(t);
    case TF_SG2_ELU: return t < 0 ? exponential_less_one(t) : t;
    case TF_SG2_SELU:
      return t < 0 ? A(kSeluScaleAlpha) * exponential_less_one(t) : A(kSeluScale) * t;
    case TF_SG2_SOFTPLUS: {
      const A tail = logarithm_of_one_plus(exponential(t < 0 ? t : -t));
      return t < 0 ? tail : t + tail;
    }
    default: return t * logistic(t);  // swish
  }
}

template <typename A>
TF_SG2_HOST_DEVICE A smooth_slope(int32_t activation, A t) {
  switch (activation) {
    case TF_SG2_TANH: {
      const A h = hyperbolic_tangent(t);
      return 1 - h * h;
    }
    case TF_SG2_ELU: return t < 0 ? exponential(t) : 1;
    case TF_SG2_SELU: return t < 0 ? A(kSeluScaleAlpha) * exponential(t) : A(kSeluScale);
    default: break;
  }
  const A s = logistic(t);
  switch (activation) {
    case TF_SG2_SIGMOID: return s * (1 - s);
    case TF_SG2_SOFTPLUS: return s;
    default: return s * (1 + t * (1 - s));  // swish
  }
}

template <typename A>
TF_SG2_HOST_DEVICE A smooth_curvature(int32_t activation, A t) {
  switch (activation) {
    case TF_SG2_TANH: {
      const A h = hyperbolic_tangent(t);
      return -2 * h * (1 - h * h);
    }
    case TF_SG2_ELU: return t < 0 ? exponential(t) : 0;
    case TF_SG2_SELU: return t < 0 ? A(kSeluScaleAlpha) * exponential(t) : 0;
    default: break;
  }
  const A s = logistic(t);
  switch (activation) {
    case TF_SG2_SIGMOID: return s * (1 - s) * (1 - 2 * s);
    case TF_SG2_SOFTPLUS: return s * (1 - s);
    default: return s * (1 - s) * (2 + t * (1 - 2 * s));  // swish
  }
}

/* Slopes of straight pieces are known to the compiler; all the rest is one kind. */
enum Kind { kLinear, kRelu, kLrelu, kSmooth };

TF_SG2_HOST_DEVICE Kind kind_of(int32_t activation) {
  switch (activation) {
    case TF_SG2_LINEAR: return kLinear;
    case TF_SG2_RELU: return kRelu;
    case TF_SG2_LRELU: return kLrelu;
    default: return kSmooth;
  }
}

/* Value, slope and curvature at numbers; `alpha` is the slope of lrelu below zero. */
template <Kind K, typename A>
struct Function {
  int32_t activation;
  A alpha;

  TF_SG2_HOST_DEVICE A value(A t) const {
    switch (K) {
      case kRelu: return t <= 0 ? 0 : t;
      case kLrelu: return t > 0 ? t : t * alpha;
      case kSmooth: return smooth_value(activation, t);
      default: return t;
    }
  }
  TF_SG2_HOST_DEVICE A slope(A t) const {
    switch (K) {
      case kRelu: return t > 0 ? 1 : 0;
      case kLrelu: return t > 0 ? 1 : alpha;
      case kSmooth: return smooth_slope(activation, t);
      default: return 1;
    }
  }
  TF_SG2_HOST_DEVICE A curvature(A t) const { return K == kSmooth ? smooth_curvature(activation, t) : 0; }
};

}  // namespace

#endif  // TF_SG2_ACTIVATIONS_H_
