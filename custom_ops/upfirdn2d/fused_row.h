/* Filters rows of the input along both axes at once, pixel by pixel: the sums along the height of
 * the last four columns are kept in a ring, which the first level of cache holds, and each new one
 * completes a pixel of the output. So the memory is read and written all the time, not in turns,
 * and the next rows are asked for as they will be read. Local to its file, as cpu.h says.
 */
#ifndef TF_SG2_SLIDE_CPU_H_
#define TF_SG2_SLIDE_CPU_H_

#include "cpu.h"

namespace {

constexpr int kSlideTaps = 4; /* Of the kernel along the width, and along the height at most. */

/* Pixel i of `outputs` = sum over b < kSlideTaps of column_weights[b] * v[first + step * i + b],
 * v[j] = sum over m < count of row_weights[m] * rows[m][j], zero where j is none of `columns`.
 * Whole vectors make up the `channels`. */
template <typename A>
struct Slide {
  const A* rows[kSlideTaps];
  A row_weights[kSlideTaps], column_weights[kSlideTaps];
  int64_t count, columns, channels, first, outputs;
  const A* ahead; /* Rows of the input that the next row of the output will need as well. */
  int64_t ahead_count, row_elements;
  A* ring; /* Room for kSlideTaps pixels. */
};

template <int M, int kStep, typename A>
void slide_rows(const Slide<A>& s, A* y, bool past_caches) {
  typedef typename Vector<A>::type V;
  constexpr int kLanes = Vector<A>::kLanes;
  const A* rows[M];
  A row_weights[M], weights[kSlideTaps];
  for (int m = 0; m < M; ++m) {
    rows[m] = s.rows[m];
    row_weights[m] = s.row_weights[m];
  }
  for (int b = 0; b < kSlideTaps; ++b) weights[b] = s.column_weights[b];
  const int64_t channels = s.channels;
  const auto sum_rows = [&](int64_t i) {
    for (int64_t k = 0; k < s.ahead_count; ++k) {
      __builtin_prefetch(s.ahead + k * s.row_elements + i, 0, 2); /* To the second level. */
    }
    V sum = load(rows[0] + i) * row_weights[0];
    for (int m = 1; m < M; ++m) sum += load(rows[m] + i) * row_weights[m];
    return sum;
  };
  int64_t column = s.first, oldest = 0;
  const auto pixel = [&](int b) { return s.ring + (oldest + b) % kSlideTaps * channels; };
  /* Gives `take` the sums of the next column, vector by vector. */
  const auto next_column = [&](const auto& take) {
    const int64_t from = column * channels;
    const bool exists = column >= 0 && column < s.columns;
    for (int64_t i = 0; i < channels; i += kLanes) take(i, exists ? sum_rows(from + i) : V{});
    ++column;
  };
  const auto keep = [&](A* to) { next_column([&](int64_t i, V sum) { store(to + i, sum); }); };
  for (int b = 0; b < kSlideTaps - 1; ++b) keep(pixel(b));
  for (int64_t o = 0; o < s.outputs; ++o) {
    const A *a = pixel(0), *b = pixel(1), *c = pixel(2);
    A* d = pixel(3);
    next_column([&](int64_t i, V last) {
      store(d + i, last);
      const V sum = load(a + i) * weights[0] + load(b + i) * weights[1] + load(c + i) * weights[2] +
                    last * weights[3];
      past_caches ? stream(y + i, sum) : store(y + i, sum);
    });
    ++oldest;
    if (kStep == 2 && o + 1 < s.outputs) {
      keep(pixel(3));
      ++oldest;
    }
    y += channels;
  }
}

template <int kStep, typename A>
void slide_by(const Slide<A>& s, A* y, bool past_caches) {
  switch (s.count) {
    case 1: return slide_rows<1, kStep>(s, y, past_caches);
    case 2: return slide_rows<2, kStep>(s, y, past_caches);
    case 3: return slide_rows<3, kStep>(s, y, past_caches);
    default: return slide_rows<4, kStep>(s, y, past_caches);
  }
}

/* Fills y, for a step of 1 or 2; it is aligned to the vector where it goes past the caches. */
template <typename A>
void slide(const Slide<A>& s, int64_t step, A* y, bool past_caches) {
  step == 1 ? slide_by<1>(s, y, past_caches) : slide_by<2>(s, y, past_caches);
}

}  // namespace

#endif  // TF_SG2_SLIDE_CPU_H_
