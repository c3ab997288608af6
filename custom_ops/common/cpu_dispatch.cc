// Chooses the target of the CPU kernels once, when the library is loaded.

#include "cpu_dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "types.h"

namespace tf_sg2 {
namespace {

CpuTarget choose() {
  const char* limit = getenv("TF_SG2_CPU");
  if (limit != nullptr && strcmp(limit, "base") == 0) return CpuTarget::kBase;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool no_avx512 = limit != nullptr && strcmp(limit, "avx2") == 0;
  if (!no_avx512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return CpuTarget::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CpuTarget::kAvx2;
#endif
  return CpuTarget::kBase;
}

const CpuTarget target = choose();

}  // namespace

CpuTarget cpu_target() { return target; }

}  // namespace tf_sg2

extern "C" TF_SG2_API const char* tf_sg2_cpu_target() {
  switch (tf_sg2::cpu_target()) {
    case tf_sg2::CpuTarget::kAvx512: return "AVX-512";
    case tf_sg2::CpuTarget::kAvx2: return "AVX2";
    default: return "the base instruction set";
  }
}
