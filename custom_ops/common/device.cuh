/* Common parts of the CUDA kernels: element conversion, packs of 16 bytes, launches. No TensorFlow.
 *
 * Needs CUDA 12.1 or later, because kernels have up to 32 KiB of parameters.
 */
#ifndef TF_SG2_COMMON_DEVICE_CUH_
#define TF_SG2_COMMON_DEVICE_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "types.h"

namespace {

constexpr int kThreads = 256;
/* More blocks than any device runs at once. Each block loops until the work is done. */
constexpr int64_t kMaximumBlocks = 1 << 20;

/* The type in which elements of type T are computed and summed. */
template <typename T>
struct Accumulator {
  typedef float type;
};
template <>
struct Accumulator<double> {
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

/* N elements that one access reads or writes: 16 bytes if N is kPack<T>. */
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T values[N];
};

template <typename T>
constexpr int kPack = 16 / sizeof(T);

inline bool aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Launches `kernel` with blocks of kThreads, or not at all without work. Returns a cudaError_t. */
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

#endif  // TF_SG2_COMMON_DEVICE_CUH_
