// The CPU kernel of upfirdn2d.
//
// A weighted sum of input rows is a line, which stays in the cache. The line is then filtered along
// the width into a row of the output. Strips of columns are narrow enough that the input rows are
// still in the cache for the next row of the output: memory is read once and written once.
// fused_row.h does both in one loop for the shapes that networks have. A kernel that is not separable
// filters each input row, and sums the results.

#include <type_traits>

#include "../common/cpu_dispatch.h"
#include "../common/vector.h"
#include "axis.h"
#include "deinterleave.h"
#include "fused_row.h"
#include "upfirdn2d.h"
#include "weighted_sum.h"
#include "weights.h"

namespace {

// Output rows per task. Rows above a task are read twice: they are a small part.
constexpr int64_t kTaskRows = 32;
// Bytes of lines per strip of columns, so that they stay in the cache.
constexpr int64_t kStripBytes = 256 << 10;
constexpr int64_t kMinimumStripColumns = 16;
// Lines begin at multiples of this many elements.
constexpr int64_t kLineAlignment = 16;
// The largest number of parts for deinterleaving.
constexpr int64_t kMaximumParts = 8;

// Whether a line is deinterleaved, because its pixels are shorter than a vector.
template <typename A>
bool needs_deinterleaving(const Axis& columns, int64_t channels) {
  const Polyphase polyphase = polyphase_of(columns);
  return channels < FullVector<A>::kCount && !polyphase.trivial() &&
         polyphase.phases <= kMaximumParts && polyphase.stride <= kMaximumParts;
}

// The distance between the parts of a deinterleaved line, in elements.
int64_t part_stride(int64_t pixels, int64_t channels, int64_t parts) {
  return round_up(divide_up(pixels, parts) * channels + kPixelUnit, kLineAlignment);
}

// Columns per strip: all, unless the input rows of one output row exceed the cache.
int64_t strip_columns(const TfSg2Upfirdn2d& s, int64_t element_bytes) {
  const Axis columns = columns_of(s);
  const int64_t lines = rows_of(s).most() + 2;
  const int64_t column_bytes = maximum(s.channels, 1) * element_bytes * lines;
  const int64_t inputs = maximum(kStripBytes / column_bytes, kMinimumStripColumns);
  return minimum(divide_up(inputs, columns.down) * columns.up, maximum(columns.out, 1));
}

// Elements of a line: the inputs of a strip, or its outputs.
int64_t line_elements(const TfSg2Upfirdn2d& s, int64_t element_bytes) {
  const Axis columns = columns_of(s);
  const int64_t outputs = strip_columns(s, element_bytes);
  // The number of inputs depends on where a strip begins, by at most one.
  const int64_t inputs = ((outputs - 1) * columns.down + columns.taps - 1) / columns.up + 2;
  return round_up(maximum(outputs, inputs) * s.channels + kPixelUnit, kLineAlignment);
}

// Elements of all parts of a deinterleaved line.
int64_t parts_elements(const TfSg2Upfirdn2d& s, int64_t line_elements) {
  return line_elements + kMaximumParts * (s.channels + kPixelUnit + kLineAlignment);
}

template <typename T>
class Filter {
  typedef typename Accumulator<T>::type A;

 public:
  Filter(const TfSg2Upfirdn2d& s, const double* kernel, const void* x, void* y, void* scratch)
      : s_(s), rows_(rows_of(s)), columns_(columns_of(s)), polyphase_(polyphase_of(columns_)),
        x_(static_cast<const T*>(x)), y_(static_cast<T*>(y)),
        line_elements_(line_elements(s, sizeof(A))), line_(static_cast<A*>(scratch)),
        out_(line_ + line_elements_), sum_(out_ + line_elements_), parts_in_(sum_ + line_elements_),
        parts_out_(parts_in_ + parts_elements(s, line_elements_)),
        deinterleaves_(needs_deinterleaving<A>(columns_, s.channels)) {
    find_weights(s, kernel, &weights_);
    const int64_t bytes = s.batch * s.out_height * s.out_width * s.channels * sizeof(T);
    non_temporal_ = bytes >= kNonTemporalBytes;
    fused_ = std::is_same<T, A>::value && weights_.separable && columns_.up == 1 &&
             columns_.down <= 2 && columns_.taps == kFusedTaps && rows_.most() <= kFusedTaps &&
             s.channels % FullVector<A>::kCount == 0;
  }

  // Runs one task: kTaskRows rows of one image.
  void run(int64_t task) {
    const int64_t tasks_per_image = divide_up(s_.out_height, kTaskRows);
    const int64_t n = task / tasks_per_image, from = task % tasks_per_image * kTaskRows;
    const int64_t to = minimum(from + kTaskRows, s_.out_height);
    const int64_t width = strip_columns(s_, sizeof(A));
    for (int64_t column = 0; column < s_.out_width; column += width) {
      const Strip strip = strip_at(columns_, column, minimum(column + width, s_.out_width));
      // The part of the line outside of the image is zero, and nothing writes to it.
      if (!fused_) memset(line_, 0, line_elements_ * sizeof(A));
      for (int64_t o = from; o < to; ++o) filter_row(n, o, o + 1 < to, strip);
    }
    if (non_temporal_) finish_non_temporal_stores();
  }

 private:
  // The input rows of one output row: `count` from `first` on. Rows next … next_last are those that
  // only the following output row reads.
  struct InputRows {
    int64_t first, count, next, next_last;
  };

  InputRows input_rows(int64_t o, bool has_next) const {
    const int64_t first = maximum(rows_.first(o), 0);
    const int64_t count = maximum(minimum(rows_.last(o), rows_.in - 1) - first + 1, 0);
    const int64_t next = maximum(first + count, rows_.first(o + 1));
    return {first, count, next, has_next ? minimum(rows_.last(o + 1), rows_.in - 1) : -1};
  }

  const T* input_row(int64_t n, int64_t row) const {
    return x_ + (n * s_.in_height + row) * s_.in_width * s_.channels;
  }

  // Makes a strip of output row o.
  void filter_row(int64_t n, int64_t o, bool has_next, const Strip& strip) {
    const InputRows in = input_rows(o, has_next);
    T* y = y_ + ((n * s_.out_height + o) * s_.out_width + strip.from) * s_.channels;
    if constexpr (std::is_same<T, A>::value) {
      if (fused_) return filter_row_fused(n, o, in, strip, y);
    }
    if (weights_.separable) {
      sum_rows(n, o, in.first, in.count, strip);
      RowPrefetch prefetch = prefetch_rows(n, in, strip);
      filter_line_into(strip, y, &prefetch);
    } else {
      filter_each_row(n, o, in, strip, y);
    }
  }

  // The same in one loop, without a line.
  void filter_row_fused(int64_t n, int64_t o, const InputRows& in, const Strip& strip, T* y) {
    if (in.count == 0) {
      memset(y, 0, strip.outputs() * s_.channels * sizeof(T));
      return;
    }
    FusedRow<T> f;
    for (int64_t m = 0; m < in.count; ++m) {
      f.rows[m] = input_row(n, in.first + m);
      f.row_weights[m] = weights_.rows[rows_.weight(o, in.first + m)];
    }
    for (int64_t b = 0; b < kFusedTaps; ++b) {
      f.column_weights[b] = weights_.columns[columns_.weight(strip.from, strip.base + b)];
    }
    f.count = in.count;
    f.columns = s_.in_width;
    f.channels = s_.channels;
    f.first = strip.base;
    f.outputs = strip.outputs();
    f.prefetch = input_row(n, in.next);
    f.prefetch_count = maximum(in.next_last - in.next + 1, 0);
    f.row_elements = s_.in_width * s_.channels;
    f.ring = line_;
    filter_fused(f, columns_.down, y, non_temporal_ && aligned(y));
  }

  // Fills the line with the weighted sum of input rows first … first + count - 1 for output row o.
  // A kernel that is not separable passes one row, which is copied.
  void sum_rows(int64_t n, int64_t o, int64_t first, int64_t count, const Strip& strip) {
    const int64_t from = maximum(strip.base, 0);
    const int64_t to = minimum(strip.base + strip.width, columns_.in);
    if (to <= from) return;
    WeightedSum<T, A> sum;
    sum.count = count;
    for (int64_t m = 0; m < count; ++m) {
      sum.lines[m] = input_row(n, first + m) + from * s_.channels;
      sum.weights[m] = weights_.separable ? weights_.rows[rows_.weight(o, first + m)] : A(1);
    }
    sum.n = (to - from) * s_.channels;
    sum.repeats = 1;
    sum.line_step = sum.y_step = 0;
    sum_lines(sum, line_ + (from - strip.base) * s_.channels, false, nullptr);
  }

  // What is prefetched while an output row is made.
  RowPrefetch prefetch_rows(int64_t n, const InputRows& in, const Strip& strip) const {
    RowPrefetch prefetch;
    const int64_t from = maximum(strip.base, 0);
    const int64_t width = minimum(strip.base + strip.width, columns_.in) - from;
    if (in.next_last < in.next || width <= 0) return prefetch;
    prefetch.row = reinterpret_cast<const char*>(input_row(n, in.next) + from * s_.channels);
    prefetch.rows = in.next_last - in.next + 1;
    prefetch.row_bytes = width * s_.channels * sizeof(T);
    prefetch.row_stride = s_.in_width * s_.channels * sizeof(T);
    const int64_t vectors = strip.outputs() * s_.channels / FullVector<A>::kCount;
    const int64_t lines = prefetch.rows * divide_up(prefetch.row_bytes, kCacheLine);
    prefetch.lines = divide_up(lines, vectors + 1);
    return prefetch;
  }

  // Filters the line into a row of the output.
  void filter_line_into(const Strip& strip, T* y, RowPrefetch* prefetch) {
    if constexpr (std::is_same<T, A>::value) {
      if (!(non_temporal_ && deinterleaves_)) {
        return filter_line(strip, weights_.columns, y, non_temporal_, prefetch);
      }
    }
    filter_line(strip, weights_.columns, out_, false, prefetch);
    write_line(out_, y, strip.outputs() * s_.channels, non_temporal_);
  }

  // The same for a kernel that is not separable.
  void filter_each_row(int64_t n, int64_t o, const InputRows& in, const Strip& strip, T* y) {
    const int64_t elements = strip.outputs() * s_.channels;
    memset(sum_, 0, elements * sizeof(A));
    for (int64_t j = in.first; j < in.first + in.count; ++j) {
      const A* weights = weights_.kernel + rows_.weight(o, j) * columns_.taps;
      sum_rows(n, o, j, 1, strip);
      filter_line(strip, weights, out_, false, nullptr);
      for (int64_t i = 0; i < elements; ++i) sum_[i] += out_[i];
    }
    write_line(sum_, y, elements, non_temporal_);
  }

  // Filters the line along the width into y: scratch memory, or a row of the output.
  void filter_line(const Strip& strip, const A* weights, A* y, bool non_temporal,
                   RowPrefetch* prefetch) {
    if (deinterleaves_) return filter_parts(strip, weights, y, prefetch);
    const int64_t phases = minimum(polyphase_.phases, strip.outputs());
    for (int64_t phase = 0; phase < phases; ++phase) {
      const int64_t o = strip.from + phase, first = columns_.first(o);
      WeightedSum<A, A> sum;
      set_weights(o, weights, &sum);
      for (int64_t m = 0; m < sum.count; ++m) {
        sum.lines[m] = line_ + (first + m - strip.base) * s_.channels;
      }
      const int64_t repeats = divide_up(strip.to - o, polyphase_.phases);
      sum.n = polyphase_.trivial() ? repeats * s_.channels : s_.channels;
      sum.repeats = polyphase_.trivial() ? 1 : repeats;
      sum.line_step = polyphase_.stride * s_.channels;
      sum.y_step = polyphase_.phases * s_.channels;
      sum_lines(sum, y + phase * s_.channels, non_temporal, prefetch);
    }
  }

  // The same for pixels that are shorter than a vector: one sum per phase.
  void filter_parts(const Strip& strip, const A* weights, A* y, RowPrefetch* prefetch) {
    const int64_t channels = s_.channels, outputs = strip.outputs();
    const int64_t phases = polyphase_.phases, stride = polyphase_.stride;
    const int64_t in_stride = part_stride(strip.width, channels, stride);
    const int64_t out_stride = part_stride(outputs, channels, phases);
    if (stride > 1) deinterleave(line_, strip.width, channels, stride, in_stride, parts_in_);
    const A* in = stride > 1 ? parts_in_ : line_;
    A* out = phases > 1 ? parts_out_ : y;
    for (int64_t phase = 0; phase < minimum(phases, outputs); ++phase) {
      const int64_t o = strip.from + phase, first = columns_.first(o);
      WeightedSum<A, A> sum;
      set_weights(o, weights, &sum);
      for (int64_t m = 0; m < sum.count; ++m) {
        const int64_t pixel = first + m - strip.base;
        sum.lines[m] = in + pixel % stride * in_stride + pixel / stride * channels;
      }
      sum.n = divide_up(outputs - phase, phases) * channels;
      sum.repeats = 1;
      sum.line_step = sum.y_step = 0;
      sum_lines(sum, out + phase * out_stride, false, prefetch);
    }
    if (phases > 1) interleave(parts_out_, outputs, channels, phases, out_stride, y);
  }

  // Sets the taps of output column o.
  void set_weights(int64_t o, const A* weights, WeightedSum<A, A>* sum) const {
    const int64_t first = columns_.first(o);
    sum->count = columns_.last(o) - first + 1;
    for (int64_t m = 0; m < sum->count; ++m) {
      sum->weights[m] = weights[columns_.weight(o, first + m)];
    }
  }

  const TfSg2Upfirdn2d& s_;
  const Axis rows_, columns_;
  const Polyphase polyphase_;
  const T* x_;
  T* y_;
  const int64_t line_elements_;
  A *line_, *out_, *sum_, *parts_in_, *parts_out_;
  const bool deinterleaves_;
  Weights<A> weights_;
  bool non_temporal_, fused_;
};

int64_t count_tasks(const TfSg2Upfirdn2d* s) {
  if (s->out_width == 0 || s->channels == 0) return 0;
  return s->batch * divide_up(s->out_height, kTaskRows);
}

size_t scratch_bytes(const TfSg2Upfirdn2d* s) {
  const size_t element_bytes = accumulator_bytes(s->type);
  const int64_t elements = line_elements(*s, element_bytes);
  return (3 * elements + 2 * parts_elements(*s, elements)) * element_bytes;
}

void run(const TfSg2Upfirdn2d* s, const double* kernel, const void* x, void* y, void* scratch,
         int64_t first, int64_t last) {
  with_element_type(s->type, [&](auto* type) {
    Filter<std::remove_pointer_t<decltype(type)>> filter(*s, kernel, x, y, scratch);
    for (int64_t task = first; task < last; ++task) filter.run(task);
  });
}

}  // namespace

TF_SG2_DEFINE_CPU_KERNELS(TfSg2Upfirdn2dKernels, tf_sg2_upfirdn2d) = {count_tasks, scratch_bytes,
                                                                      run};
