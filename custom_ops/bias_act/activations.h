/* The activations with first and second derivatives for the CPU and CUDA kernels,
 * and gain and clamp around them. */
#ifndef TF_SG2_BIAS_ACT_ACTIVATIONS_H_
#define TF_SG2_BIAS_ACT_ACTIVATIONS_H_

#include <math.h>
#include <stdint.h>

#include "bias_act.h"

/* A function of the CPU kernels, or of the CUDA kernels. */
#ifdef __CUDACC__
#define TF_SG2_FUNCTION __device__ inline
#else
#define TF_SG2_FUNCTION inline
#endif

namespace {

TF_SG2_FUNCTION float exponential(float t) { return expf(t); }
TF_SG2_FUNCTION double exponential(double t) { return exp(t); }
TF_SG2_FUNCTION float exponential_less_one(float t) { return expm1f(t); }
TF_SG2_FUNCTION double exponential_less_one(double t) { return expm1(t); }
TF_SG2_FUNCTION float hyperbolic_tangent(float t) { return tanhf(t); }
TF_SG2_FUNCTION double hyperbolic_tangent(double t) { return tanh(t); }
TF_SG2_FUNCTION float logarithm_of_one_plus(float t) { return log1pf(t); }
TF_SG2_FUNCTION double logarithm_of_one_plus(double t) { return log1p(t); }

template <typename A>
TF_SG2_FUNCTION A logistic(A t) {
  // The argument is never positive, so the exponential does not overflow.
  const A e = exponential(t < 0 ? t : -t);
  return t < 0 ? e / (1 + e) : 1 / (1 + e);
}

constexpr double kSeluScale = 1.0507009873554804934193349852946;
constexpr double kSeluScaleAlpha = 1.7580993408473768599402175208123;

/* The smooth activations. They are chosen at run time, because the choice costs little. */
template <typename A>
TF_SG2_FUNCTION A smooth_value(int32_t activation, A t) {
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
TF_SG2_FUNCTION A smooth_slope(int32_t activation, A t) {
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
TF_SG2_FUNCTION A smooth_curvature(int32_t activation, A t) {
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

/* The compiler knows the piecewise linear activations. All smooth ones are one kind. */
enum Kind { kLinear, kRelu, kLrelu, kSmooth };

TF_SG2_FUNCTION Kind kind_of(int32_t activation) {
  switch (activation) {
    case TF_SG2_LINEAR: return kLinear;
    case TF_SG2_RELU: return kRelu;
    case TF_SG2_LRELU: return kLrelu;
    default: return kSmooth;
  }
}

/* Applies `function` to each lane of a vector of A, or to one A. */
template <typename A, typename V, typename F>
TF_SG2_FUNCTION V map_lanes(V v, const F& function) {
  if constexpr (sizeof(V) == sizeof(A)) {
    return function(v);
  } else {
    for (size_t i = 0; i < sizeof(V) / sizeof(A); ++i) v[i] = function(A(v[i]));
    return v;
  }
}

/* An activation with gain and clamp, and its derivatives. V is A or a vector of A. */
template <Kind K, typename A>
struct ClampedFunction {
  static constexpr bool kCurved = K == kSmooth;

  int32_t activation;
  A alpha, gain; /* alpha: the slope of lrelu below zero. */
  bool clamps;
  A clamp; /* Infinity if there is none. */

  TF_SG2_FUNCTION explicit ClampedFunction(const TfSg2BiasAct& s)
      : activation(s.activation), alpha(static_cast<A>(s.alpha)), gain(static_cast<A>(s.gain)),
        clamps(!(s.clamp < 0)),
        clamp(clamps ? static_cast<A>(s.clamp) : static_cast<A>(INFINITY)) {}

  /* A NaN stays NaN. */
  template <typename V>
  TF_SG2_FUNCTION V value(V t) const {
    V v = unclamped(t);
    v = v > clamp ? V{} + clamp : v;
    return v < -clamp ? V{} - clamp : v;
  }

  template <typename V>
  TF_SG2_FUNCTION V slope(V t) const {
    const V one = V{} + A(1);
    if constexpr (K == kLinear) {
      return one * gain;
    } else if constexpr (K == kRelu) {
      return (t > 0 ? one : V{}) * gain;
    } else if constexpr (K == kLrelu) {
      return (t > 0 ? one : one * alpha) * gain;
    } else {
      return map_lanes<A>(t, [this](A lane) { return smooth_slope(activation, lane); }) * gain;
    }
  }

  template <typename V>
  TF_SG2_FUNCTION V curvature(V t) const {
    if constexpr (K == kSmooth) {
      return map_lanes<A>(t, [this](A lane) { return smooth_curvature(activation, lane); }) * gain;
    } else {
      return V{};
    }
  }

  /* The value that `pass` compares with the clamp. Zero, which passes, if there is no clamp. */
  template <typename V>
  TF_SG2_FUNCTION V compared(V t) const {
    return clamps ? unclamped(t) : V{};
  }

  /* The derivative at value v. Zero where the clamp limits v, and where v is NaN. */
  template <typename V>
  TF_SG2_FUNCTION V pass(V v, V derivative) const {
    derivative = v <= clamp ? derivative : V{};
    return v >= -clamp ? derivative : V{};
  }

 private:
  template <typename V>
  TF_SG2_FUNCTION V unclamped(V t) const {
    if constexpr (K == kLinear) {
      return t * gain;
    } else if constexpr (K == kRelu) {
      return (t <= 0 ? V{} : t) * gain;
    } else if constexpr (K == kLrelu) {
      return (t > 0 ? t : t * alpha) * gain;
    } else {
      return map_lanes<A>(t, [this](A lane) { return smooth_value(activation, lane); }) * gain;
    }
  }
};

/* Calls `work` with the function, whose kind the compiler knows. */
template <typename A, typename Work>
TF_SG2_FUNCTION void with_function(const TfSg2BiasAct& s, const Work& work) {
  switch (kind_of(s.activation)) {
    case kRelu: return work(ClampedFunction<kRelu, A>(s));
    case kLrelu: return work(ClampedFunction<kLrelu, A>(s));
    case kSmooth: return work(ClampedFunction<kSmooth, A>(s));
    default: return work(ClampedFunction<kLinear, A>(s));
  }
}

}  // namespace

#endif  // TF_SG2_BIAS_ACT_ACTIVATIONS_H_
