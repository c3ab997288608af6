/* The gradient of the convolution by its weights, by the same tiles.
 *
 * Per position of a tile, the gradient is one matrix product over all tiles: [in, tiles] times
 * [tiles, out]. A task sums a part of the tiles for a block of input and output channels. The sums
 * of a block stay in the cache. Then it transforms them back to 3x3 weights.
 */
#ifndef TF_SG2_CONV2D_FILTER_GRADIENT_H_
#define TF_SG2_CONV2D_FILTER_GRADIENT_H_

#include "conv2d.h"
#include "product.h"
#include "tiles.h"

namespace {

/* Input or output channels of a block. */
constexpr int64_t kGradientChannels = 128;
/* Tiles that are transformed at once. */
constexpr int64_t kGradientTiles = 64;
/* The least number of tasks of a call, if it has enough tiles for them. */
constexpr int64_t kGradientTasks = 8;
constexpr int64_t kMinimumSliceTiles = 32;

/* How the filter gradient of a shape is divided. */
struct GradientPlan {
  int64_t in_blocks, out_blocks, in_block, out_block; /* Blocks of channels, and their sizes. */
  int64_t slices, slice_tiles;                        /* Parts of the tiles. */

  explicit GradientPlan(const TfSg2Conv2d& s) {
    const int64_t tiles = Tiles(s).count;
    in_blocks = divide_up(s.in_channels, kGradientChannels);
    out_blocks = divide_up(s.out_channels, kGradientChannels);
    in_block = round_up(divide_up(s.in_channels, in_blocks), kAlignment);
    out_block = round_up(divide_up(s.out_channels, out_blocks), kAlignment);
    in_blocks = divide_up(s.in_channels, in_block);
    out_blocks = divide_up(s.out_channels, out_block);
    slices = minimum(divide_up(kGradientTasks, in_blocks * out_blocks),
                     divide_up(tiles, kMinimumSliceTiles));
    slice_tiles = divide_up(tiles, slices);
    slices = divide_up(tiles, slice_tiles);
  }
  int64_t tasks() const { return slices * in_blocks * out_blocks; }
};

/* Panels write whole vectors, so the columns of sums are rounded up. */
inline Planes sum_planes(const GradientPlan& plan) {
  return Planes(round_up(plan.in_block, kSumRows), round_up(plan.out_block, kPanel));
}
inline Planes input_planes(const GradientPlan& plan) {
  return Planes(kGradientTiles, round_up(plan.in_block, kSumRows));
}
inline Planes output_planes(const GradientPlan& plan) {
  return Planes(kGradientTiles, round_up(plan.out_block, kPanel));
}

template <int M>
class FilterGradient {
  static constexpr int kPositions = (M + 2) * (M + 2);

 public:
  static size_t scratch_bytes(const TfSg2Conv2d& s) {
    const GradientPlan plan(s);
    const int64_t planes =
        sum_planes(plan).plane + input_planes(plan).plane + output_planes(plan).plane;
    return (maximum(plan.in_block, plan.out_block) + kPositions * planes) * sizeof(float);
  }

  FilterGradient(const TfSg2Conv2d& s, void* scratch)
      : s_(s), plan_(s), tiles_(s), sum_planes_(sum_planes(plan_)),
        input_planes_(input_planes(plan_)), output_planes_(output_planes(plan_)),
        zeros_(static_cast<float*>(scratch)),
        sums_(zeros_ + maximum(plan_.in_block, plan_.out_block)),
        inputs_(sums_ + kPositions * sum_planes_.plane),
        outputs_(inputs_ + kPositions * input_planes_.plane) {
    /* Columns of the other parts that no channel fills are multiplied too, but never read. */
    memset(scratch, 0, (sums_ - zeros_) * sizeof(float));
  }

  void run(const float* x, const float* dy, float* sums, int64_t task) {
    const int64_t slice = task / (plan_.in_blocks * plan_.out_blocks);
    const int64_t from_in = task / plan_.out_blocks % plan_.in_blocks * plan_.in_block;
    const int64_t from_out = task % plan_.out_blocks * plan_.out_block;
    const int64_t ins = minimum(plan_.in_block, s_.in_channels - from_in);
    const int64_t outs = minimum(plan_.out_block, s_.out_channels - from_out);
    memset(sums_, 0, kPositions * sum_planes_.plane * sizeof(float));
    const int64_t first = slice * plan_.slice_tiles;
    const int64_t last = minimum(first + plan_.slice_tiles, tiles_.count);
    for (int64_t t = first; t < last; t += kGradientTiles) {
      const int64_t count = minimum(kGradientTiles, last - t);
      transform_inputs<M>(s_, tiles_, t, count, x + from_in, s_.in_channels, ins, zeros_,
                          input_planes_, inputs_);
      transform_output_gradients<M>(s_, tiles_, t, count, dy + from_out, s_.out_channels, outs,
                                    zeros_, output_planes_, outputs_);
      for (int p = 0; p < kPositions; ++p) add_products(p, count, ins, outs);
    }
    const int64_t pixels = s_.in_channels * s_.out_channels;
    transform_back(ins, outs, sums + slice * 9 * pixels + from_in * s_.out_channels + from_out);
  }

 private:
  void add_products(int p, int64_t count, int64_t ins, int64_t outs) {
    const float* in = inputs_ + p * input_planes_.plane;
    const float* out = outputs_ + p * output_planes_.plane;
    float* sums = sums_ + p * sum_planes_.plane;
    for (int64_t k = 0; k < outs; k += kPanel) {
      const bool narrow = outs - k <= kLanes;
      for (int64_t c = 0; c < ins; c += kSumRows) {
        float* to = sums + c * sum_planes_.row + k;
        if (narrow) {
          multiply_transposed<1>(in + c, input_planes_.row, out + k, output_planes_.row, count, to,
                                 sum_planes_.row);
        } else {
          multiply_transposed<kPanelVectors>(in + c, input_planes_.row, out + k,
                                             output_planes_.row, count, to, sum_planes_.row);
        }
      }
    }
  }

  /* Transforms the sums of `ins` x `outs` channels to weights. */
  void transform_back(int64_t ins, int64_t outs, float* weights) const {
    for (int64_t c = 0; c < ins; ++c) {
      const float* from = sums_ + c * sum_planes_.row;
      for_lanes<float>(outs, [&](auto lanes, int64_t k) TF_SG2_INLINE_LAMBDA {
        typedef typename decltype(lanes)::type V;
        V in[M + 2][M + 2], out[3][3];
#pragma GCC unroll 6
        for (int i = 0; i < M + 2; ++i) {
#pragma GCC unroll 6
          for (int j = 0; j < M + 2; ++j) {
            in[i][j] = load(lanes, from + (i * (M + 2) + j) * sum_planes_.plane + k);
          }
        }
        transform_square(in, out, [](const auto* u, auto* result) TF_SG2_INLINE_LAMBDA {
          Transform<M>::weight_gradient(u, result);
        });
        for (int tap = 0; tap < 9; ++tap) {
          float* to = weights + (tap * s_.in_channels + c) * s_.out_channels + k;
          store(lanes, out[tap / 3][tap % 3], to);
        }
      });
    }
  }

  const TfSg2Conv2d& s_;
  const GradientPlan plan_;
  const Tiles tiles_;
  const Planes sum_planes_, input_planes_, output_planes_;
  float *zeros_, *sums_, *inputs_, *outputs_;
};

}  // namespace

#endif  // TF_SG2_CONV2D_FILTER_GRADIENT_H_
