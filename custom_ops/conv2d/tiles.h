/* Tiles of images: where they are, and their transforms into planes of a scratch memory. */
#ifndef TF_SG2_CONV2D_TILES_H_
#define TF_SG2_CONV2D_TILES_H_

#include "../common/vector.h"
#include "conv2d.h"
#include "transforms.h"

namespace {

/* Alignment of rows in scratch memory, in floats. */
constexpr int64_t kAlignment = 16;

/* One matrix per position of a tile: rows are tiles or channels, columns are channels. */
struct Planes {
  int64_t row; /* Floats from one row to the next one. */
  int64_t plane; /* Floats from a position to the next. */

  Planes(int64_t rows, int64_t columns) {
    /* Strides that are no multiple of 4096 bytes, so that rows and positions do not share the same
     * few lines of the first-level cache. */
    row = round_up(columns, kAlignment) + kAlignment;
    plane = round_up(rows * row, 1024) + 5 * kAlignment;
  }
};

/* The tiles of all images, in the order of memory. */
struct Tiles {
  int64_t rows, columns, count;

  explicit Tiles(const TfSg2Conv2d& s)
      : rows(divide_up(s.height, s.tile)), columns(divide_up(s.width, s.tile)),
        count(s.batch * rows * columns) {}
};

struct Position {
  int64_t n, top, left;
};

inline Position tile_at(const TfSg2Conv2d& s, const Tiles& tiles, int64_t t) {
  const int64_t in_image = t % (tiles.rows * tiles.columns);
  return {t / (tiles.rows * tiles.columns), in_image / tiles.columns * s.tile,
          in_image % tiles.columns * s.tile};
}

/* Finds the pixels of a square whose first pixel is (top, left). Those outside of the image are
 * `zeros`. */
template <int Size>
inline void find_pixels(const TfSg2Conv2d& s, const float* image, int64_t channels, int64_t top,
                        int64_t left, const float* zeros, const float* (&pixels)[Size][Size]) {
  for (int i = 0; i < Size; ++i) {
    const bool row_inside = top + i >= 0 && top + i < s.height;
    for (int j = 0; j < Size; ++j) {
      const bool inside = row_inside && left + j >= 0 && left + j < s.width;
      pixels[i][j] = inside ? image + ((top + i) * s.width + left + j) * channels : zeros;
    }
  }
}

/* Transforms the square of pixels of one tile into row `t` of `planes`, for `channels` channels. */
template <int Size, int Positions, typename OneDimension>
inline void transform_pixels(const float* (&pixels)[Size][Size], int64_t channels,
                             const Planes& planes, float* row, const OneDimension& transform) {
  for_lanes<float>(channels, [&](auto lanes, int64_t c) TF_SG2_INLINE_LAMBDA {
    typedef typename decltype(lanes)::type V;
    V in[Size][Size], out[Positions][Positions];
#pragma GCC unroll 6
    for (int i = 0; i < Size; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < Size; ++j) in[i][j] = load(lanes, pixels[i][j] + c);
    }
    transform_square(in, out, transform);
#pragma GCC unroll 6
    for (int i = 0; i < Positions; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < Positions; ++j) {
        store(lanes, out[i][j], row + (i * Positions + j) * planes.plane + c);
      }
    }
  });
}

/* Transforms `count` input tiles from tile `first` on into the rows of `planes`. `x` has
 * `all_channels` channels per pixel. The first channel to read is x[0]. */
template <int M>
inline void transform_inputs(const TfSg2Conv2d& s, const Tiles& tiles, int64_t first,
                             int64_t count, const float* x, int64_t all_channels, int64_t channels,
                             const float* zeros, const Planes& planes, float* out) {
  for (int64_t t = 0; t < count; ++t) {
    const Position at = tile_at(s, tiles, first + t);
    const float* image = x + at.n * s.height * s.width * all_channels;
    const float* pixels[M + 2][M + 2];
    find_pixels(s, image, all_channels, at.top - 1, at.left - 1, zeros, pixels);
    transform_pixels<M + 2, M + 2>(
        pixels, channels, planes, out + t * planes.row,
        [](const auto* d, auto* result) TF_SG2_INLINE_LAMBDA { Transform<M>::input(d, result); });
  }
}

/* The same for tiles of the gradient by the output. */
template <int M>
inline void transform_output_gradients(const TfSg2Conv2d& s, const Tiles& tiles, int64_t first,
                                       int64_t count, const float* dy, int64_t all_channels,
                                       int64_t channels, const float* zeros, const Planes& planes,
                                       float* out) {
  for (int64_t t = 0; t < count; ++t) {
    const Position at = tile_at(s, tiles, first + t);
    const float* image = dy + at.n * s.height * s.width * all_channels;
    const float* pixels[M][M];
    find_pixels(s, image, all_channels, at.top, at.left, zeros, pixels);
    transform_pixels<M, M + 2>(pixels, channels, planes, out + t * planes.row,
                               [](const auto* d, auto* result) TF_SG2_INLINE_LAMBDA {
                                 Transform<M>::output_gradient(d, result);
                               });
  }
}

/* Transforms the rows of `planes` back into `count` tiles of y. `y` has `all_channels` channels per
 * pixel. The first channel to write is y[0]. */
template <int M>
inline void transform_outputs(const TfSg2Conv2d& s, const Tiles& tiles, int64_t first,
                              int64_t count, const Planes& planes, const float* products,
                              int64_t channels, int64_t all_channels, float* y) {
  constexpr int kPositions = M + 2;
  for (int64_t t = 0; t < count; ++t) {
    const Position at = tile_at(s, tiles, first + t);
    const int64_t rows = minimum(M, s.height - at.top), columns = minimum(M, s.width - at.left);
    float* to = y + ((at.n * s.height + at.top) * s.width + at.left) * all_channels;
    const float* from = products + t * planes.row;
    for_lanes<float>(channels, [&](auto lanes, int64_t k) TF_SG2_INLINE_LAMBDA {
      typedef typename decltype(lanes)::type V;
      V in[kPositions][kPositions], out[M][M];
#pragma GCC unroll 6
      for (int i = 0; i < kPositions; ++i) {
#pragma GCC unroll 6
        for (int j = 0; j < kPositions; ++j) {
          in[i][j] = load(lanes, from + (i * kPositions + j) * planes.plane + k);
        }
      }
      transform_square(in, out, [](const auto* m, auto* result) TF_SG2_INLINE_LAMBDA {
        Transform<M>::output(m, result);
      });
#pragma GCC unroll 6
      for (int i = 0; i < M; ++i) {
#pragma GCC unroll 6
        for (int j = 0; j < M; ++j) {
          if (i < rows && j < columns) {
            store(lanes, out[i][j], to + (i * s.width + j) * all_channels + k);
          }
        }
      }
    });
  }
}

}  // namespace

#endif  // TF_SG2_CONV2D_TILES_H_
