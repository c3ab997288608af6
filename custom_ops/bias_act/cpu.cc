// The CPU kernels of bias_act and of its first and second derivatives: one pass over memory each.
// Rows of channels are computed one vector at a time. Sums over pixels are kept per task in rows that
// stay in the cache. At the end, `finish` adds the sums of all tasks in a fixed order.

#include "bias_act.h"

#include <type_traits>

#include "../common/cpu_dispatch.h"
#include "../common/vector.h"
#include "activations.h"

namespace {

// Elements per task: few enough to balance the threads, many enough to keep partial sums rare.
constexpr int64_t kTaskElements = 1 << 16;
constexpr int64_t kMaximumTaskPixels = 256;
// Pixels of fewer channels are computed several at a time, unless noise differs between them.
constexpr int64_t kMinimumRowElements = 64;

int64_t pixels_per_row(const TfSg2BiasAct& s, bool has_noise) {
  if (has_noise || s.channels >= kMinimumRowElements) return 1;
  return divide_up(kMinimumRowElements, maximum(s.channels, 1));
}

int64_t pixels_per_task(const TfSg2BiasAct& s) {
  return minimum(maximum(kTaskElements / maximum(s.channels, 1), 16), kMaximumTaskPixels);
}

int64_t tasks_per_sample(const TfSg2BiasAct& s) { return divide_up(s.pixels, pixels_per_task(s)); }

int64_t count_tasks(const TfSg2BiasAct* s) {
  return s->channels == 0 || s->pixels == 0 ? 0 : s->batch * tasks_per_sample(*s);
}

// The rows that a thread keeps in scratch memory: scale and bias; in the first derivative their sums
// too, in the second their cotangents too.
enum Row { kScale, kBias, kScaleSum, kBiasSum, kScaleCotangent, kBiasCotangent };
constexpr int64_t kRows[] = {2, 4, 6};  // By the order of the derivative.

// Elements of a row, rounded up so that each begins at a cache line.
int64_t row_elements(int64_t elements) { return round_up(elements, 16); }

template <typename A>
class Rows {
 public:
  Rows(int64_t order, int64_t elements, void* scratch)
      : stride_(row_elements(elements)), first_(static_cast<A*>(scratch)) {
    memset(first_, 0, kRows[order] * stride_ * sizeof(A));
  }
  A* operator[](Row row) const { return first_ + row * stride_; }

 private:
  const int64_t stride_;
  A* const first_;
};

// Fills a row with `channels` values, repeated.
template <typename T, typename A>
void fill_row(const T* values, int64_t channels, int64_t elements, A* row) {
  for (int64_t i = 0; i < elements; ++i) row[i] = widen(values[i % channels]);
}

template <typename T, typename F, bool kScaled>
class Worker {
  typedef typename Accumulator<T>::type A;

 public:
  Worker(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, const F& function)
      : s_(s), x_(static_cast<const T*>(at.x)), scale_(static_cast<const T*>(at.scale)),
        noise_(static_cast<const T*>(at.noise)), bias_(static_cast<const T*>(at.bias)),
        f_(function) {}

  void forward(T* y, void* scratch, int64_t first, int64_t last) {
    const int64_t bytes = s_.batch * s_.pixels * s_.channels * int64_t(sizeof(T));
    const bool non_temporal = bytes >= kNonTemporalBytes && y != x_ && aligned(y) &&
                              s_.channels % FullVector<A>::kCount == 0;
    if (non_temporal) {
      forward<true>(y, scratch, first, last);
      finish_non_temporal_stores();
    } else {
      forward<false>(y, scratch, first, last);
    }
  }

  void gradient(const T* dy, const TfSg2BiasActGradient& out, A* partials, void* scratch,
                int64_t first, int64_t last) {
    const F f = f_;  // A local copy: the compiler knows that no store changes it.
    T* dx = static_cast<T*>(out.x);
    T* dnoise = static_cast<T*>(out.noise);
    const int64_t width = pixels_per_row(s_, noise_ != nullptr || dnoise != nullptr);
    const Rows<A> rows(1, width * s_.channels, scratch);
    for (int64_t task = first; task < last; ++task) {
      begin_sums(width, rows);
      for_each_row(task, width, rows, [&](int64_t pixel, int64_t n, A noise) {
        const int64_t offset = pixel * s_.channels;
        A *const scale_sum = rows[kScaleSum], *const bias_sum = rows[kBiasSum];
        LaneSum<A> noise_sum;
        for_lanes<A>(n, [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
          const auto x = load(lanes, x_ + offset + i), t = argument(lanes, x, i, noise, rows);
          const auto g = f.pass(f.compared(t), load(lanes, dy + offset + i)) * f.slope(t);
          if constexpr (kScaled) {
            store(lanes, g * load(lanes, rows[kScale] + i), dx + offset + i);
            store(lanes, load(lanes, scale_sum + i) + g * x, scale_sum + i);
          } else {
            store(lanes, g, dx + offset + i);
          }
          store(lanes, load(lanes, bias_sum + i) + g, bias_sum + i);
          noise_sum.add(lanes, g);
        });
        if (dnoise != nullptr) narrow(noise_sum.total(), dnoise + pixel);
      });
      end_sums(task, width, rows, partials);
    }
  }

  void gradient2(const T* dy, const TfSg2BiasActCotangent& u, T* out_dy,
                 const TfSg2BiasActGradient& out, A* partials, void* scratch, int64_t first,
                 int64_t last) {
    const F f = f_;
    const T* ux = static_cast<const T*>(u.x);
    const T* uscale = static_cast<const T*>(u.scale);
    const T* unoise = static_cast<const T*>(u.noise);
    T* out_x = static_cast<T*>(out.x);
    T* out_noise = static_cast<T*>(out.noise);
    const bool has_noise = noise_ != nullptr || out_noise != nullptr || unoise != nullptr;
    const int64_t width = pixels_per_row(s_, has_noise), elements = width * s_.channels;
    const Rows<A> rows(2, elements, scratch);
    if (u.bias) {
      fill_row(static_cast<const T*>(u.bias), s_.channels, elements, rows[kBiasCotangent]);
    }
    for (int64_t task = first; task < last; ++task) {
      begin_sums(width, rows);
      if (kScaled && uscale) {
        const int64_t sample = task / tasks_per_sample(s_);
        fill_row(uscale + sample * s_.channels, s_.channels, elements, rows[kScaleCotangent]);
      }
      for_each_row(task, width, rows, [&](int64_t pixel, int64_t n, A noise) {
        const int64_t offset = pixel * s_.channels;
        const A shift = unoise ? widen(unoise[pixel]) : A(0);
        A *const scale = rows[kScale], *const scale_cotangent = rows[kScaleCotangent];
        A *const scale_sum = rows[kScaleSum], *const bias_sum = rows[kBiasSum];
        A* const bias_cotangent = rows[kBiasCotangent];
        LaneSum<A> noise_sum;
        for_lanes<A>(n, [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
          typedef typename decltype(lanes)::type V;
          const V x = load(lanes, x_ + offset + i), t = argument(lanes, x, i, noise, rows);
          const V m = f.slope(t), v = f.compared(t);
          const V d = f.pass(v, load(lanes, dy + offset + i));
          const V cotangent = ux ? load(lanes, ux + offset + i) : V{};
          V tangent = cotangent;
          if constexpr (kScaled) {
            tangent = cotangent * load(lanes, scale + i) + load(lanes, scale_cotangent + i) * x;
          }
          tangent += load(lanes, bias_cotangent + i) + shift;
          store(lanes, f.pass(v, V(tangent * m)), out_dy + offset + i);
          // Linear pieces have no curvature, even where the factors are infinite.
          const V h = F::kCurved ? V(d * tangent * f.curvature(t)) : V{};
          V to_x = h;
          if constexpr (kScaled) {
            to_x = h * load(lanes, scale + i) + load(lanes, scale_cotangent + i) * d * m;
            store(lanes, load(lanes, scale_sum + i) + h * x + cotangent * d * m, scale_sum + i);
          }
          store(lanes, to_x, out_x + offset + i);
          store(lanes, load(lanes, bias_sum + i) + h, bias_sum + i);
          noise_sum.add(lanes, h);
        });
        if (out_noise != nullptr) narrow(noise_sum.total(), out_noise + pixel);
      });
      end_sums(task, width, rows, partials);
    }
  }

 private:
  template <bool kNonTemporal>
  void forward(T* y, void* scratch, int64_t first, int64_t last) {
    const F f = f_;
    const int64_t width = pixels_per_row(s_, noise_ != nullptr);
    const Rows<A> rows(0, width * s_.channels, scratch);
    for (int64_t task = first; task < last; ++task) {
      for_each_row(task, width, rows, [&](int64_t pixel, int64_t n, A noise) {
        const T* x = x_ + pixel * s_.channels;
        T* out = y + pixel * s_.channels;
        for_lanes<A>(n, [&](auto lanes, int64_t i) TF_SG2_INLINE_LAMBDA {
          const auto v = f.value(argument(lanes, load(lanes, x + i), i, noise, rows));
          kNonTemporal ? store_non_temporal(lanes, v, out + i) : store(lanes, v, out + i);
        });
      });
    }
  }

  // Fills the rows that depend on the task's sample. Then calls work(pixel, n, noise) for each row of
  // `width` pixels: the index of its first pixel, its elements, and its noise.
  template <typename Work>
  void for_each_row(int64_t task, int64_t width, const Rows<A>& rows, const Work& work) const {
    const int64_t sample = task / tasks_per_sample(s_), elements = width * s_.channels;
    const int64_t from = task % tasks_per_sample(s_) * pixels_per_task(s_);
    const int64_t to = minimum(from + pixels_per_task(s_), s_.pixels);
    if (kScaled) {
      fill_row(scale_ + sample * s_.channels, s_.channels, elements, rows[kScale]);
    }
    if (bias_) fill_row(bias_, s_.channels, elements, rows[kBias]);
    const T* noise = noise_;
    if (noise != nullptr && s_.noise_batch != 1) noise += sample * s_.pixels;
    for (int64_t p = from; p < to; p += width) {
      work(sample * s_.pixels + p, minimum(width, to - p) * s_.channels,
           noise != nullptr ? widen(noise[p]) : A(0));
    }
  }

  void begin_sums(int64_t width, const Rows<A>& rows) const {
    memset(rows[kScaleSum], 0, width * s_.channels * sizeof(A));
    memset(rows[kBiasSum], 0, width * s_.channels * sizeof(A));
  }

  // Adds the sums of the pixels of a row, and stores them as the task's partial sums.
  void end_sums(int64_t task, int64_t width, const Rows<A>& rows, A* partials) const {
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

  // What the activation is applied to.
  template <typename L>
  TF_SG2_ALWAYS_INLINE typename L::type argument(L lanes, typename L::type x, int64_t i, A noise,
                                                 const Rows<A>& rows) const {
    const typename L::type shift = load(lanes, rows[kBias] + i) + noise;
    if constexpr (kScaled) {
      return x * load(lanes, rows[kScale] + i) + shift;
    } else {
      return x + shift;
    }
  }

  const TfSg2BiasAct& s_;
  const T *const x_, *const scale_, *const noise_, *const bias_;
  const F f_;
};

// Adds the partial sums in the order of the tasks, in double precision.
template <typename T>
void finish_sums(const TfSg2BiasAct& s, const TfSg2BiasActGradient& out, const void* from) {
  typedef typename Accumulator<T>::type A;
  const A* partials = static_cast<const A*>(from);
  if (s.channels == 0 && out.noise) {  // An empty sum; there is no task to write it.
    memset(out.noise, 0, s.batch * s.pixels * sizeof(T));
  }
  const int64_t tasks = s.pixels ? tasks_per_sample(s) : 0, channels = s.channels;
  for (int64_t c = 0; c < channels; ++c) {
    double bias = 0;
    for (int64_t n = 0; n < s.batch; ++n) {
      double scale = 0;
      for (int64_t k = 0; k < tasks; ++k) {
        const A* sums = partials + (n * tasks + k) * 2 * channels;
        scale += sums[c];
        bias += sums[channels + c];
      }
      if (out.scale) narrow(static_cast<A>(scale), static_cast<T*>(out.scale) + n * channels + c);
    }
    if (out.bias) narrow(static_cast<A>(bias), static_cast<T*>(out.bias) + c);
  }
}

// Calls `work` with a worker for the element type, the kind of activation, and the presence of a
// scale, and with a null pointer to the element type.
template <typename Work>
void with_worker(const TfSg2BiasAct& s, const TfSg2BiasActPoint& at, const Work& work) {
  with_element_type(s.type, [&](auto* type) {
    typedef std::remove_pointer_t<decltype(type)> T;
    with_function<typename Accumulator<T>::type>(s, [&](const auto& function) {
      typedef std::decay_t<decltype(function)> F;
      if (at.scale) {
        work(Worker<T, F, true>(s, at, function), type);
      } else {
        work(Worker<T, F, false>(s, at, function), type);
      }
    });
  });
}

size_t partials_bytes(const TfSg2BiasAct* s) {
  return count_tasks(s) * 2 * s->channels * accumulator_bytes(s->type);
}

size_t scratch_bytes(const TfSg2BiasAct* s, int32_t order) {
  const int64_t elements = row_elements(pixels_per_row(*s, false) * s->channels);
  return kRows[order] * elements * accumulator_bytes(s->type);
}

void forward(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at, void* y, void* scratch,
             int64_t first, int64_t last) {
  with_worker(*s, *at, [&](auto worker, auto* type) {
    worker.forward(static_cast<decltype(type)>(y), scratch, first, last);
  });
}

void gradient(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at, const void* dy,
              const TfSg2BiasActGradient* out, void* partials, void* scratch, int64_t first,
              int64_t last) {
  with_worker(*s, *at, [&](auto worker, auto* type) {
    typedef std::remove_pointer_t<decltype(type)> T;
    worker.gradient(static_cast<const T*>(dy), *out,
                    static_cast<typename Accumulator<T>::type*>(partials), scratch, first, last);
  });
}

void gradient2(const TfSg2BiasAct* s, const TfSg2BiasActPoint* at, const void* dy,
               const TfSg2BiasActCotangent* u, void* out_dy, const TfSg2BiasActGradient* out,
               void* partials, void* scratch, int64_t first, int64_t last) {
  with_worker(*s, *at, [&](auto worker, auto* type) {
    typedef std::remove_pointer_t<decltype(type)> T;
    worker.gradient2(static_cast<const T*>(dy), *u, static_cast<T*>(out_dy), *out,
                     static_cast<typename Accumulator<T>::type*>(partials), scratch, first, last);
  });
}

void finish(const TfSg2BiasAct* s, const TfSg2BiasActGradient* out, const void* partials) {
  with_element_type(s->type, [&](auto* type) {
    finish_sums<std::remove_pointer_t<decltype(type)>>(*s, *out, partials);
  });
}

}  // namespace

TF_SG2_DEFINE_CPU_KERNELS(TfSg2BiasActKernels, tf_sg2_bias_act) = {
    count_tasks, partials_bytes, scratch_bytes, forward, gradient, gradient2, finish};
