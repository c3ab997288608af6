/* A CUDA device that is emulated on the host, for tests.
 *
 * It has the parts of CUDA that the kernels of custom_ops use. So g++ compiles them, and tests check
 * their results without a GPU. The threads of a block are fibers. Each runs up to the next barrier,
 * then the next one runs, in either order. So a missing barrier changes the results. The emulation
 * says nothing about speed, memory spaces or divergent warps.
 */
#ifndef TF_SG2_CUDA_EMULATION_H_
#define TF_SG2_CUDA_EMULATION_H_

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <vector>

#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
typedef void* cudaStream_t;
typedef int cudaError_t;
constexpr int cudaSuccess = 0;
constexpr int cudaErrorLaunchFailure = 719;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  cudaStream_t stream;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_emulation {

constexpr size_t kStackBytes = 256 << 10;

inline bool backwards = false;    // The order of the fibers between barriers.
inline unsigned maximum_grid = 0; // Limits the blocks of a grid, so that each loops several times.
inline double exchanged[1024];    // The values of a shuffle.

inline ucontext_t scheduler;
inline std::vector<ucontext_t> fibers;
inline std::vector<std::vector<char>> stacks;
inline std::vector<bool> done;
inline unsigned current = 0;
inline std::function<void()> body;

inline void fiber() {
  body();
  done[current] = true;
  swapcontext(&fibers[current], &scheduler);
}

inline void barrier() { swapcontext(&fibers[current], &scheduler); }

/* Runs one block. Returns false if some threads ended while others wait at a barrier. */
inline bool run_block(unsigned threads) {
  if (stacks.size() < threads) {
    stacks.resize(threads, std::vector<char>(kStackBytes));
    fibers.resize(threads);
  }
  done.assign(threads, false);
  for (unsigned t = 0; t < threads; ++t) {
    getcontext(&fibers[t]);
    fibers[t].uc_stack.ss_sp = stacks[t].data();
    fibers[t].uc_stack.ss_size = kStackBytes;
    fibers[t].uc_link = nullptr;
    makecontext(&fibers[t], fiber, 0);
  }
  for (;;) {
    unsigned ended = 0;
    for (unsigned i = 0; i < threads; ++i) {
      current = backwards ? threads - 1 - i : i;
      threadIdx = dim3(current);
      swapcontext(&scheduler, &fibers[current]);
      ended += done[current];
    }
    if (ended == threads) return true;
    if (ended) return false;
  }
}

}  // namespace cuda_emulation

inline void __syncthreads() { cuda_emulation::barrier(); }

/* All threads of the block must call it. CUDA requires only those of the warp. */
template <typename A>
A __shfl_down_sync(unsigned, A value, int distance, int width) {
  const unsigned thread = threadIdx.x;
  cuda_emulation::exchanged[thread] = value;
  cuda_emulation::barrier();
  const bool inside = thread % width + distance < unsigned(width);
  const A other = inside ? A(cuda_emulation::exchanged[thread + distance]) : value;
  cuda_emulation::barrier();
  return other;
}

template <typename... Parameters, typename... Arguments>
int cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                       Arguments... arguments) {
  gridDim = config->gridDim;
  if (cuda_emulation::maximum_grid && gridDim.x > cuda_emulation::maximum_grid) {
    gridDim.x = cuda_emulation::maximum_grid;
  }
  blockDim = config->blockDim;
  cuda_emulation::body = [=] { kernel(arguments...); };
  for (unsigned block = 0; block < gridDim.x; ++block) {
    blockIdx = dim3(block);
    if (!cuda_emulation::run_block(blockDim.x)) return cudaErrorLaunchFailure;
  }
  return cudaSuccess;
}

inline int cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  memset(to, value, bytes);
  return cudaSuccess;
}

#endif /* TF_SG2_CUDA_EMULATION_H_ */
