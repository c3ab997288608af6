/* Deinterleaves the pixels of a line into several lines, and interleaves them again.
 *
 * Inner loops over the channels of one pixel are too short for vectors if there are few channels.
 * After deinterleaving, pixels that use the same tap are adjacent, so one loop filters all of them.
 */
#ifndef TF_SG2_UPFIRDN2D_DEINTERLEAVE_H_
#define TF_SG2_UPFIRDN2D_DEINTERLEAVE_H_

#include "../common/vector.h"

namespace {

/* Pixels are copied in units of this many elements. What is copied beyond the end of a pixel is
 * overwritten by the next one. A line needs this much room after its last pixel. */
constexpr int64_t kPixelUnit = 4;

template <typename A>
TF_SG2_ALWAYS_INLINE void copy_pixel(const A* from, A* to, int64_t channels) {
  if (channels == 1) {
    *to = *from;
  } else {
    for (int64_t i = 0; i < channels; i += kPixelUnit) {
      memcpy(to + i, from + i, kPixelUnit * sizeof(A));
    }
  }
}

template <typename A>
TF_SG2_ALWAYS_INLINE void deinterleave_inline(const A* __restrict line, int64_t pixels,
                                              int64_t channels, int64_t count, int64_t stride,
                                              A* __restrict parts) {
  const int64_t rounds = pixels / count;
  for (int64_t r = 0; r < rounds; ++r) {
    for (int64_t k = 0; k < count; ++k) {
      copy_pixel(line + (r * count + k) * channels, parts + k * stride + r * channels, channels);
    }
  }
  for (int64_t p = rounds * count; p < pixels; ++p) {
    copy_pixel(line + p * channels, parts + p % count * stride + rounds * channels, channels);
  }
}

template <typename A>
TF_SG2_ALWAYS_INLINE void interleave_inline(const A* __restrict parts, int64_t pixels,
                                            int64_t channels, int64_t count, int64_t stride,
                                            A* __restrict line) {
  const int64_t rounds = maximum(pixels - 1, 0) / count;
  for (int64_t r = 0; r < rounds; ++r) {
    for (int64_t k = 0; k < count; ++k) {
      copy_pixel(parts + k * stride + r * channels, line + (r * count + k) * channels, channels);
    }
  }
  // The line may belong to a tensor: nothing is written after its last pixel.
  for (int64_t p = rounds * count; p < pixels; ++p) {
    memcpy(line + p * channels, parts + p % count * stride + rounds * channels,
           channels * sizeof(A));
  }
}

/* Pixel r * count + k of the line becomes pixel r of part k, which begins at parts + k * stride.
 * Images with a factor of 2 are common: their numbers are known to the compiler. */
template <typename A>
void deinterleave(const A* line, int64_t pixels, int64_t channels, int64_t count, int64_t stride,
                  A* parts) {
  if (count == 2 && channels == 1) return deinterleave_inline(line, pixels, 1, 2, stride, parts);
  if (count == 2 && channels == 3) return deinterleave_inline(line, pixels, 3, 2, stride, parts);
  if (count == 2 && channels == 4) return deinterleave_inline(line, pixels, 4, 2, stride, parts);
  deinterleave_inline(line, pixels, channels, count, stride, parts);
}

/* Pixel r of part k becomes pixel r * count + k of the line. */
template <typename A>
void interleave(const A* parts, int64_t pixels, int64_t channels, int64_t count, int64_t stride,
                A* line) {
  if (count == 2 && channels == 1) return interleave_inline(parts, pixels, 1, 2, stride, line);
  if (count == 2 && channels == 3) return interleave_inline(parts, pixels, 3, 2, stride, line);
  if (count == 2 && channels == 4) return interleave_inline(parts, pixels, 4, 2, stride, line);
  interleave_inline(parts, pixels, channels, count, stride, line);
}

}  // namespace

#endif  // TF_SG2_UPFIRDN2D_DEINTERLEAVE_H_
