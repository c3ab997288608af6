/* The activations on numbers and on vectors of them, with first and second derivatives. The CPU
 * kernels' own: include it after cpu.h. */
#ifndef TF_SG2_ACTIVATIONS_H_
#define TF_SG2_ACTIVATIONS_H_

#include <math.h>

#include "cpu.h"

namespace {

inline float exponential(float t) { return expf(t); }
inline double exponential(double t) { return exp(t); }
inline float exponential_less_one(float t) { return expm1f(t); }
inline double exponential_less_one(double t) { return expm1(t); }
inline float hyperbolic_tangent(float t) { return tanhf(t); }
inline double hyperbolic_tangent(double t) { return tanh(t); }
inline float logarithm_of_one_plus(float t) { return log1pf(t); }
inline double logarithm_of_one_plus(double t) { return log1p(t); }

template <typename A>
inline A logistic(A t) {
  // Either branch keeps the exponential from overflowing.
  const A e = exponential(t < 0 ? t : -t);
  return t < 0 ? e / (1 + e) : 1 / (1 + e);
}

constexpr double kSeluScale = 1.0507009873554804934193349852946;
constexpr double kSeluScaleAlpha = 1.7580993408473768599402175208123;

/* value, slope and curvature of activation K at t; `alpha` is the slope of lrelu below zero. */
template <int K, typename A>
struct Activation {
  /* Whether the curvature is zero wherever it exists. */
  static constexpr bool kPiecewise = K == TF_SG2_LINEAR || K == TF_SG2_RELU || K == TF_SG2_LRELU;

  static A value(A t, A alpha) {
    switch (K) {
      case TF_SG2_RELU: return t <= 0 ? 0 : t;
      case TF_SG2_LRELU: return t > 0 ? t : t * alpha;
      case TF_SG2_TANH: return hyperbolic_tangent(t);
      case TF_SG2_SIGMOID: return logistic(t);
      case TF_SG2_ELU: return t < 0 ? exponential_less_one(t) : t;
      case TF_SG2_SELU:
        return t < 0 ? A(kSeluScaleAlpha) * exponential_less_one(t) : A(kSeluScale) * t;
      case TF_SG2_SOFTPLUS: {
        const A tail = logarithm_of_one_plus(exponential(t < 0 ? t : -t));
        return t < 0 ? tail : t + tail;
      }
      case TF_SG2_SWISH: return t * logistic(t);
      default: return t;
    }
  }

  static A slope(A t, A alpha) {
    switch (K) {
      case TF_SG2_RELU: return t > 0 ? 1 : 0;
      case TF_SG2_LRELU: return t > 0 ? 1 : alpha;
      case TF_SG2_TANH: {
        const A h = hyperbolic_tangent(t);
        return 1 - h * h;
      }
      case TF_SG2_SIGMOID: {
        const A s = logistic(t);
        return s * (1 - s);
      }
      case TF_SG2_ELU: return t < 0 ? exponential(t) : 1;
      case TF_SG2_SELU: return t < 0 ? A(kSeluScaleAlpha) * exponential(t) : A(kSeluScale);
      case TF_SG2_SOFTPLUS: return logistic(t);
      case TF_SG2_SWISH: {
        const A s = logistic(t);
        return s * (1 + t * (1 - s));
      }
      default: return 1;
    }
  }

  static A curvature(A t) {
    switch (K) {
      case TF_SG2_TANH: {
        const A h = hyperbolic_tangent(t);
        return -2 * h * (1 - h * h);
      }
      case TF_SG2_SIGMOID: {
        const A s = logistic(t);
        return s * (1 - s) * (1 - 2 * s);
      }
      case TF_SG2_ELU: return t < 0 ? exponential(t) : 0;
      case TF_SG2_SELU: return t < 0 ? A(kSeluScaleAlpha) * exponential(t) : 0;
      case TF_SG2_SOFTPLUS: {
        const A s = logistic(t);
        return s * (1 - s);
      }
      case TF_SG2_SWISH: {
        const A s = logistic(t);
        return s * (1 - s) * (2 + t * (1 - 2 * s));
      }
      default: return 0;
    }
  }

  typedef typename Vector<A>::type V;

  static V values(V t, A alpha) {
    if (K == TF_SG2_LINEAR) return t;
    if (K == TF_SG2_RELU) return t <= 0 ? V{} : t;
    if (K == TF_SG2_LRELU) return t > 0 ? t : t * alpha;
    for (int i = 0; i < Vector<A>::kLanes; ++i) t[i] = value(t[i], alpha);
    return t;
  }

  static V slopes(V t, A alpha) {
    const V one = V{} + A(1);
    if (K == TF_SG2_LINEAR) return one;
    if (K == TF_SG2_RELU) return t > 0 ? one : V{};
    if (K == TF_SG2_LRELU) return t > 0 ? one : one * alpha;
    for (int i = 0; i < Vector<A>::kLanes; ++i) t[i] = slope(t[i], alpha);
    return t;
  }

  static V curvatures(V t) {
    for (int i = 0; i < Vector<A>::kLanes; ++i) t[i] = curvature(t[i]);
    return t;
  }
};

}  // namespace

#endif  // TF_SG2_ACTIVATIONS_H_
