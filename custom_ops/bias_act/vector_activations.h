/* The activations on vectors. The CPU kernels' own: local to each build of a file, as cpu.h is. */
#ifndef TF_SG2_ACTIVATIONS_CPU_H_
#define TF_SG2_ACTIVATIONS_CPU_H_

#include "activations.h"
#include "cpu.h"

namespace {

/* The same at vectors too. */
template <Kind K, typename A>
struct VectorFunction : Function<K, A> {
  typedef typename Vector<A>::type V;
  using Function<K, A>::alpha;
  using Function<K, A>::value;
  using Function<K, A>::slope;
  using Function<K, A>::curvature;

  V value(V t) const {
    if (K == kRelu) return t <= 0 ? V{} : t;
    if (K == kLrelu) return t > 0 ? t : t * alpha;
    for (int i = 0; K == kSmooth && i < Vector<A>::kLanes; ++i) t[i] = value(A(t[i]));
    return t;
  }
  V slope(V t) const {
    const V one = V{} + A(1);
    if (K == kLinear) return one;
    if (K == kRelu) return t > 0 ? one : V{};
    if (K == kLrelu) return t > 0 ? one : one * alpha;
    for (int i = 0; i < Vector<A>::kLanes; ++i) t[i] = slope(A(t[i]));
    return t;
  }
  V curvature(V t) const {
    if (K != kSmooth) return V{};
    for (int i = 0; i < Vector<A>::kLanes; ++i) t[i] = curvature(A(t[i]));
    return t;
  }
};

}  // namespace

#endif  // TF_SG2_ACTIVATIONS_CPU_H_
