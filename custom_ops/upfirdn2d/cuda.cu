// The CUDA kernels of upfirdn2d.
//
// The tiled kernel is for filters of 4 x 4 taps with up 2, down 2 or neither, and channels that fill
// 16-byte packs. A block loads the input of an output tile into shared memory once. Each thread keeps
// a few outputs in registers while it loops over its window of that input. So each pack is read once
// from shared memory for all outputs that use it.
//
// The general kernel is for all other arguments: one output per thread.

#include "upfirdn2d.h"

#include "../common/device.cuh"

namespace {

constexpr int kTaps = 4;
constexpr int kLanes = 8;                   // Adjacent packs of channels in a tile.
constexpr int kGroups = kThreads / kLanes;  // Groups of threads that divide the tile's outputs.

// A kernel's parameters. The filter is flipped: tap [a, b] is the weight of u[a, b].
template <typename A>
struct Problem {
  int64_t batch, in_height, in_width, channels, out_height, out_width;
  int64_t pad_top, pad_left;
  int up_rows, up_columns, down_rows, down_columns, rows, columns;
  A taps[TF_SG2_MAX_TAPS * TF_SG2_MAX_TAPS];
};

template <typename A>
Problem<A> problem_of(const TfSg2Upfirdn2d& s, const double* kernel) {
  Problem<A> p = {s.batch, s.in_height, s.in_width, s.channels, s.out_height, s.out_width,
                  s.pad_top, s.pad_left, s.up_rows, s.up_columns, s.down_rows, s.down_columns,
                  s.kernel_rows, s.kernel_columns, {}};
  const int count = s.kernel_rows * s.kernel_columns;
  for (int i = 0; i < count; ++i) p.taps[i] = static_cast<A>(kernel[count - 1 - i]);
  return p;
}

__host__ __device__ inline int64_t ceil_divide(int64_t a, int64_t b) {
  return a / b + (a % b > 0 ? 1 : 0);
}

// The output tile of factors U (up) and D (down). Each thread makes Rows x Columns outputs.
template <int U, int D, int Rows, int Columns, int GroupRows>
struct Tile {
  static constexpr int kUp = U, kDown = D, kRows = Rows, kColumns = Columns;
  static constexpr int kGroupRows = GroupRows, kGroupColumns = kGroups / GroupRows;
  static constexpr int kHeight = Rows * kGroupRows, kWidth = Columns * kGroupColumns;
  // The inputs of one thread's outputs, and those of the tile's.
  static constexpr int kWindowRows = (kTaps - 1 + (Rows - 1) * D) / U + 1;
  static constexpr int kWindowColumns = (kTaps - 1 + (Columns - 1) * D) / U + 1;
  static constexpr int kInRows = (kHeight - Rows) * D / U + kWindowRows;
  static constexpr int kInColumns = (kWidth - Columns) * D / U + kWindowColumns;
  static_assert(Rows * D % U == 0 && Columns * D % U == 0, "all windows begin with the same phase");
  static_assert(kInRows * kInColumns * kLanes * 16 <= 48 << 10, "fits in shared memory");
};

typedef Tile<1, 1, 4, 2, 4> Same;
typedef Tile<2, 1, 4, 2, 4> Up2;
typedef Tile<1, 2, 2, 1, 4> Down2;

// PhaseRows, PhaseColumns: the zeros of u before the first sample of an output tile's input.
template <typename T, typename S, int PhaseRows, int PhaseColumns>
__global__ void __launch_bounds__(kThreads)
    tiled(Problem<typename Accumulator<T>::type> p, const T* x, T* y) {
  typedef typename Accumulator<T>::type A;
  constexpr int N = kPack<T>;
  typedef Pack<T, N> Elements;
  __shared__ Elements in[S::kInRows][S::kInColumns][kLanes];

  const int64_t packs = p.channels / N;
  const int64_t chunks = (packs + kLanes - 1) / kLanes;
  const int64_t tiles_across = (p.out_width + S::kWidth - 1) / S::kWidth;
  const int64_t tiles_down = (p.out_height + S::kHeight - 1) / S::kHeight;
  const int64_t tiles = p.batch * tiles_down * tiles_across * chunks;
  const int thread = threadIdx.x, lane = thread % kLanes, group = thread / kLanes;
  const int row = group / S::kGroupColumns * S::kRows;
  const int column = group % S::kGroupColumns * S::kColumns;
  const int in_row = row * S::kDown / S::kUp, in_column = column * S::kDown / S::kUp;

  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t chunk = tile % chunks * kLanes;
    const int64_t left = tile / chunks % tiles_across * S::kWidth;
    const int64_t top = tile / chunks / tiles_across % tiles_down * S::kHeight;
    const int64_t sample = tile / chunks / tiles_across / tiles_down;
    const int64_t first_row = ceil_divide(top * S::kDown - p.pad_top, S::kUp);
    const int64_t first_column = ceil_divide(left * S::kDown - p.pad_left, S::kUp);

    __syncthreads();  // The previous tile no longer uses the shared memory.
    for (int i = thread; i < S::kInRows * S::kInColumns * kLanes; i += kThreads) {
      const int pixel = i / kLanes;
      const int64_t r = first_row + pixel / S::kInColumns, c = first_column + pixel % S::kInColumns;
      const bool inside = r >= 0 && r < p.in_height && c >= 0 && c < p.in_width;
      Elements elements = {};
      if (inside && chunk + lane < packs) {
        const int64_t offset = ((sample * p.in_height + r) * p.in_width + c) * packs + chunk + lane;
        elements = reinterpret_cast<const Elements*>(x)[offset];
      }
      in[pixel / S::kInColumns][pixel % S::kInColumns][lane] = elements;
    }
    __syncthreads();

    A sums[S::kRows][S::kColumns][N] = {};
#pragma unroll
    for (int i = 0; i < S::kWindowRows; ++i) {
#pragma unroll
      for (int j = 0; j < S::kWindowColumns; ++j) {
        const Elements elements = in[in_row + i][in_column + j][lane];
#pragma unroll
        for (int r = 0; r < S::kRows; ++r) {
          const int a = i * S::kUp + PhaseRows - r * S::kDown;
          if (a < 0 || a >= kTaps) continue;
#pragma unroll
          for (int c = 0; c < S::kColumns; ++c) {
            const int b = j * S::kUp + PhaseColumns - c * S::kDown;
            if (b < 0 || b >= kTaps) continue;
#pragma unroll
            for (int k = 0; k < N; ++k) {
              sums[r][c][k] += p.taps[a * kTaps + b] * widen(elements.values[k]);
            }
          }
        }
      }
    }

    if (chunk + lane >= packs) continue;
#pragma unroll
    for (int r = 0; r < S::kRows; ++r) {
#pragma unroll
      for (int c = 0; c < S::kColumns; ++c) {
        const int64_t i = top + row + r, j = left + column + c;
        if (i >= p.out_height || j >= p.out_width) continue;
        Elements result;
#pragma unroll
        for (int k = 0; k < N; ++k) narrow(sums[r][c][k], &result.values[k]);
        const int64_t offset = ((sample * p.out_height + i) * p.out_width + j) * packs + chunk + lane;
        reinterpret_cast<Elements*>(y)[offset] = result;
      }
    }
  }
}

// Any factors, filter and channels. Adjacent threads make adjacent channels.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    general(Problem<typename Accumulator<T>::type> p, const T* x, T* y) {
  typedef typename Accumulator<T>::type A;
  const int64_t count = p.batch * p.out_height * p.out_width * p.channels;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t o = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; o < count; o += step) {
    const int64_t channel = o % p.channels, pixel = o / p.channels;
    const int64_t left = pixel % p.out_width * p.down_columns - p.pad_left;
    const int64_t top = pixel / p.out_width % p.out_height * p.down_rows - p.pad_top;
    const int64_t sample = pixel / p.out_width / p.out_height;
    const int64_t first_row = ceil_divide(top, p.up_rows);
    const int64_t first_column = ceil_divide(left, p.up_columns);
    A sum = 0;
    int64_t r = first_row;
    for (int64_t a = first_row * p.up_rows - top; a < p.rows; a += p.up_rows, ++r) {
      if (r < 0 || r >= p.in_height) continue;
      const T* line = x + (sample * p.in_height + r) * p.in_width * p.channels + channel;
      int64_t c = first_column;
      for (int64_t b = first_column * p.up_columns - left; b < p.columns; b += p.up_columns, ++c) {
        if (c < 0 || c >= p.in_width) continue;
        sum += p.taps[a * p.columns + b] * widen(line[c * p.channels]);
      }
    }
    narrow(sum, y + o);
  }
}

inline int phase(int64_t pad, int up) { return static_cast<int>((pad % up + up) % up); }

template <typename T, typename S>
int run_tiled(const Problem<typename Accumulator<T>::type>& p, const T* x, T* y, void* stream) {
  constexpr int kFull = kLanes * kPack<T>;
  const int64_t tiles = p.batch * divide_up(p.out_height, S::kHeight) *
                        divide_up(p.out_width, S::kWidth) * divide_up(p.channels, kFull);
  if (S::kUp == 1) return launch(tiled<T, S, 0, 0>, tiles, stream, p, x, y);
  constexpr int kOdd = S::kUp - 1;  // 1; tiles with another `up` have returned above.
  switch (2 * phase(p.pad_top, S::kUp) + phase(p.pad_left, S::kUp)) {
    case 0: return launch(tiled<T, S, 0, 0>, tiles, stream, p, x, y);
    case 1: return launch(tiled<T, S, 0, kOdd>, tiles, stream, p, x, y);
    case 2: return launch(tiled<T, S, kOdd, 0>, tiles, stream, p, x, y);
    default: return launch(tiled<T, S, kOdd, kOdd>, tiles, stream, p, x, y);
  }
}

template <typename T>
int run(const TfSg2Upfirdn2d& s, const double* kernel, const void* from, void* to, void* stream) {
  typedef typename Accumulator<T>::type A;
  const Problem<A> p = problem_of<A>(s, kernel);
  const T* x = static_cast<const T*>(from);
  T* y = static_cast<T*>(to);
  const int64_t count = s.batch * s.out_height * s.out_width * s.channels;
  if (count == 0) return cudaSuccess;
  const bool square = s.up_rows == s.up_columns && s.down_rows == s.down_columns &&
                      s.kernel_rows == kTaps && s.kernel_columns == kTaps;
  if (square && s.channels % kPack<T> == 0 && aligned16(x) && aligned16(y)) {
    if (s.up_rows == 1 && s.down_rows == 1) return run_tiled<T, Same>(p, x, y, stream);
    if (s.up_rows == 2 && s.down_rows == 1) return run_tiled<T, Up2>(p, x, y, stream);
    if (s.up_rows == 1 && s.down_rows == 2) return run_tiled<T, Down2>(p, x, y, stream);
  }
  return launch(general<T>, divide_up(count, kThreads), stream, p, x, y);
}

}  // namespace

extern "C" int tf_sg2_upfirdn2d_cuda(const TfSg2Upfirdn2d* s, const double* kernel, const void* x,
                                     void* y, void* stream) {
  switch (s->type) {
    case TF_SG2_FLOAT16: return run<__half>(*s, kernel, x, y, stream);
    case TF_SG2_BFLOAT16: return run<__nv_bfloat16>(*s, kernel, x, y, stream);
    case TF_SG2_FLOAT32: return run<float>(*s, kernel, x, y, stream);
    default: return run<double>(*s, kernel, x, y, stream);
  }
}
