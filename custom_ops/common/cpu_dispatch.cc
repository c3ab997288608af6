// Picks, once, the build of the CPU kernels that this processor runs best.

#include <stdlib.h>
#include <string.h>

#include "bias_act.h"
#include "upfirdn2d.h"

namespace {

enum Target { kBase, kAvx2, kAvx512 };

// TF_SG2_CPU=base or avx2 keeps to less than the processor has: for tests.
Target choose() {
  const char* wanted = getenv("TF_SG2_CPU");
  if (wanted != nullptr && strcmp(wanted, "base") == 0) return kBase;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2_at_most = wanted != nullptr && strcmp(wanted, "avx2") == 0;
  if (!avx2_at_most && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kAvx2;
#endif
  return kBase;
}

const Target target = choose();

}  // namespace

#if defined(__x86_64__)
#define TF_SG2_DISPATCH(result, name, parameters, arguments) \
  extern "C" result name##_base parameters;                  \
  extern "C" result name##_avx2 parameters;                  \
  extern "C" result name##_avx512 parameters;                \
  extern "C" result name parameters {                        \
    if (target == kAvx512) return name##_avx512 arguments;   \
    if (target == kAvx2) return name##_avx2 arguments;       \
    return name##_base arguments;                            \
  }
#else
#define TF_SG2_DISPATCH(result, name, parameters, arguments) \
  extern "C" result name##_base parameters;                  \
  extern "C" result name parameters { return name##_base arguments; }
#endif

extern "C" TF_SG2_API const char* tf_sg2_cpu_target() {
  return target == kAvx512 ? "AVX-512" : target == kAvx2 ? "AVX2" : "the base instruction set";
}

TF_SG2_DISPATCH(int64_t, tf_sg2_upfirdn2d_cpu_tasks, (const TfSg2Upfirdn2d* shape), (shape))
TF_SG2_DISPATCH(size_t, tf_sg2_upfirdn2d_cpu_scratch, (const TfSg2Upfirdn2d* shape), (shape))
TF_SG2_DISPATCH(void, tf_sg2_upfirdn2d_cpu,
                (const TfSg2Upfirdn2d* shape, const double* kernel, const void* x, void* y,
                 void* scratch, int64_t first, int64_t last),
                (shape, kernel, x, y, scratch, first, last))

TF_SG2_DISPATCH(int64_t, tf_sg2_bias_act_cpu_tasks, (const TfSg2BiasAct* shape), (shape))
TF_SG2_DISPATCH(size_t, tf_sg2_bias_act_cpu_partials, (const TfSg2BiasAct* shape), (shape))
TF_SG2_DISPATCH(size_t, tf_sg2_bias_act_cpu_scratch, (const TfSg2BiasAct* shape, int32_t order),
                (shape, order))
TF_SG2_DISPATCH(void, tf_sg2_bias_act_cpu,
                (const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, void* y, void* scratch,
                 int64_t first, int64_t last),
                (shape, at, y, scratch, first, last))
TF_SG2_DISPATCH(void, tf_sg2_bias_act_gradient_cpu,
                (const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, const void* dy,
                 const TfSg2BiasActGradient* out, void* partials, void* scratch, int64_t first,
                 int64_t last),
                (shape, at, dy, out, partials, scratch, first, last))
TF_SG2_DISPATCH(void, tf_sg2_bias_act_gradient2_cpu,
                (const TfSg2BiasAct* shape, const TfSg2BiasActPoint* at, const void* dy,
                 const TfSg2BiasActCotangent* u, void* out_dy, const TfSg2BiasActGradient* out,
                 void* partials, void* scratch, int64_t first, int64_t last),
                (shape, at, dy, u, out_dy, out, partials, scratch, first, last))
TF_SG2_DISPATCH(void, tf_sg2_bias_act_finish_cpu,
                (const TfSg2BiasAct* shape, const TfSg2BiasActGradient* out, const void* partials),
                (shape, out, partials))
