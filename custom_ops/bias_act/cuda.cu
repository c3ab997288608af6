// The CUDA kernels of bias_act and of its first and second derivatives: one pass over memory each.
// Sums have two stages of fixed order, without atomics, so results repeat bit for bit. First, each
// block sums over its tile of the pixels. Then the partial sums of the tiles are added.

#include "bias_act.h"

#include "../common/device.cuh"
#include "activations.h"

namespace {

constexpr int kWarp = 32;
// Pixels per tile. The minimum keeps the partial sums small beside the input. The maximum lets the
// noise sums fit in shared memory. Between the two, there are about 512 tiles per sample.
constexpr int64_t kMinimumPixels = 64;
constexpr int64_t kMaximumPixels = 1024;
constexpr int64_t kTilesPerSample = 512;
// Channels of a block that adds partial sums, and tiles that it adds at a time.
constexpr int kFinishLanes = 32;
constexpr int kFinishGroups = kThreads / kFinishLanes;

int64_t pixels_per_tile(const TfSg2BiasAct& s) {
  const int64_t pixels = divide_up(s.pixels, kTilesPerSample);
  return pixels < kMinimumPixels ? kMinimumPixels : pixels > kMaximumPixels ? kMaximumPixels : pixels;
}

int64_t tiles_per_sample(const TfSg2BiasAct& s) { return divide_up(s.pixels, pixels_per_tile(s)); }

// Index has 32 bits if that is enough for all elements, because its divisions are faster.
template <typename T, int N, typename Index>
__global__ void __launch_bounds__(kThreads)
    forward(TfSg2BiasAct s, TfSg2BiasActPoint at, T* y) {
  typedef typename Accumulator<T>::type A;
  typedef Pack<T, N> Elements;
  const T* scale = static_cast<const T*>(at.scale);
  const T* noise = static_cast<const T*>(at.noise);
  const T* bias = static_cast<const T*>(at.bias);
  const Index packs = static_cast<Index>(s.channels / N), pixels = static_cast<Index>(s.pixels);
  const Index count = static_cast<Index>(s.batch) * pixels * packs;
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  with_function<A>(s, [&](auto f) {
    for (Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
      const Index row = i / packs, channel = (i - row * packs) * N, sample = row / pixels;
      const Elements x = static_cast<const Elements*>(at.x)[i];
      A shift = 0;
      if (noise) shift = widen(noise[s.noise_batch == 1 ? row - sample * pixels : row]);
      Elements result;
#pragma unroll
      for (int k = 0; k < N; ++k) {
        A t = widen(x.values[k]);
        if (scale) t *= widen(scale[sample * static_cast<Index>(s.channels) + channel + k]);
        if (bias) t += widen(bias[channel + k]);
        narrow(f.value(t + shift), &result.values[k]);
      }
      reinterpret_cast<Elements*>(y)[i] = result;
    }
  });
}

// What a thread of a derivative's kernel reads and writes per pack.
template <typename T, int N, typename F>
struct Derivative {
  typedef typename Accumulator<T>::type A;
  typedef Pack<T, N> Elements;
  const F f;
  const Elements *x, *dy, *ux;  // ux: null for zeros.
  Elements *out_dy, *out_x;     // out_dy: null in the first derivative.
  bool scaled;
  // The values of the thread's channels.
  A scale[N], bias[N], scale_cotangent[N], bias_cotangent[N];
  A scale_sum[N], bias_sum[N];

  // Returns the sum over the pack's channels.
  __device__ A first(int64_t i, A noise) {
    const Elements x_i = x[i], dy_i = dy[i];
    Elements result;
    A total = 0;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const A value = widen(x_i.values[k]);
      const A t = value * scale[k] + bias[k] + noise;
      const A g = f.pass(f.compared(t), A(widen(dy_i.values[k]))) * f.slope(t);
      narrow(g * scale[k], &result.values[k]);
      scale_sum[k] += g * value;
      bias_sum[k] += g;
      total += g;
    }
    out_x[i] = result;
    return total;
  }

  __device__ A second(int64_t i, A noise, A shift) {
    const Elements x_i = x[i], dy_i = dy[i];
    Elements cotangents = {}, to_dy, to_x;
    if (ux) cotangents = ux[i];
    A total = 0;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const A value = widen(x_i.values[k]), u = widen(cotangents.values[k]);
      const A t = value * scale[k] + bias[k] + noise, m = f.slope(t), v = f.compared(t);
      const A d = f.pass(v, A(widen(dy_i.values[k])));
      const A tangent = u * scale[k] + scale_cotangent[k] * value + bias_cotangent[k] + shift;
      const A h = d * tangent * f.curvature(t);
      narrow(f.pass(v, tangent * m), &to_dy.values[k]);
      narrow(h * scale[k] + scale_cotangent[k] * d * m, &to_x.values[k]);
      scale_sum[k] += h * value + u * d * m;
      bias_sum[k] += h;
      total += h;
    }
    out_dy[i] = to_dy;
    out_x[i] = to_x;
    return total;
  }
};

// One tile of one sample's pixels per block. `lanes` threads, a power of two up to a warp, divide the
// channels, and groups of them divide the pixels. All threads make the same iterations, because the
// shuffles need them all.
template <typename T, int N, bool kSecond>
__global__ void __launch_bounds__(kThreads)
    derivative(TfSg2BiasAct s, TfSg2BiasActPoint at, const T* dy, TfSg2BiasActCotangent u, T* out_dy,
               TfSg2BiasActGradient out, typename Accumulator<T>::type* partials, int lanes,
               int64_t tile_pixels) {
  typedef typename Accumulator<T>::type A;
  typedef Pack<T, N> Elements;
  __shared__ A noise_sums[kMaximumPixels];
  __shared__ A sums[2][kThreads][N];
  const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = kThreads / lanes;
  const int64_t packs = s.channels / N, tiles = (s.pixels + tile_pixels - 1) / tile_pixels;
  const T* noise = static_cast<const T*>(at.noise);
  const T* unoise = static_cast<const T*>(u.noise);

  with_function<A>(s, [&](auto f) {
    Derivative<T, N, decltype(f)> d = {f,
                                       static_cast<const Elements*>(at.x),
                                       reinterpret_cast<const Elements*>(dy),
                                       static_cast<const Elements*>(u.x),
                                       reinterpret_cast<Elements*>(out_dy),
                                       static_cast<Elements*>(out.x),
                                       at.scale != nullptr};
    for (int64_t tile = blockIdx.x; tile < s.batch * tiles; tile += gridDim.x) {
      const int64_t sample = tile / tiles, from = tile % tiles * tile_pixels;
      const int64_t pixels = s.pixels - from < tile_pixels ? s.pixels - from : tile_pixels;
      for (int64_t p = threadIdx.x; p < pixels; p += kThreads) noise_sums[p] = 0;
      __syncthreads();
      for (int64_t chunk = 0; chunk < packs; chunk += lanes) {
        const bool active = chunk + lane < packs;
        const int64_t channel = active ? (chunk + lane) * N : 0;
        const auto at_channel = [&](const void* values, int64_t offset, A absent, int k) {
          return values ? widen(static_cast<const T*>(values)[offset + channel + k]) : absent;
        };
        for (int k = 0; k < N; ++k) {
          d.scale[k] = at_channel(at.scale, sample * s.channels, 1, k);
          d.bias[k] = at_channel(at.bias, 0, 0, k);
          d.scale_cotangent[k] = at_channel(d.scaled ? u.scale : nullptr, sample * s.channels, 0, k);
          d.bias_cotangent[k] = at_channel(u.bias, 0, 0, k);
          d.scale_sum[k] = d.bias_sum[k] = 0;
        }
        for (int64_t first = 0; first < pixels; first += groups) {
          const int64_t p = first + group;
          A total = 0;
          if (active && p < pixels) {
            const int64_t row = sample * s.pixels + from + p, i = row * packs + chunk + lane;
            A shift = 0;
            if (noise) shift = widen(noise[s.noise_batch == 1 ? from + p : row]);
            if (kSecond) {
              total = d.second(i, shift, unoise ? widen(unoise[row]) : A(0));
            } else {
              total = d.first(i, shift);
            }
          }
          if (out.noise) {
            for (int distance = lanes / 2; distance > 0; distance /= 2) {
              total += __shfl_down_sync(0xffffffffu, total, distance, lanes);
            }
            if (lane == 0 && p < pixels) noise_sums[p] += total;  // One thread per pixel.
          }
        }
        for (int k = 0; k < N; ++k) {
          sums[0][threadIdx.x][k] = d.scale_sum[k];
          sums[1][threadIdx.x][k] = d.bias_sum[k];
        }
        __syncthreads();
        if (group == 0 && active) {
          for (int which = 0; which < 2; ++which) {
            for (int k = 0; k < N; ++k) {
              A sum = 0;
              for (int g = 0; g < groups; ++g) sum += sums[which][g * lanes + lane][k];
              partials[(tile * 2 + which) * s.channels + channel + k] = sum;
            }
          }
        }
        __syncthreads();
      }
      if (out.noise) {
        T* to = static_cast<T*>(out.noise) + sample * s.pixels + from;
        for (int64_t p = threadIdx.x; p < pixels; p += kThreads) narrow(noise_sums[p], to + p);
      }
      __syncthreads();
    }
  });
}

// Adds the partial sums of each sample's tiles, in double precision. The sums for scale are results.
// The sums for bias replace the partial sums of the sample's first tile.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    finish_samples(TfSg2BiasAct s, T* scale, typename Accumulator<T>::type* partials,
                   int64_t tiles) {
  typedef typename Accumulator<T>::type A;
  __shared__ double sums[2][kFinishGroups][kFinishLanes];
  const int lane = threadIdx.x % kFinishLanes, group = threadIdx.x / kFinishLanes;
  const int64_t across = (s.channels + kFinishLanes - 1) / kFinishLanes;
  for (int64_t block = blockIdx.x; block < s.batch * across; block += gridDim.x) {
    const int64_t sample = block / across, channel = block % across * kFinishLanes + lane;
    A* from = partials + sample * tiles * 2 * s.channels + channel;
    double totals[2] = {0, 0};
    if (channel < s.channels) {
      for (int64_t tile = group; tile < tiles; tile += kFinishGroups) {
        totals[0] += from[tile * 2 * s.channels];
        totals[1] += from[(tile * 2 + 1) * s.channels];
      }
    }
    sums[0][group][lane] = totals[0];
    sums[1][group][lane] = totals[1];
    __syncthreads();
    if (group == 0 && channel < s.channels) {
      for (int g = 1; g < kFinishGroups; ++g) {
        totals[0] += sums[0][g][lane];
        totals[1] += sums[1][g][lane];
      }
      if (scale) narrow(static_cast<A>(totals[0]), scale + sample * s.channels + channel);
      if (tiles > 0) from[s.channels] = static_cast<A>(totals[1]);
    }
    __syncthreads();
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    finish_bias(TfSg2BiasAct s, T* bias, const typename Accumulator<T>::type* partials,
                int64_t tiles) {
  typedef typename Accumulator<T>::type A;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; c < s.channels;
       c += step) {
    double total = 0;
    for (int64_t n = 0; n < (tiles ? s.batch : 0); ++n) {
      total += partials[(n * tiles * 2 + 1) * s.channels + c];
    }
    narrow(static_cast<A>(total), bias + c);
  }
}

template <typename T, int N>
int run_forward(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, void* y, void* stream) {
  const int64_t count = s.batch * s.pixels * (s.channels / N);
  const int64_t blocks = divide_up(count, kThreads);
  // Half the range of 32 bits, because an index may exceed the last element by one step.
  if (s.batch * s.pixels * s.channels < int64_t(1) << 31) {
    return launch(forward<T, N, uint32_t>, blocks, stream, s, at, static_cast<T*>(y));
  }
  return launch(forward<T, N, int64_t>, blocks, stream, s, at, static_cast<T*>(y));
}

template <typename T, int N, bool kSecond>
int run_derivative(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, const void* dy,
                   const TfSg2BiasActCotangent& u, void* out_dy, const TfSg2BiasActGradient& out,
                   void* partials, void* stream) {
  typedef typename Accumulator<T>::type A;
  int lanes = 1;
  while (lanes < kWarp && lanes < s.channels / N) lanes *= 2;
  A* sums = static_cast<A*>(partials);
  const int64_t tiles = s.channels ? tiles_per_sample(s) : 0;
  int error = launch(derivative<T, N, kSecond>, s.batch * tiles, stream, s, at,
                     static_cast<const T*>(dy), u, static_cast<T*>(out_dy), out, sums, lanes,
                     pixels_per_tile(s));
  if (error == cudaSuccess && (out.scale || out.bias)) {
    error = launch(finish_samples<T>, s.batch * divide_up(s.channels, kFinishLanes), stream, s,
                   static_cast<T*>(out.scale), sums, tiles);
  }
  if (error == cudaSuccess && out.bias) {
    error = launch(finish_bias<T>, divide_up(s.channels, kThreads), stream, s,
                   static_cast<T*>(out.bias), sums, tiles);
  }
  if (error == cudaSuccess && out.noise && s.channels == 0) {
    error = cudaMemsetAsync(out.noise, 0, s.batch * s.pixels * sizeof(T),
                            static_cast<cudaStream_t>(stream));
  }
  return error;
}

template <typename T>
bool packed(const TfSg2BiasAct& s, const void* a, const void* b, const void* c, const void* d,
            const void* e) {
  return s.channels % kPack<T> == 0 && aligned16(a) && aligned16(b) && aligned16(c) &&
         aligned16(d) && aligned16(e);
}

// Calls `work` with a value of the element type.
template <typename Work>
int with_type(const TfSg2BiasAct& s, Work work) {
  switch (s.type) {
    case TF_SG2_FLOAT16: return work(__half());
    case TF_SG2_BFLOAT16: return work(__nv_bfloat16());
    case TF_SG2_FLOAT32: return work(float());
    default: return work(double());
  }
}

}  // namespace

extern "C" {

size_t tf_sg2_bias_act_cuda_partials(const TfSg2BiasAct* s) {
  return s->batch * tiles_per_sample(*s) * 2 * s->channels *
         (s->type == TF_SG2_FLOAT64 ? sizeof(double) : sizeof(float));
}

int tf_sg2_bias_act_cuda(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at, void* y, void* stream) {
  return with_type(*s, [&](auto type) {
    typedef decltype(type) T;
    if (packed<T>(*s, at->x, y, nullptr, nullptr, nullptr)) {
      return run_forward<T, kPack<T>>(*s, *at, y, stream);
    }
    return run_forward<T, 1>(*s, *at, y, stream);
  });
}

int tf_sg2_bias_act_gradient_cuda(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at, const void* dy,
                                  const TfSg2BiasActGradient* out, void* partials, void* stream) {
  return with_type(*s, [&](auto type) {
    typedef decltype(type) T;
    if (packed<T>(*s, at->x, dy, out->x, nullptr, nullptr)) {
      return run_derivative<T, kPack<T>, false>(*s, *at, dy, {}, nullptr, *out, partials, stream);
    }
    return run_derivative<T, 1, false>(*s, *at, dy, {}, nullptr, *out, partials, stream);
  });
}

int tf_sg2_bias_act_gradient2_cuda(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at,
                                   const void* dy, const TfSg2BiasActCotangent* u, void* out_dy,
                                   const TfSg2BiasActGradient* out, void* partials, void* stream) {
  return with_type(*s, [&](auto type) {
    typedef decltype(type) T;
    if (packed<T>(*s, at->x, dy, u->x, out_dy, out->x)) {
      return run_derivative<T, kPack<T>, true>(*s, *at, dy, *u, out_dy, *out, partials, stream);
    }
    return run_derivative<T, 1, true>(*s, *at, dy, *u, out_dy, *out, partials, stream);
  });
}

}  // extern "C"
