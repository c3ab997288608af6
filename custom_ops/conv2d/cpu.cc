// The CPU kernels of conv2d.
//
// A pass makes some of the output channels, so that its transformed weights stay in the third-level
// cache. A task of a pass makes a block of tiles: it transforms the input tiles, multiplies them by
// the weights per position, and transforms the products back. Its scratch memory stays in the
// second-level cache where there are few channels. With many channels, the products take so long
// that memory traffic is a small part.

#include "../common/cpu_dispatch.h"
#include "conv2d.h"
#include "filter_gradient.h"
#include "product.h"
#include "tiles.h"
#include "transforms.h"

namespace {

// Bytes of the transformed weights of a pass.
constexpr int64_t kPassBytes = 20 << 20;
// Bytes of transformed tiles and products of a block, where that leaves enough tiles.
constexpr int64_t kBlockBytes = 768 << 10;
constexpr int64_t kMinimumBlockTiles = 48, kMaximumBlockTiles = 192;
// A block of tiles is shared by tasks of at least this many output channels if there are few blocks.
constexpr int64_t kMinimumTaskChannels = 64;
constexpr int64_t kTasksPerThread = 3;
// Calls with at most this many tiles transform weights where they multiply. The weights of all
// channels would pass through memory otherwise, unless they are fewer bytes.
constexpr int64_t kFusedTiles = 48, kFusedBytes = 1 << 20;
constexpr int64_t kFusedDepth = 64;
// Input channels whose weights one task transforms.
constexpr int64_t kWeightChannels = 16;

template <int M>
class Convolution {
  static constexpr int kSide = M + 2, kPositions = kSide * kSide;

 public:
  explicit Convolution(const TfSg2Conv2d& s) : s_(s), tiles_(s) {
    const int64_t bytes = kPositions * s.in_channels * s.out_channels * sizeof(float);
    pass_ = round_up(divide_up(s.out_channels, divide_up(bytes, kPassBytes)), kPanel);
    pass_ = minimum(pass_, s.out_channels);
    const int64_t tile_bytes = kPositions * sizeof(float) * (s.in_channels + pass_);
    const int64_t most = maximum(minimum(kBlockBytes / tile_bytes, kMaximumBlockTiles),
                                 kMinimumBlockTiles);
    fused_ = tiles_.count <= kFusedTiles && bytes >= kFusedBytes;
    if (fused_) pass_ = s.out_channels;
    blocks_ = fused_ ? 1 : divide_up(tiles_.count, most);
    block_ = round_up(divide_up(tiles_.count, blocks_), kRows);
    blocks_ = divide_up(tiles_.count, block_);
  }

  int64_t pass_channels() const { return pass_; }
  int64_t weight_floats() const { return fused_ ? 0 : kPositions * weight_plane(pass_); }

  // Tasks that transform weights: vectors of output channels times blocks of input channels.
  int64_t weight_tasks(int64_t channels) const {
    return fused_ ? 0 : divide_up(channels, kLanes) * divide_up(s_.in_channels, kWeightChannels);
  }

  void transform_weights(const float* weight, float* transformed, int64_t from, int64_t channels,
                         int64_t task) const {
    const int64_t in_blocks = divide_up(s_.in_channels, kWeightChannels);
    const int64_t k = task / in_blocks * kLanes, c = task % in_blocks * kWeightChannels;
    const int64_t ins = minimum(kWeightChannels, s_.in_channels - c);
    const int64_t panel = k / kPanel * kPanel;
    const int64_t row = channels - panel <= kLanes ? kLanes : kPanel;
    float* to = transformed + panel * s_.in_channels + c * row + k - panel;
    transform_vector(weight, from + k, minimum(kLanes, channels - k), c, ins, to, row,
                     weight_plane(channels));
  }

  int64_t tasks(int64_t channels, int64_t threads) const {
    return blocks_ * divide_up(channels, task_channels(channels, threads));
  }

  size_t scratch_bytes() const {
    const int64_t weights = fused_ ? fused_plane() : 0;
    const int64_t planes = input_planes().plane + product_planes().plane + weights;
    return (zeros() + kPositions * planes) * sizeof(float);
  }

  void run(const float* x, const float* weight, const float* transformed, float* y, int64_t from,
           int64_t channels, int64_t threads, float* scratch, int64_t task) const {
    const int64_t width = task_channels(channels, threads);
    const int64_t splits = divide_up(channels, width);
    const int64_t first = task / splits * block_, k = task % splits * width;
    const int64_t count = minimum(block_, tiles_.count - first);
    const int64_t outs = minimum(width, channels - k);
    float *inputs = scratch + zeros(), *products = inputs + kPositions * input_planes().plane;
    memset(scratch, 0, zeros() * sizeof(float));
    transform_inputs<M>(s_, tiles_, first, count, x, s_.in_channels, s_.in_channels, scratch,
                        input_planes(), inputs);
    // The last rows may belong to no tile. Then their products are not read.
    const int64_t rows = round_up(count, kRows);
    if (fused_) {
      float* block = products + kPositions * product_planes().plane;
      for (int64_t panel = k; panel < k + outs; panel += kPanel) {
        multiply_fused(inputs, weight, panel, rows, products, block);
        write(first, count, products, minimum(kPanel, k + outs - panel), y + panel);
      }
      return;
    }
    for (int p = 0; p < kPositions; ++p) {
      multiply_position(inputs + p * input_planes().plane, transformed + p * weight_plane(channels),
                        k, outs, channels, rows, products + p * product_planes().plane);
    }
    write(first, count, products, outs, y + from + k);
  }

 private:
  // Floats from the transformed weights of a position to those of the next, panels inside. Not a
  // multiple of 4096 bytes.
  int64_t weight_plane(int64_t channels) const {
    return round_up(round_up(channels, kLanes) * s_.in_channels, 1024) + 5 * kAlignment;
  }
  int64_t zeros() const { return round_up(s_.in_channels, kAlignment); }
  Planes input_planes() const { return Planes(block_, s_.in_channels); }
  Planes product_planes() const {
    return Planes(block_, fused_ ? kPanel : round_up(pass_, kPanel));
  }
  // Floats of the transformed weights of a position, for one block of a fused product.
  int64_t fused_plane() const { return kFusedDepth * kPanel + 5 * kAlignment; }

  int64_t task_channels(int64_t channels, int64_t threads) const {
    const int64_t wanted = divide_up(kTasksPerThread * threads, blocks_);
    const int64_t splits = minimum(wanted, divide_up(channels, kMinimumTaskChannels));
    return round_up(divide_up(channels, splits), kPanel);
  }

  // Copies the weights of `ins` input channels from `c` on, and of one vector of output channels
  // from `k` on. Lanes beyond `outs` are zero.
  void read_weights(const float* weight, int64_t k, int64_t outs, int64_t c, int64_t ins,
                    float (&block)[9][kWeightChannels][kLanes]) const {
    if (outs < kLanes) memset(block, 0, sizeof(block));
    for (int tap = 0; tap < 9; ++tap) {
      if (s_.turned) {
        const float* from = weight + (8 - tap) * s_.in_channels * s_.out_channels;
        for (int64_t lane = 0; lane < outs; ++lane) {
          const float* row = from + (k + lane) * s_.in_channels + c;
          for (int64_t i = 0; i < ins; ++i) block[tap][i][lane] = row[i];
        }
      } else {
        const float* from = weight + (tap * s_.in_channels + c) * s_.out_channels + k;
        for (int64_t i = 0; i < ins; ++i) {
          memcpy(block[tap][i], from + i * s_.out_channels, outs * sizeof(float));
        }
      }
    }
  }

  // Transforms the weights of one vector of output channels and `ins` input channels.
  void transform_vector(const float* weight, int64_t k, int64_t outs, int64_t c, int64_t ins,
                        float* to, int64_t row, int64_t plane) const {
    alignas(64) float block[9][kWeightChannels][kLanes];
    read_weights(weight, k, outs, c, ins, block);
    for (int64_t i = 0; i < ins; ++i, to += row) {
      Vector in[3][3], out[kSide][kSide];
#pragma GCC unroll 9
      for (int tap = 0; tap < 9; ++tap) in[tap / 3][tap % 3] = load(Full(), block[tap][i]);
      transform_square(in, out, [](const auto* g, auto* result) TF_SG2_INLINE_LAMBDA {
        Transform<M>::weight(g, result);
      });
#pragma GCC unroll 36
      for (int p = 0; p < kPositions; ++p) store(Full(), out[p / kSide][p % kSide], to + p * plane);
    }
  }

  // Multiplies `rows` transformed tiles by the weights of output channels k … k + outs - 1.
  void multiply_position(const float* in, const float* weights, int64_t k, int64_t outs,
                         int64_t channels, int64_t rows, float* out) const {
    for (int64_t panel = k; panel < k + outs; panel += kPanel) {
      const bool narrow = channels - panel <= kLanes;
      multiply_rows(narrow, in, weights + panel * s_.in_channels, false, s_.in_channels, rows,
                    out + panel - k);
    }
  }

  // Makes the products of one panel at all positions, and transforms its weights in between.
  void multiply_fused(const float* in, const float* weight, int64_t k, int64_t rows, float* out,
                      float* block) const {
    const int64_t outs = minimum(kPanel, s_.out_channels - k);
    const bool narrow = outs <= kLanes;
    const int64_t row = narrow ? kLanes : kPanel;
    for (int64_t c = 0; c < s_.in_channels; c += kFusedDepth) {
      const int64_t depth = minimum(kFusedDepth, s_.in_channels - c);
      for (int64_t lane = 0; lane < outs; lane += kLanes) {
        for (int64_t i = 0; i < depth; i += kWeightChannels) {
          transform_vector(weight, k + lane, minimum(kLanes, outs - lane), c + i,
                           minimum(kWeightChannels, depth - i), block + i * row + lane, row,
                           fused_plane());
        }
      }
      for (int p = 0; p < kPositions; ++p) {
        multiply_rows(narrow, in + p * input_planes().plane + c, block + p * fused_plane(), c > 0,
                      depth, rows, out + p * product_planes().plane);
      }
    }
  }

  // Multiplies all rows by one panel, for `depth` input channels.
  void multiply_rows(bool narrow, const float* in, const float* columns, bool adds, int64_t depth,
                     int64_t rows, float* out) const {
    const int64_t in_row = input_planes().row, out_row = product_planes().row;
    for (int64_t t = 0; t < rows; t += kRows, in += kRows * in_row, out += kRows * out_row) {
      if (narrow) {
        multiply<1>(adds, in, in_row, columns, depth, out, out_row);
      } else {
        multiply<kPanelVectors>(adds, in, in_row, columns, depth, out, out_row);
      }
    }
  }

  void write(int64_t first, int64_t count, const float* products, int64_t channels,
             float* y) const {
    transform_outputs<M>(s_, tiles_, first, count, product_planes(), products, channels,
                         s_.out_channels, y);
  }

  const TfSg2Conv2d& s_;
  const Tiles tiles_;
  int64_t pass_, blocks_, block_;
  bool fused_;
};

// Calls work(Convolution<M>) for the tile of the shape.
template <typename Work>
auto with_tile(const TfSg2Conv2d& s, const Work& work) {
  return s.tile == 2 ? work(Convolution<2>(s)) : work(Convolution<4>(s));
}

int64_t pass_channels(const TfSg2Conv2d* s) {
  return with_tile(*s, [](const auto& convolution) { return convolution.pass_channels(); });
}

size_t weight_bytes(const TfSg2Conv2d* s) {
  return with_tile(*s, [](const auto& convolution) {
    return static_cast<size_t>(convolution.weight_floats()) * sizeof(float);
  });
}

int64_t weight_tasks(const TfSg2Conv2d* s, int64_t channels) {
  return with_tile(*s, [=](const auto& it) { return it.weight_tasks(channels); });
}

void transform_weights(const TfSg2Conv2d* s, const float* weight, float* transformed, int64_t from,
                       int64_t channels, int64_t first, int64_t last) {
  with_tile(*s, [=](const auto& convolution) {
    for (int64_t task = first; task < last; ++task) {
      convolution.transform_weights(weight, transformed, from, channels, task);
    }
  });
}

int64_t tasks(const TfSg2Conv2d* s, int64_t channels, int64_t threads) {
  return with_tile(*s, [=](const auto& it) { return it.tasks(channels, threads); });
}

size_t scratch(const TfSg2Conv2d* s) {
  return with_tile(*s, [](const auto& convolution) { return convolution.scratch_bytes(); });
}

void run(const TfSg2Conv2d* s, const float* x, const float* weight, const float* transformed,
         float* y, int64_t from, int64_t channels, int64_t threads, void* scratch, int64_t first,
         int64_t last) {
  with_tile(*s, [=](const auto& convolution) {
    for (int64_t task = first; task < last; ++task) {
      convolution.run(x, weight, transformed, y, from, channels, threads,
                      static_cast<float*>(scratch), task);
    }
  });
}

int64_t gradient_tasks(const TfSg2Conv2d* s) { return GradientPlan(*s).tasks(); }

size_t gradient_sums(const TfSg2Conv2d* s) {
  return GradientPlan(*s).slices * 9 * s->in_channels * s->out_channels;
}

size_t gradient_scratch(const TfSg2Conv2d* s) {
  return s->tile == 2 ? FilterGradient<2>::scratch_bytes(*s) : FilterGradient<4>::scratch_bytes(*s);
}

template <int M>
void gradient_tile(const TfSg2Conv2d* s, const float* x, const float* dy, float* sums,
                   void* scratch, int64_t first, int64_t last) {
  FilterGradient<M> gradient(*s, scratch);
  for (int64_t task = first; task < last; ++task) gradient.run(x, dy, sums, task);
}

void gradient(const TfSg2Conv2d* s, const float* x, const float* dy, float* sums, void* scratch,
              int64_t first, int64_t last) {
  return s->tile == 2 ? gradient_tile<2>(s, x, dy, sums, scratch, first, last)
                      : gradient_tile<4>(s, x, dy, sums, scratch, first, last);
}

void add_sums(const TfSg2Conv2d* s, const float* sums, float* dweight, int64_t first,
              int64_t last) {
  const int64_t slices = GradientPlan(*s).slices, all = 9 * s->in_channels * s->out_channels;
  for_lanes<float>((last - first) * s->out_channels, [&](auto lanes, int64_t i) {
    const float* from = sums + first * s->out_channels + i;
    auto sum = load(lanes, from);
    for (int64_t slice = 1; slice < slices; ++slice) sum += load(lanes, from + slice * all);
    store(lanes, sum, dweight + first * s->out_channels + i);
  });
}

}  // namespace

TF_SG2_DEFINE_CPU_KERNELS(TfSg2Conv2dKernels, tf_sg2_conv2d) = {
    pass_channels, weight_bytes, weight_tasks,  transform_weights, tasks,    scratch, run,
    gradient_tasks, gradient_sums, gradient_scratch, gradient,        add_sums};
