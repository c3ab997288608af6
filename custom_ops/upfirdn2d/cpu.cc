// The CPU kernel of upfirdn2d: rows of the input are combined along the height into a line that
// stays in cache, and the line is filtered along the width into a row of the output. Strips of
// columns are narrow enough that the rows above are still cached when the next row of the output
// needs them: memory is read once and written once. Where the output is no wider than the input, as
// networks have it, the line is not even written (slide_cpu.h). A kernel that is no outer product
// filters each row of the input on its own and adds up the results.

#include "upfirdn2d.h"

#include <math.h>

#include <type_traits>

#include "combine_cpu.h"
#include "cpu.h"
#include "pixels_cpu.h"
#include "slide_cpu.h"

namespace {

// Output rows of one piece of work: enough to make the lines above it, read twice, a small part.
constexpr int64_t kBandRows = 32;
// Bytes of lines that a strip of columns may hold, so that they stay in cache.
constexpr int64_t kStripBytes = 256 << 10;
constexpr int64_t kMinimumStripColumns = 16;
constexpr int64_t kLinePadding = 16;
// Lanes that pixels of few channels are dealt out to, at most.
constexpr int64_t kMostLanes = 8;

inline int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
inline int64_t ceil_divide(int64_t a, int64_t b) { return -floor_divide(-a, b); }

// One axis of the resampling. Output o takes inputs first(o) ... last(o), not all of which exist;
// input j meets it at the tap that weight() names.
struct Axis {
  int64_t in, out, up, down, pad, taps;
  int64_t first(int64_t o) const { return ceil_divide(o * down - pad, up); }
  int64_t last(int64_t o) const { return floor_divide(o * down - pad + taps - 1, up); }
  int64_t weight(int64_t o, int64_t j) const { return taps - 1 - (j * up - (o * down - pad)); }
  int64_t most() const { return divide_up(taps, up); }
};

Axis rows_of(const TfSg2Upfirdn2d& s) {
  return {s.in_height, s.out_height, s.up_rows, s.down_rows, s.pad_top, s.kernel_rows};
}
Axis columns_of(const TfSg2Upfirdn2d& s) {
  return {s.in_width, s.out_width, s.up_columns, s.down_columns, s.pad_left, s.kernel_columns};
}

int64_t greatest_common_divisor(int64_t a, int64_t b) {
  while (b) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// Rows and columns of weights: kernel[a, b] = rows[a] * columns[b] where `separable`.
template <typename A>
struct Weights {
  bool separable;
  A rows[TF_SG2_MAX_TAPS], columns[TF_SG2_MAX_TAPS];
  A kernel[TF_SG2_MAX_TAPS * TF_SG2_MAX_TAPS];
};

// Splits an outer product into its factors, through its largest entry.
template <typename A>
void find_weights(const TfSg2Upfirdn2d& s, const double* kernel, Weights<A>* w) {
  const int64_t height = s.kernel_rows, width = s.kernel_columns;
  int64_t pivot = 0;
  for (int64_t i = 0; i < height * width; ++i) {
    if (fabs(kernel[i]) > fabs(kernel[pivot])) pivot = i;
    w->kernel[i] = static_cast<A>(kernel[i]);
  }
  const int64_t row = pivot / width, column = pivot % width;
  const double peak = kernel[pivot];
  const double root = sqrt(fabs(peak));
  w->separable = isfinite(peak);
  const double tolerance = (sizeof(A) == sizeof(double) ? 1e-15 : 1e-7) * fabs(peak);
  for (int64_t a = 0; a < height && w->separable; ++a) {
    for (int64_t b = 0; b < width && w->separable; ++b) {
      const double product = peak == 0 ? 0 : kernel[a * width + column] * (kernel[row * width + b] / peak);
      // Written so that a NaN anywhere counts as no outer product.
      w->separable = fabs(product - kernel[a * width + b]) <= tolerance;
    }
  }
  for (int64_t a = 0; a < height; ++a) {
    w->rows[a] = static_cast<A>(peak == 0 ? 0 : kernel[a * width + column] / root);
  }
  for (int64_t b = 0; b < width; ++b) {
    w->columns[b] = static_cast<A>(peak == 0 ? 0 : kernel[row * width + b] / peak * root);
  }
}

// Columns from ... to - 1 of the output, and the inputs base ... base + width - 1 they need.
struct Strip {
  int64_t from, to, base, width;
};

Strip strip_at(const Axis& columns, int64_t from, int64_t to) {
  const int64_t base = columns.first(from);
  return {from, to, base, maximum(columns.last(to - 1) - base + 1, 0)};
}

// Outputs a period apart have the same taps, at inputs a step apart.
struct Rhythm {
  int64_t period, step;
  bool flat() const { return period == 1 && step == 1; }
};

Rhythm rhythm_of(const Axis& axis) {
  const int64_t common = greatest_common_divisor(axis.up, axis.down);
  return {axis.up / common, axis.down / common};
}

// Whether pixels are dealt out to lanes, since they alone are too few elements for vectors.
template <typename A>
bool takes_lanes(const Axis& columns, int64_t channels) {
  const Rhythm rhythm = rhythm_of(columns);
  return channels < Vector<A>::kLanes && !rhythm.flat() && rhythm.period <= kMostLanes &&
         rhythm.step <= kMostLanes;
}

// From one lane to the next, for lanes that share the pixels of a strip.
int64_t lane_stride(int64_t pixels, int64_t channels, int64_t lanes) {
  const int64_t size = divide_up(pixels, lanes) * channels + kPixelPiece;
  return divide_up(size, kLinePadding) * kLinePadding;
}

// Filters `line`, the inputs of a strip, along the width.
template <typename A>
void filter_line(const Axis& columns, const Strip& strip, int64_t channels, const A* weights,
                 const A* line, A* y, bool past_caches, Ahead* ahead) {
  const Rhythm rhythm = rhythm_of(columns);
  const int64_t phases = minimum(rhythm.period, strip.to - strip.from);
  for (int64_t phase = 0; phase < phases; ++phase) {
    const int64_t o = strip.from + phase, j = columns.first(o);
    Combination<A, A> c;
    c.count = columns.last(o) - j + 1;
    for (int64_t m = 0; m < c.count; ++m) {
      c.lines[m] = line + (j + m - strip.base) * channels;
      c.weights[m] = weights[columns.weight(o, j + m)];
    }
    const int64_t repeats = divide_up(strip.to - o, rhythm.period);
    c.n = rhythm.flat() ? repeats * channels : channels;
    c.repeats = rhythm.flat() ? 1 : repeats;
    c.line_step = rhythm.step * channels;
    c.y_step = rhythm.period * channels;
    combine(c, y + phase * channels, past_caches, ahead);
  }
}

// The same, by lanes: `dealt` and `filtered` have room for those of the inputs and the outputs.
template <typename A>
void filter_lanes(const Axis& columns, const Strip& strip, int64_t channels, const A* weights,
                  const A* line, A* dealt, A* filtered, A* y, Ahead* ahead) {
  const Rhythm rhythm = rhythm_of(columns);
  const int64_t outputs = strip.to - strip.from;
  const int64_t in_stride = lane_stride(strip.width, channels, rhythm.step);
  const int64_t out_stride = lane_stride(outputs, channels, rhythm.period);
  if (rhythm.step > 1) deal(line, strip.width, channels, rhythm.step, in_stride, dealt);
  const A* lanes = rhythm.step > 1 ? dealt : line;
  A* out = rhythm.period > 1 ? filtered : y;
  for (int64_t phase = 0; phase < minimum(rhythm.period, outputs); ++phase) {
    const int64_t o = strip.from + phase, j = columns.first(o);
    Combination<A, A> c;
    c.count = columns.last(o) - j + 1;
    for (int64_t m = 0; m < c.count; ++m) {
      const int64_t pixel = j + m - strip.base;
      c.lines[m] = lanes + pixel % rhythm.step * in_stride + pixel / rhythm.step * channels;
      c.weights[m] = weights[columns.weight(o, j + m)];
    }
    c.n = divide_up(outputs - phase, rhythm.period) * channels;
    c.repeats = 1;
    c.line_step = c.y_step = 0;
    combine(c, out + phase * out_stride, false, ahead);
  }
  if (rhythm.period > 1) join(filtered, outputs, channels, rhythm.period, out_stride, y);
}

// The columns of a strip: all, unless the rows that meet in one output row would fall out of cache.
int64_t strip_columns(const TfSg2Upfirdn2d& s, int64_t sum_bytes) {
  const Axis columns = columns_of(s);
  const int64_t column_bytes = maximum(s.channels, 1) * sum_bytes * (rows_of(s).most() + 2);
  const int64_t inputs = maximum(kStripBytes / column_bytes, kMinimumStripColumns);
  return minimum(divide_up(inputs, columns.down) * columns.up, maximum(columns.out, 1));
}

// Elements of a line: the inputs of a strip, or its outputs.
int64_t line_size(const TfSg2Upfirdn2d& s, int64_t sum_bytes) {
  const Axis columns = columns_of(s);
  const int64_t outputs = strip_columns(s, sum_bytes);
  // Where a strip starts moves the span of its inputs by one at most.
  const int64_t inputs = ((outputs - 1) * columns.down + columns.taps - 1) / columns.up + 2;
  const int64_t size = maximum(outputs, inputs) * s.channels + kPixelPiece;
  return divide_up(size, kLinePadding) * kLinePadding;
}

// Elements of all lanes that share a line.
int64_t lanes_size(const TfSg2Upfirdn2d& s, int64_t line_size) {
  return line_size + kMostLanes * (s.channels + kPixelPiece + kLinePadding);
}

template <typename T>
class Worker {
  typedef typename Sum<T>::type A;

 public:
  Worker(const TfSg2Upfirdn2d& s, const double* kernel, const void* x, void* y, void* scratch)
      : s_(s), rows_(rows_of(s)), columns_(columns_of(s)), x_(static_cast<const T*>(x)),
        y_(static_cast<T*>(y)), line_size_(line_size(s, sizeof(A))),
        line_(static_cast<A*>(scratch)), out_(line_ + line_size_), sum_(out_ + line_size_),
        dealt_(sum_ + line_size_), filtered_(dealt_ + lanes_size(s, line_size_)),
        takes_lanes_(takes_lanes<A>(columns_, s.channels)) {
    find_weights(s, kernel, &weights_);
    const int64_t bytes = s.batch * s.out_height * s.out_width * s.channels * sizeof(T);
    past_caches_ = bytes >= kStreamBytes;
    slides_ = std::is_same<T, A>::value && weights_.separable && columns_.up == 1 &&
              columns_.down <= 2 && columns_.taps == kSlideTaps && rows_.most() <= kSlideTaps &&
              s.channels % Vector<A>::kLanes == 0;
  }

  // One band of rows of one image.
  void run(int64_t task) {
    const int64_t bands = divide_up(s_.out_height, kBandRows);
    const int64_t n = task / bands, from = task % bands * kBandRows;
    const int64_t to = minimum(from + kBandRows, s_.out_height);
    const int64_t width = strip_columns(s_, sizeof(A));
    for (int64_t column = 0; column < s_.out_width; column += width) {
      const int64_t end = minimum(column + width, s_.out_width);
      const Strip strip = strip_at(columns_, column, end);
      // What a line holds outside the image is zero, and stays so.
      if (!slides_) memset(line_, 0, line_size_ * sizeof(A));
      for (int64_t o = from; o < to; ++o) {
        T* row = y_ + ((n * s_.out_height + o) * s_.out_width + strip.from) * s_.channels;
        const int64_t first = maximum(rows_.first(o), 0);
        const int64_t count = maximum(minimum(rows_.last(o), rows_.in - 1) - first + 1, 0);
        // Rows that the next row of the output reads and this one does not: strides skip some.
        const int64_t soon = maximum(first + count, rows_.first(o + 1));
        const int64_t next = o + 1 < to ? minimum(rows_.last(o + 1), rows_.in - 1) : -1;
        if constexpr (std::is_same<T, A>::value) {
          if (slides_) {
            slide_row(n, o, first, count, soon, next, strip, row);
            continue;
          }
        }
        if (weights_.separable) {
          read_line(n, o, first, count, strip);
          Ahead ahead = rows_ahead(n, soon, next, strip);
          put(strip, row, &ahead);
        } else {
          put_all(n, o, first, count, strip, row);
        }
      }
    }
    if (past_caches_) finish_streams();
  }

 private:
  const T* input_row(int64_t n, int64_t row) const {
    return x_ + (n * s_.in_height + row) * s_.in_width * s_.channels;
  }

  // Makes a strip of row o from rows first ... first + count - 1 of the input, without a line.
  // Rows soon ... next will be needed next.
  void slide_row(int64_t n, int64_t o, int64_t first, int64_t count, int64_t soon, int64_t next,
                 const Strip& strip, T* row) {
    if (count == 0) {
      memset(row, 0, (strip.to - strip.from) * s_.channels * sizeof(T));
      return;
    }
    Slide<T> s;
    for (int64_t m = 0; m < count; ++m) {
      s.rows[m] = input_row(n, first + m);
      s.row_weights[m] = weights_.rows[rows_.weight(o, first + m)];
    }
    for (int64_t b = 0; b < kSlideTaps; ++b) {
      s.column_weights[b] = weights_.columns[columns_.weight(strip.from, strip.base + b)];
    }
    s.count = count;
    s.columns = s_.in_width;
    s.channels = s_.channels;
    s.first = strip.base;
    s.outputs = strip.to - strip.from;
    s.ahead = input_row(n, soon);
    s.ahead_count = maximum(next - soon + 1, 0);
    s.row_elements = s_.in_width * s_.channels;
    s.ring = line_;
    slide(s, columns_.down, row, past_caches_ && aligned(row));
  }

  // Sums up what rows first ... first + count - 1 of the input give to row o.
  void read_line(int64_t n, int64_t o, int64_t first, int64_t count, const Strip& strip) {
    const int64_t from = maximum(strip.base, 0);
    const int64_t to = minimum(strip.base + strip.width, columns_.in);
    if (to <= from) return;
    Combination<T, A> c;
    c.count = count;
    for (int64_t m = 0; m < count; ++m) {
      c.lines[m] = input_row(n, first + m) + from * s_.channels;
      c.weights[m] = weights_.separable ? weights_.rows[rows_.weight(o, first + m)] : A(1);
    }
    c.n = (to - from) * s_.channels;
    c.repeats = 1;
    c.line_step = c.y_step = 0;
    combine(c, line_ + (from - strip.base) * s_.channels, false, nullptr);
  }

  // Rows first ... last of a strip of the input, to be asked for while a row of the output is made.
  Ahead rows_ahead(int64_t n, int64_t first, int64_t last, const Strip& strip) {
    Ahead ahead;
    const int64_t from = maximum(strip.base, 0);
    const int64_t width = minimum(strip.base + strip.width, columns_.in) - from;
    if (last < first || width <= 0) return ahead;
    ahead.row = reinterpret_cast<const char*>(input_row(n, first) + from * s_.channels);
    ahead.rows = last - first + 1;
    ahead.row_bytes = width * s_.channels * sizeof(T);
    ahead.row_stride = s_.in_width * s_.channels * sizeof(T);
    const int64_t vectors = (strip.to - strip.from) * s_.channels / Vector<A>::kLanes;
    ahead.lines = divide_up(ahead.rows * divide_up(ahead.row_bytes, kCacheLine), vectors + 1);
    return ahead;
  }

  // Filters the line into y: scratch, or a row of the output.
  void filter(const Strip& strip, const A* weights, A* y, bool past_caches, Ahead* ahead) {
    if (takes_lanes_) {
      filter_lanes(columns_, strip, s_.channels, weights, line_, dealt_, filtered_, y, ahead);
    } else {
      filter_line(columns_, strip, s_.channels, weights, line_, y, past_caches, ahead);
    }
  }

  void put(const Strip& strip, A* row, Ahead* ahead) {
    if (past_caches_ && takes_lanes_) return put_copy(strip, row, ahead);
    filter(strip, weights_.columns, row, past_caches_, ahead);
  }
  template <typename Narrow>
  void put(const Strip& strip, Narrow* row, Ahead* ahead) {
    put_copy(strip, row, ahead);
  }
  void put_copy(const Strip& strip, T* row, Ahead* ahead) {
    filter(strip, weights_.columns, out_, false, ahead);
    write_line(out_, row, (strip.to - strip.from) * s_.channels, past_caches_);
  }

  void put_all(int64_t n, int64_t o, int64_t first, int64_t count, const Strip& strip, T* row) {
    const int64_t size = (strip.to - strip.from) * s_.channels;
    memset(sum_, 0, size * sizeof(A));
    for (int64_t j = first; j < first + count; ++j) {
      const A* weights = weights_.kernel + rows_.weight(o, j) * columns_.taps;
      read_line(n, o, j, 1, strip);
      filter(strip, weights, out_, false, nullptr);
      for (int64_t i = 0; i < size; ++i) sum_[i] += out_[i];
    }
    write_line(sum_, row, size, past_caches_);
  }

  const TfSg2Upfirdn2d& s_;
  const Axis rows_, columns_;
  const T* x_;
  T* y_;
  const int64_t line_size_;
  A *line_, *out_, *sum_, *dealt_, *filtered_;
  const bool takes_lanes_;
  Weights<A> weights_;
  bool past_caches_, slides_;
};

template <typename T>
void run(const TfSg2Upfirdn2d& s, const double* kernel, const void* x, void* y, void* scratch,
         int64_t first, int64_t last) {
  Worker<T> worker(s, kernel, x, y, scratch);
  for (int64_t task = first; task < last; ++task) worker.run(task);
}

}  // namespace

extern "C" {

int64_t TF_SG2_CPU(tf_sg2_upfirdn2d_cpu_tasks)(const TfSg2Upfirdn2d* s) {
  if (s->out_width == 0 || s->channels == 0) return 0;
  return s->batch * divide_up(s->out_height, kBandRows);
}

size_t TF_SG2_CPU(tf_sg2_upfirdn2d_cpu_scratch)(const TfSg2Upfirdn2d* s) {
  const size_t bytes = s->type == TF_SG2_FLOAT64 ? sizeof(double) : sizeof(float);
  const int64_t size = line_size(*s, bytes);
  return (3 * size + 2 * lanes_size(*s, size)) * bytes;
}

void TF_SG2_CPU(tf_sg2_upfirdn2d_cpu)(const TfSg2Upfirdn2d* s, const double* kernel, const void* x,
                                      void* y, void* scratch, int64_t first, int64_t last) {
  switch (s->type) {
    case TF_SG2_FLOAT16: return run<Half>(*s, kernel, x, y, scratch, first, last);
    case TF_SG2_BFLOAT16: return run<BFloat16>(*s, kernel, x, y, scratch, first, last);
    case TF_SG2_FLOAT32: return run<float>(*s, kernel, x, y, scratch, first, last);
    default: return run<double>(*s, kernel, x, y, scratch, first, last);
  }
}

}  // extern "C"
