/* What the CUDA kernels share: element conversion, packs of 16 bytes, launches. CUDA 12.1 or later,
 * whose kernels take up to 32 KiB of parameters; no TensorFlow.
 */
#ifndef TF_SG2_DEVICE_CUH_
#define TF_SG2_DEVICE_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "types.h"

namespace {

constexpr int kThreads = 256;
/* More blocks than any device holds at once; each goes on until the work is done. */
constexpr int64_t kMaximumBlocks = 1 << 20;

/* Sums are float32 or better. */
template <typename T>
struct Sum {
  typedef float type;
};
template <>
struct Sum<double> {
  typedef double type;
};

__device__ inline float widen(__half value) { return __half2float(value); }
__device__ inline float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline float widen(float value) { return value; }
__device__ inline double widen(double value) { return value; }
__device__ inline void narrow(float value, __half* to) { *to = __float2half_rn(value); }
__device__ inline void narrow(float value, __nv_bfloat16* to) { *to = __float2bfloat16_rn(value); }
__device__ inline void narrow(float value, float* to) { *to = value; }
__device__ inline void narrow(double value, double* to) { *to = value; }

/* What one access moves: N elements, all sixteen bytes where N allows. */
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T values[N];
};

template <typename T>
constexpr int kPack = 16 / sizeof(T);

inline bool aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Queues `kernel` on blocks of kThreads; none for no work. Returns a cudaError_t. */
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, void* stream, Arguments... arguments) {
  if (blocks <= 0) return cudaSuccess;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks < kMaximumBlocks ? blocks : kMaximumBlocks));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(stream);
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace

#endif  // TF_SG2_DEVICE_CUH_
