// The CUDA kernels of bias_act and of its first and second derivatives: one pass over memory each.
// Sums are made in two stages of fixed order and shape, without atomics, so that results repeat:
// a block sums over its piece of the pixels, and what the pieces leave is added up afterwards.

#include "bias_act.h"

#include <math.h>

#include "activations.h"
#include "device.cuh"

namespace {

constexpr int kWarp = 32;
// Pixels of one piece: at least so many that what it leaves is little beside what it reads, at most
// so many that their noise sums fit in shared memory; between the two, about 512 pieces a sample.
constexpr int64_t kMinimumPixels = 64;
constexpr int64_t kMaximumPixels = 1024;
constexpr int64_t kPieces = 512;
// Channels, and pieces at a time, of a block that adds up what pieces left.
constexpr int kFinishLanes = 32;
constexpr int kFinishGroups = kThreads / kFinishLanes;

int64_t piece_pixels(const TfSg2BiasAct& s) {
  const int64_t pixels = divide_up(s.pixels, kPieces);
  return pixels < kMinimumPixels ? kMinimumPixels : pixels > kMaximumPixels ? kMaximumPixels : pixels;
}

int64_t pieces_of_sample(const TfSg2BiasAct& s) { return divide_up(s.pixels, piece_pixels(s)); }

// Calls `work` with the activation, its kind known to the compiler: the choice is the same for all.
template <typename A, typename Work>
__device__ inline void with_activation(int32_t activation, A alpha, Work work) {
  switch (kind_of(activation)) {
    case kRelu: return work(Function<kRelu, A>{activation, alpha});
    case kLrelu: return work(Function<kLrelu, A>{activation, alpha});
    case kSmooth: return work(Function<kSmooth, A>{activation, alpha});
    default: return work(Function<kLinear, A>{activation, alpha});
  }
}

// Gain and clamp around an activation; NaN goes through.
template <typename F, typename A>
struct Clamped {
  F function;
  A gain, clamp;
  bool clamps;  // Else the clamp is infinity.

  __device__ A value(A t) const {
    const A v = function.value(t) * gain;
    return v > clamp ? clamp : v < -clamp ? -clamp : v;
  }
  // The derivative, or zero where the clamp holds the value back and where that is NaN.
  __device__ A open(A t, A derivative) const {
    if (!clamps) return derivative;
    const A v = function.value(t) * gain;
    return v <= clamp && v >= -clamp ? derivative : A(0);
  }
  __device__ A slope(A t) const { return function.slope(t) * gain; }
  __device__ A curvature(A t) const { return function.curvature(t) * gain; }
};

// Index is 32 bits wide where that holds all elements: its divisions cost a fraction.
template <typename T, int N, typename Index>
__global__ void __launch_bounds__(kThreads)
    forward(TfSg2BiasAct s, TfSg2BiasActPoint at, T* y) {
  typedef typename Sum<T>::type A;
  typedef Pack<T, N> Elements;
  const T* scale = static_cast<const T*>(at.scale);
  const T* noise = static_cast<const T*>(at.noise);
  const T* bias = static_cast<const T*>(at.bias);
  const A clamp = s.clamp < 0 ? static_cast<A>(INFINITY) : static_cast<A>(s.clamp);
  const Index packs = static_cast<Index>(s.channels / N), pixels = static_cast<Index>(s.pixels);
  const Index count = static_cast<Index>(s.batch) * pixels * packs;
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  with_activation(s.activation, static_cast<A>(s.alpha), [&](auto function) {
    const Clamped<decltype(function), A> f = {function, static_cast<A>(s.gain), clamp, s.clamp >= 0};
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

// What a thread of a derivative's kernel reads and writes at one pack.
template <typename T, int N, typename F>
struct Derivative {
  typedef typename Sum<T>::type A;
  typedef Pack<T, N> Elements;
  const Clamped<F, A> f;
  const Elements *x, *dy, *ux;  // ux: null for zeros.
  Elements *out_dy, *out_x;     // out_dy: null in the first derivative.
  bool scaled;
  // At the thread's channels.
  A scale[N], bias[N], scale_cotangent[N], bias_cotangent[N];
  A scale_sum[N], bias_sum[N];

  // Returns the pack's part of the sum over channels.
  __device__ A first(int64_t i, A noise) {
    const Elements x_i = x[i], dy_i = dy[i];
    Elements result;
    A total = 0;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const A value = widen(x_i.values[k]);
      const A t = value * scale[k] + bias[k] + noise;
      const A g = f.open(t, widen(dy_i.values[k])) * f.slope(t);
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
      const A t = value * scale[k] + bias[k] + noise, m = f.slope(t);
      const A d = f.open(t, widen(dy_i.values[k]));
      const A tangent = u * scale[k] + scale_cotangent[k] * value + bias_cotangent[k] + shift;
      const A h = d * tangent * f.curvature(t);
      narrow(f.open(t, tangent * m), &to_dy.values[k]);
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

// One piece of one sample's pixels a block: `lanes` threads, a power of two up to a warp, lie along
// the channels, the others along the pixels. All threads take the same turns, for the shuffles.
template <typename T, int N, bool kSecond>
__global__ void __launch_bounds__(kThreads)
    derivative(TfSg2BiasAct s, TfSg2BiasActPoint at, const T* dy, TfSg2BiasActCotangent u, T* out_dy,
               TfSg2BiasActGradient out, typename Sum<T>::type* partials, int lanes,
               int64_t pixels_each) {
  typedef typename Sum<T>::type A;
  typedef Pack<T, N> Elements;
  __shared__ A noise_sums[kMaximumPixels];
  __shared__ A sums[2][kThreads][N];
  const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = kThreads / lanes;
  const int64_t packs = s.channels / N, each = (s.pixels + pixels_each - 1) / pixels_each;
  const T* noise = static_cast<const T*>(at.noise);
  const T* unoise = static_cast<const T*>(u.noise);
  const A clamp = s.clamp < 0 ? static_cast<A>(INFINITY) : static_cast<A>(s.clamp);

  with_activation(s.activation, static_cast<A>(s.alpha), [&](auto function) {
    typedef decltype(function) F;
    Derivative<T, N, F> d = {{function, static_cast<A>(s.gain), clamp, s.clamp >= 0},
                             static_cast<const Elements*>(at.x),
                             reinterpret_cast<const Elements*>(dy),
                             static_cast<const Elements*>(u.x),
                             reinterpret_cast<Elements*>(out_dy),
                             static_cast<Elements*>(out.x),
                             at.scale != nullptr};
    for (int64_t piece = blockIdx.x; piece < s.batch * each; piece += gridDim.x) {
      const int64_t sample = piece / each, from = piece % each * pixels_each;
      const int64_t pixels = s.pixels - from < pixels_each ? s.pixels - from : pixels_each;
      for (int64_t p = threadIdx.x; p < pixels; p += kThreads) noise_sums[p] = 0;
      __syncthreads();
      for (int64_t chunk = 0; chunk < packs; chunk += lanes) {
        const bool here = chunk + lane < packs;
        const int64_t channel = here ? (chunk + lane) * N : 0;
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
          if (here && p < pixels) {
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
            if (lane == 0 && p < pixels) noise_sums[p] += total;  // Always the same thread.
          }
        }
        for (int k = 0; k < N; ++k) {
          sums[0][threadIdx.x][k] = d.scale_sum[k];
          sums[1][threadIdx.x][k] = d.bias_sum[k];
        }
        __syncthreads();
        if (group == 0 && here) {
          for (int which = 0; which < 2; ++which) {
            for (int k = 0; k < N; ++k) {
              A sum = 0;
              for (int g = 0; g < groups; ++g) sum += sums[which][g * lanes + lane][k];
              partials[(piece * 2 + which) * s.channels + channel + k] = sum;
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

// Adds up what the pieces of one sample left, in double precision: the scale's sums go out, the
// bias's stay where those of the sample's first piece were.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    finish_samples(TfSg2BiasAct s, T* scale, typename Sum<T>::type* partials, int64_t each) {
  typedef typename Sum<T>::type A;
  __shared__ double sums[2][kFinishGroups][kFinishLanes];
  const int lane = threadIdx.x % kFinishLanes, group = threadIdx.x / kFinishLanes;
  const int64_t across = (s.channels + kFinishLanes - 1) / kFinishLanes;
  for (int64_t block = blockIdx.x; block < s.batch * across; block += gridDim.x) {
    const int64_t sample = block / across, channel = block % across * kFinishLanes + lane;
    A* from = partials + sample * each * 2 * s.channels + channel;
    double totals[2] = {0, 0};
    if (channel < s.channels) {
      for (int64_t piece = group; piece < each; piece += kFinishGroups) {
        totals[0] += from[piece * 2 * s.channels];
        totals[1] += from[(piece * 2 + 1) * s.channels];
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
      if (each > 0) from[s.channels] = static_cast<A>(totals[1]);
    }
    __syncthreads();
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    finish_bias(TfSg2BiasAct s, T* bias, const typename Sum<T>::type* partials, int64_t each) {
  typedef typename Sum<T>::type A;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; c < s.channels;
       c += step) {
    double total = 0;
    for (int64_t n = 0; n < (each ? s.batch : 0); ++n) {
      total += partials[(n * each * 2 + 1) * s.channels + c];
    }
    narrow(static_cast<A>(total), bias + c);
  }
}

template <typename T, int N>
int run_forward(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, void* y, void* stream) {
  const int64_t count = s.batch * s.pixels * (s.channels / N);
  const int64_t blocks = divide_up(count, kThreads);
  // Half of what 32 bits hold: an index may pass the last element by one step.
  if (s.batch * s.pixels * s.channels < int64_t(1) << 31) {
    return launch(forward<T, N, uint32_t>, blocks, stream, s, at, static_cast<T*>(y));
  }
  return launch(forward<T, N, int64_t>, blocks, stream, s, at, static_cast<T*>(y));
}

template <typename T, int N, bool kSecond>
int run_derivative(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, const void* dy,
                   const TfSg2BiasActCotangent& u, void* out_dy, const TfSg2BiasActGradient& out,
                   void* partials, void* stream) {
  typedef typename Sum<T>::type A;
  int lanes = 1;
  while (lanes < kWarp && lanes < s.channels / N) lanes *= 2;
  A* left = static_cast<A*>(partials);
  const int64_t each = s.channels ? pieces_of_sample(s) : 0;
  int error = launch(derivative<T, N, kSecond>, s.batch * each, stream, s, at,
                     static_cast<const T*>(dy), u, static_cast<T*>(out_dy), out, left, lanes,
                     piece_pixels(s));
  if (error == cudaSuccess && (out.scale || out.bias)) {
    error = launch(finish_samples<T>, s.batch * divide_up(s.channels, kFinishLanes), stream, s,
                   static_cast<T*>(out.scale), left, each);
  }
  if (error == cudaSuccess && out.bias) {
    error = launch(finish_bias<T>, divide_up(s.channels, kThreads), stream, s,
                   static_cast<T*>(out.bias), left, each);
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

// Calls `work` with a value of the type of the tensors.
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
  return s->batch * pieces_of_sample(*s) * 2 * s->channels *
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
