// The CPU kernel of bias_act and of its first and second derivatives: one pass over memory each.
// Rows of channels are worked on a vector at a time; sums over pixels gather in rows that stay in
// cache, one a piece of work, and are added up at the end in the order of the pieces.

#include "bias_act.h"

#include <math.h>

#include "activations_cpu.h"
#include "cpu.h"

namespace {

// Elements of one piece of work: small enough to share out, large enough to make sums rare.
constexpr int64_t kTaskElements = 1 << 16;
constexpr int64_t kMaximumTaskPixels = 256;
// Narrower pixels are worked on several at a time, where no noise tells them apart.
constexpr int64_t kNarrow = 64;

int64_t pixels_of_row(const TfSg2BiasAct& s, bool has_noise) {
  return has_noise || s.channels >= kNarrow ? 1 : divide_up(kNarrow, maximum(s.channels, 1));
}

int64_t task_pixels(const TfSg2BiasAct& s) {
  return minimum(maximum(kTaskElements / maximum(s.channels, 1), 16), kMaximumTaskPixels);
}

int64_t tasks_of_sample(const TfSg2BiasAct& s) { return divide_up(s.pixels, task_pixels(s)); }

int64_t tasks_of(const TfSg2BiasAct& s) {
  return s.channels == 0 || s.pixels == 0 ? 0 : s.batch * tasks_of_sample(s);
}

template <typename A>
inline A lane_sum(typename Vector<A>::type v) {
  A sum = 0;
  for (int i = 0; i < Vector<A>::kLanes; ++i) sum += v[i];
  return sum;
}

// Vectors of any element type from and to memory.
inline Vector<float>::type read(const float* from) { return load(from); }
inline Vector<double>::type read(const double* from) { return load(from); }
template <typename T>
inline Vector<float>::type read(const T* from) {
  Vector<float>::type v;
  for (int i = 0; i < Vector<float>::kLanes; ++i) v[i] = widen(from[i]);
  return v;
}
inline void write(float* to, Vector<float>::type v) { store(to, v); }
inline void write(double* to, Vector<double>::type v) { store(to, v); }
template <typename T>
inline void write(T* to, Vector<float>::type v) {
  for (int i = 0; i < Vector<float>::kLanes; ++i) narrow(v[i], to + i);
}
template <typename T, typename V>
inline void write_past_caches(T* to, V v) {
  write(to, v);
}
inline void write_past_caches(float* to, Vector<float>::type v) { stream(to, v); }
inline void write_past_caches(double* to, Vector<double>::type v) { stream(to, v); }

// What a piece of work needs to remember: scale and bias; in the first derivative their sums also,
// in the second their cotangents also.
enum Row { kScale, kBias, kScaleSum, kBiasSum, kScaleCotangent, kBiasCotangent };
constexpr int64_t kRows[] = {2, 4, 6};  // By the order of the derivative.

// Elements of a row, with room to start each at a cache line.
int64_t row_size(int64_t elements) { return divide_up(elements, 16) * 16; }

// The rows of a piece of work, as wide as the pixels worked on at a time, in the caller's memory.
template <typename A>
class Rows {
 public:
  Rows(int64_t order, int64_t elements, void* scratch)
      : size_(row_size(elements)), first_(static_cast<A*>(scratch)) {
    memset(first_, 0, kRows[order] * size_ * sizeof(A));
  }
  A* operator[](int64_t i) { return first_ + i * size_; }

 private:
  const int64_t size_;
  A* const first_;
};

// Repeats `channels` values to fill a row.
template <typename T, typename A>
void fill_row(const T* values, int64_t channels, int64_t size, A* row) {
  for (int64_t i = 0; i < size; ++i) row[i] = widen(values[i % channels]);
}

template <typename T, Kind K, bool kScaled>
class Worker {
  typedef typename Sum<T>::type A;
  typedef typename Vector<A>::type V;
  static constexpr int kLanes = Vector<A>::kLanes;

 public:
  Worker(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at)
      : s_(s), at_(at), x_(static_cast<const T*>(at.x)), noise_(static_cast<const T*>(at.noise)),
        function_{{s.activation, static_cast<A>(s.alpha)}}, gain_(static_cast<A>(s.gain)),
        clamp_(s.clamp < 0 ? static_cast<A>(INFINITY) : static_cast<A>(s.clamp)) {}

  void forward(T* y, void* scratch, int64_t first, int64_t last) {
    const bool past_caches = y != x_ && aligned(y) && s_.channels % kLanes == 0 &&
                             s_.batch * s_.pixels * s_.channels * int64_t(sizeof(T)) >= kStreamBytes;
    const int64_t width = pixels_of_row(s_, noise_ != nullptr);
    Rows<A> rows(0, width * s_.channels, scratch);
    for (int64_t task = first; task < last; ++task) {
      const Piece piece = begin(task, width, rows);
      for (int64_t p = piece.from; p < piece.to; p += width) {
        const int64_t n = minimum(width, piece.to - p) * s_.channels;
        const int64_t offset = (piece.sample * s_.pixels + p) * s_.channels;
        const A noise = noise_at(piece.sample, p);
        const T* x = x_ + offset;
        T* out = y + offset;
        int64_t i = 0;
        if (past_caches) {
          for (; i + kLanes <= n; i += kLanes) {
            write_past_caches(out + i, value(argument(read(x + i), i, noise, rows)));
          }
        }
        for (; i + kLanes <= n; i += kLanes) {
          write(out + i, value(argument(read(x + i), i, noise, rows)));
        }
        for (; i < n; ++i) narrow(value(argument(widen(x[i]), i, noise, rows)), out + i);
      }
    }
    if (past_caches) finish_streams();
  }

  void gradient(const T* dy, const TfSg2BiasActGradient& out, A* partials, void* scratch,
                int64_t first, int64_t last) {
    T* dx = static_cast<T*>(out.x);
    T* dnoise = static_cast<T*>(out.noise);
    const int64_t width = pixels_of_row(s_, noise_ != nullptr || dnoise != nullptr);
    Rows<A> rows(1, width * s_.channels, scratch);
    for (int64_t task = first; task < last; ++task) {
      const Piece piece = begin(task, width, rows);
      clear_sums(width, rows);
      for (int64_t p = piece.from; p < piece.to; p += width) {
        const int64_t n = minimum(width, piece.to - p) * s_.channels;
        const int64_t offset = (piece.sample * s_.pixels + p) * s_.channels;
        const A noise = noise_at(piece.sample, p);
        A *scale_sum = rows[kScaleSum], *bias_sum = rows[kBiasSum];
        V total = {};
        A rest = 0;
        int64_t i = 0;
        for (; i + kLanes <= n; i += kLanes) {
          const V x = read(x_ + offset + i);
          const V t = argument(x, i, noise, rows);
          const V g = pass(compared(t), read(dy + offset + i)) * slope(t);
          write(dx + offset + i, kScaled ? V(g * load(rows[kScale] + i)) : g);
          if (kScaled) store(scale_sum + i, V(load(scale_sum + i) + g * x));
          store(bias_sum + i, V(load(bias_sum + i) + g));
          total += g;
        }
        for (; i < n; ++i) {
          const A x = widen(x_[offset + i]);
          const A t = argument(x, i, noise, rows);
          const A g = pass(compared(t), widen(dy[offset + i])) * slope(t);
          narrow(kScaled ? g * rows[kScale][i] : g, dx + offset + i);
          if (kScaled) scale_sum[i] += g * x;
          bias_sum[i] += g;
          rest += g;
        }
        if (dnoise != nullptr) {
          narrow(lane_sum<A>(total) + rest, dnoise + piece.sample * s_.pixels + p);
        }
      }
      end(task, width, rows, partials);
    }
  }

  void gradient2(const T* dy, const TfSg2BiasActCotangent& u, T* out_dy,
                 const TfSg2BiasActGradient& out, A* partials, void* scratch, int64_t first,
                 int64_t last) {
    const T* ux = static_cast<const T*>(u.x);
    const T* unoise = static_cast<const T*>(u.noise);
    T* out_x = static_cast<T*>(out.x);
    T* out_noise = static_cast<T*>(out.noise);
    const bool noisy = noise_ != nullptr || out_noise != nullptr || unoise != nullptr;
    const int64_t width = pixels_of_row(s_, noisy), size = width * s_.channels;
    Rows<A> rows(2, size, scratch);
    if (u.bias) {
      fill_row(static_cast<const T*>(u.bias), s_.channels, size, rows[kBiasCotangent]);
    }
    for (int64_t task = first; task < last; ++task) {
      const Piece piece = begin(task, width, rows);
      clear_sums(width, rows);
      if (kScaled && u.scale) {
        fill_row(static_cast<const T*>(u.scale) + piece.sample * s_.channels, s_.channels, size,
                 rows[kScaleCotangent]);
      }
      for (int64_t p = piece.from; p < piece.to; p += width) {
        const int64_t n = minimum(width, piece.to - p) * s_.channels;
        const int64_t offset = (piece.sample * s_.pixels + p) * s_.channels;
        const A noise = noise_at(piece.sample, p);
        const A shift = unoise ? widen(unoise[piece.sample * s_.pixels + p]) : A(0);
        V total = {};
        A rest = 0;
        int64_t i = 0;
        for (; i + kLanes <= n; i += kLanes) {
          const V x = read(x_ + offset + i), t = argument(x, i, noise, rows), m = slope(t);
          const V v = compared(t), d = pass(v, read(dy + offset + i));
          const V cotangent = ux ? read(ux + offset + i) : V{};
          V tangent = cotangent;
          if (kScaled) tangent = cotangent * load(rows[kScale] + i) + load(rows[kScaleCotangent] + i) * x;
          tangent += load(rows[kBiasCotangent] + i) + shift;
          write(out_dy + offset + i, pass(v, V(tangent * m)));
          const V h = K != kSmooth ? V{} : V(d * tangent * curvature(t));
          V to_x = h;
          if (kScaled) {
            to_x = h * load(rows[kScale] + i) + load(rows[kScaleCotangent] + i) * d * m;
            store(rows[kScaleSum] + i, V(load(rows[kScaleSum] + i) + h * x + cotangent * d * m));
          }
          write(out_x + offset + i, to_x);
          store(rows[kBiasSum] + i, V(load(rows[kBiasSum] + i) + h));
          total += h;
        }
        for (; i < n; ++i) {
          const A x = widen(x_[offset + i]), t = argument(x, i, noise, rows), m = slope(t);
          const A v = compared(t), d = pass(v, widen(dy[offset + i]));
          const A cotangent = ux ? widen(ux[offset + i]) : A(0);
          A tangent = cotangent;
          if (kScaled) tangent = cotangent * rows[kScale][i] + rows[kScaleCotangent][i] * x;
          tangent += rows[kBiasCotangent][i] + shift;
          narrow(pass(v, tangent * m), out_dy + offset + i);
          const A h = d * tangent * curvature(t);
          A to_x = h;
          if (kScaled) {
            to_x = h * rows[kScale][i] + rows[kScaleCotangent][i] * d * m;
            rows[kScaleSum][i] += h * x + cotangent * d * m;
          }
          narrow(to_x, out_x + offset + i);
          rows[kBiasSum][i] += h;
          rest += h;
        }
        if (out_noise != nullptr) {
          narrow(lane_sum<A>(total) + rest, out_noise + piece.sample * s_.pixels + p);
        }
      }
      end(task, width, rows, partials);
    }
  }

 private:
  struct Piece {
    int64_t sample, from, to;
  };

  // Pixels of a piece of work; fills the rows that depend on its sample.
  Piece begin(int64_t task, int64_t width, Rows<A>& rows) {
    const int64_t each = tasks_of_sample(s_), sample = task / each;
    const int64_t from = task % each * task_pixels(s_), size = width * s_.channels;
    if (kScaled) {
      fill_row(static_cast<const T*>(at_.scale) + sample * s_.channels, s_.channels, size,
               rows[kScale]);
    }
    if (at_.bias) fill_row(static_cast<const T*>(at_.bias), s_.channels, size, rows[kBias]);
    return {sample, from, minimum(from + task_pixels(s_), s_.pixels)};
  }

  void clear_sums(int64_t width, Rows<A>& rows) {
    memset(rows[kScaleSum], 0, width * s_.channels * sizeof(A));
    memset(rows[kBiasSum], 0, width * s_.channels * sizeof(A));
  }

  // Folds the sums of pixels side by side into one pixel's, and leaves them in the partials.
  void end(int64_t task, int64_t width, Rows<A>& rows, A* partials) {
    A* to = partials + task * 2 * s_.channels;
    for (int64_t c = 0; c < s_.channels; ++c) {
      A scale = 0, bias = 0;
      for (int64_t k = 0; k < width; ++k) {
        scale += rows[kScaleSum][k * s_.channels + c];
        bias += rows[kBiasSum][k * s_.channels + c];
      }
      to[c] = scale;
      to[s_.channels + c] = bias;
    }
  }

  A noise_at(int64_t sample, int64_t p) const {
    if (noise_ == nullptr) return 0;
    return widen(noise_[(s_.noise_batch == 1 ? 0 : sample * s_.pixels) + p]);
  }

  V argument(V x, int64_t i, A noise, Rows<A>& rows) const {
    const V shift = load(rows[kBias] + i) + noise;
    return kScaled ? V(x * load(rows[kScale] + i) + shift) : V(x + shift);
  }
  A argument(A x, int64_t i, A noise, Rows<A>& rows) const {
    const A shift = rows[kBias][i] + noise;
    return kScaled ? x * rows[kScale][i] + shift : x + shift;
  }

  // The function of the argument with gain and clamp; NaN goes through.
  V value(V t) const {
    V v = function_.value(t) * gain_;
    v = v > clamp_ ? V{} + clamp_ : v;
    return v < -clamp_ ? V{} - clamp_ : v;
  }
  A value(A t) const {
    const A v = function_.value(t) * gain_;
    return v > clamp_ ? clamp_ : v < -clamp_ ? -clamp_ : v;
  }

  V slope(V t) const { return function_.slope(t) * gain_; }
  A slope(A t) const { return function_.slope(t) * gain_; }
  V curvature(V t) const { return function_.curvature(t) * gain_; }
  A curvature(A t) const { return function_.curvature(t) * gain_; }

  // What the clamp is compared with: zero, which passes, where there is no clamp.
  V compared(V t) const { return s_.clamp < 0 ? V{} : V(function_.value(t) * gain_); }
  A compared(A t) const { return s_.clamp < 0 ? A(0) : A(function_.value(t) * gain_); }

  // The derivative at value v, or zero where the clamp holds v back and where v is NaN.
  V pass(V v, V derivative) const {
    derivative = v <= clamp_ ? derivative : V{};
    return v >= -clamp_ ? derivative : V{};
  }
  A pass(A v, A derivative) const { return v <= clamp_ && v >= -clamp_ ? derivative : A(0); }

  const TfSg2BiasAct& s_;
  const TfSg2BiasActPoint& at_;
  const T* x_;
  const T* noise_;
  const VectorFunction<K, A> function_;
  const A gain_, clamp_;
};

// Sums come from partials in the order of the pieces, in double precision.
template <typename T>
void finish(const TfSg2BiasAct& s, const TfSg2BiasActGradient& out, const void* from) {
  typedef typename Sum<T>::type A;
  const A* partials = static_cast<const A*>(from);
  if (s.channels == 0 && out.noise) {  // A sum of nothing; there are no pieces to write it.
    memset(out.noise, 0, s.batch * s.pixels * sizeof(T));
  }
  const int64_t each = tasks_of_sample(s), channels = s.channels;
  for (int64_t c = 0; c < channels; ++c) {
    double bias = 0;
    for (int64_t n = 0; n < s.batch; ++n) {
      double scale = 0;
      for (int64_t k = 0; k < (s.pixels ? each : 0); ++k) {
        const A* sums = partials + (n * each + k) * 2 * channels;
        scale += sums[c];
        bias += sums[channels + c];
      }
      if (out.scale) narrow(static_cast<A>(scale), static_cast<T*>(out.scale) + n * channels + c);
    }
    if (out.bias) narrow(static_cast<A>(bias), static_cast<T*>(out.bias) + c);
  }
}

// Calls `work` with a worker of the right type, kind of activation and presence of a scale.
template <typename T, Kind K, typename Work>
void with_kind(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, Work work) {
  if (at.scale) {
    Worker<T, K, true> worker(s, at);
    work(worker, T());
  } else {
    Worker<T, K, false> worker(s, at);
    work(worker, T());
  }
}

template <typename T, typename Work>
void with_type(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, Work work) {
  switch (kind_of(s.activation)) {
    case kRelu: return with_kind<T, kRelu>(s, at, work);
    case kLrelu: return with_kind<T, kLrelu>(s, at, work);
    case kSmooth: return with_kind<T, kSmooth>(s, at, work);
    default: return with_kind<T, kLinear>(s, at, work);
  }
}

template <typename Work>
void with_worker(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, Work work) {
  switch (s.type) {
    case TF_SG2_FLOAT16: return with_type<Half>(s, at, work);
    case TF_SG2_BFLOAT16: return with_type<BFloat16>(s, at, work);
    case TF_SG2_FLOAT32: return with_type<float>(s, at, work);
    default: return with_type<double>(s, at, work);
  }
}

}  // namespace

extern "C" {

int64_t TF_SG2_CPU(tf_sg2_bias_act_cpu_tasks)(const TfSg2BiasAct* s) { return tasks_of(*s); }

size_t TF_SG2_CPU(tf_sg2_bias_act_cpu_partials)(const TfSg2BiasAct* s) {
  return tasks_of(*s) * 2 * s->channels * (s->type == TF_SG2_FLOAT64 ? sizeof(double) : sizeof(float));
}

size_t TF_SG2_CPU(tf_sg2_bias_act_cpu_scratch)(const TfSg2BiasAct* s, int32_t order) {
  const size_t bytes = s->type == TF_SG2_FLOAT64 ? sizeof(double) : sizeof(float);
  return kRows[order] * row_size(pixels_of_row(*s, false) * s->channels) * bytes;
}

void TF_SG2_CPU(tf_sg2_bias_act_cpu)(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at, void* y,
                                     void* scratch, int64_t first, int64_t last) {
  with_worker(*s, *at, [&](auto& worker, auto type) {
    worker.forward(static_cast<decltype(type)*>(y), scratch, first, last);
  });
}

void TF_SG2_CPU(tf_sg2_bias_act_gradient_cpu)(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at,
                                              const void* dy, const TfSg2BiasActGradient* out,
                                              void* partials, void* scratch, int64_t first,
                                              int64_t last) {
  with_worker(*s, *at, [&](auto& worker, auto type) {
    typedef decltype(type) T;
    worker.gradient(static_cast<const T*>(dy), *out,
                    static_cast<typename Sum<T>::type*>(partials), scratch, first, last);
  });
}

void TF_SG2_CPU(tf_sg2_bias_act_gradient2_cpu)(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at,
                                               const void* dy, const TfSg2BiasActCotangent* u,
                                               void* out_dy, const TfSg2BiasActGradient* out,
                                               void* partials, void* scratch, int64_t first,
                                               int64_t last) {
  with_worker(*s, *at, [&](auto& worker, auto type) {
    typedef decltype(type) T;
    worker.gradient2(static_cast<const T*>(dy), *u, static_cast<T*>(out_dy), *out,
                     static_cast<typename Sum<T>::type*>(partials), scratch, first, last);
  });
}

void TF_SG2_CPU(tf_sg2_bias_act_finish_cpu)(const TfSg2BiasAct* s, const TfSg2BiasActGradient* out,
                                            const void* partials) {
  switch (s->type) {
    case TF_SG2_FLOAT16: return finish<Half>(*s, *out, partials);
    case TF_SG2_BFLOAT16: return finish<BFloat16>(*s, *out, partials);
    case TF_SG2_FLOAT32: return finish<float>(*s, *out, partials);
    default: return finish<double>(*s, *out, partials);
  }
}

}  // extern "C"
