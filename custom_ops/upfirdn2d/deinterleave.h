/* Deals the pixels of a line out to several lanes in turn, and joins such lanes to a line again.
 *
 * Pixels of few channels make inner loops too short for vectors. In a lane, the pixels that meet
 * the same tap lie side by side, so that a whole row of them is filtered at once. Local to its
 * file, as cpu.h says.
 */
#ifndef TF_SG2_PIXELS_CPU_H_
#define TF_SG2_PIXELS_CPU_H_

#include "cpu.h"

namespace {

/* Pixels are copied in pieces of this many elements. What is copied beyond a pixel's end is
 * overwritten by the next pixel; there must be room for it behind the last one. */
constexpr int64_t kPixelPiece = 4;

template <typename A>
TF_SG2_ALWAYS_INLINE void copy_pixel(const A* from, A* to, int64_t channels) {
  if (channels == 1) {
    *to = *from;
  } else {
    for (int64_t i = 0; i < channels; i += kPixelPiece) {
      memcpy(to + i, from + i, kPixelPiece * sizeof(A));
    }
  }
}

template <typename A>
TF_SG2_ALWAYS_INLINE void deal_inline(const A* __restrict line, int64_t pixels, int64_t channels,
                               int64_t count, int64_t stride, A* __restrict lanes) {
  const int64_t rounds = pixels / count;
  for (int64_t r = 0; r < rounds; ++r) {
    for (int64_t k = 0; k < count; ++k) {
      copy_pixel(line + (r * count + k) * channels, lanes + k * stride + r * channels, channels);
    }
  }
  for (int64_t p = rounds * count; p < pixels; ++p) {
    copy_pixel(line + p * channels, lanes + p % count * stride + rounds * channels, channels);
  }
}

template <typename A>
TF_SG2_ALWAYS_INLINE void join_inline(const A* __restrict lanes, int64_t pixels, int64_t channels,
                               int64_t count, int64_t stride, A* __restrict line) {
  const int64_t rounds = maximum(pixels - 1, 0) / count;
  for (int64_t r = 0; r < rounds; ++r) {
    for (int64_t k = 0; k < count; ++k) {
      copy_pixel(lanes + k * stride + r * channels, line + (r * count + k) * channels, channels);
    }
  }
  // The line may lie in a tensor: nothing is written beyond its last pixel.
  for (int64_t p = rounds * count; p < pixels; ++p) {
    memcpy(line + p * channels, lanes + p % count * stride + rounds * channels,
           channels * sizeof(A));
  }
}

/* Pixel r * count + k of the line -> pixel r of lane k, which starts k * stride elements behind
 * `lanes`. The numbers that the compiler should know are those of images, up or down 2. */
template <typename A>
void deal(const A* line, int64_t pixels, int64_t channels, int64_t count, int64_t stride, A* lanes) {
  if (count == 2 && channels == 1) return deal_inline(line, pixels, 1, 2, stride, lanes);
  if (count == 2 && channels == 3) return deal_inline(line, pixels, 3, 2, stride, lanes);
  if (count == 2 && channels == 4) return deal_inline(line, pixels, 4, 2, stride, lanes);
  deal_inline(line, pixels, channels, count, stride, lanes);
}

/* Pixel r of lane k -> pixel r * count + k of the line. */
template <typename A>
void join(const A* lanes, int64_t pixels, int64_t channels, int64_t count, int64_t stride, A* line) {
  if (count == 2 && channels == 1) return join_inline(lanes, pixels, 1, 2, stride, line);
  if (count == 2 && channels == 3) return join_inline(lanes, pixels, 3, 2, stride, line);
  if (count == 2 && channels == 4) return join_inline(lanes, pixels, 4, 2, stride, line);
  join_inline(lanes, pixels, channels, count, stride, line);
}

}  // namespace

#endif  // TF_SG2_PIXELS_CPU_H_
