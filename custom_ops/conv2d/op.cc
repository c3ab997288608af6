// Registers conv2d and its filter gradient with TensorFlow: signatures, checks, calls of the kernels.

#include <algorithm>
#include <mutex>
#include <vector>

#include "../common/cpu_dispatch.h"
#include "../common/op_support.h"
#include "conv2d.h"

TF_SG2_DECLARE_CPU_KERNELS(TfSg2Conv2dKernels, tf_sg2_conv2d)

namespace tf_sg2 {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// With these limits, no product of sizes exceeds int64, and no scratch memory does.
constexpr int64_t kMaximumChannels = 1 << 20;
constexpr int64_t kMaximumSize = int64_t{1} << 30;

absl::Status check_image(const Tensor& x, const char* name) {
  if (x.dims() != 4) {
    return invalid_argument("conv2d: ", name, " has shape ", x.shape().DebugString(),
                            "; it must be [N, H, W, C]");
  }
  if (x.dim_size(3) > kMaximumChannels) {
    return invalid_argument("conv2d: ", name, " has ", x.dim_size(3),
                            " channels; it must have at most ", kMaximumChannels);
  }
  if (x.dim_size(1) > kMaximumSize || x.dim_size(2) > kMaximumSize) {
    return invalid_argument("conv2d: ", name, " has shape ", x.shape().DebugString(),
                            "; it must have at most ", kMaximumSize, " rows and columns");
  }
  return absl::OkStatus();
}

// Pieces of scratch memory, of which each running thread takes one. They are allocated one by one:
// the C library returns a very large piece to the system, and each call would map it again.
class ThreadScratch {
 public:
  absl::Status allocate(OpKernelContext* context, int64_t bytes, int64_t parts) {
    for (int64_t i = 0; i < parts; ++i) {
      Tensor piece;
      const absl::Status status =
          context->allocate_temp(tensorflow::DT_INT8, TensorShape({bytes}), &piece);
      if (!status.ok()) return status;
      free_.push_back(piece);
    }
    return absl::OkStatus();
  }

  template <typename Work>
  void with_part(const Work& work) {
    Tensor piece;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      piece = free_.back();
      free_.pop_back();
    }
    work(piece.data());
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(piece);
  }

 private:
  std::mutex mutex_;
  std::vector<Tensor> free_;
};

int64_t thread_count(OpKernelContext* context) {
  return context->device()->tensorflow_cpu_worker_threads()->num_threads;
}

// The threads that may run tasks at once: the workers, and the one that waits for them.
int64_t parts_for(OpKernelContext* context, int64_t tasks) {
  return std::min(thread_count(context) + 1, tasks);
}

// Cycles of the products: the kernels make about 16 multiply-adds per cycle.
int64_t cost_of(const TfSg2Conv2d& s, int64_t tasks) {
  const double pixels = static_cast<double>(s.batch) * s.height * s.width;
  const double cycles = pixels * s.in_channels * s.out_channels * 4 / 16;
  return static_cast<int64_t>(std::min(cycles / tasks, 1e12)) + 1;
}

class Conv2dBase : public tensorflow::OpKernel {
 public:
  explicit Conv2dBase(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("tile", &tile_));
    OP_REQUIRES(construction, tile_ == 2 || tile_ == 4,
                invalid_argument("conv2d: tile is ", tile_, "; it must be 2 or 4"));
  }

 protected:
  static const TfSg2Conv2dKernels& kernels() { return tf_sg2_conv2d(); }

  int32_t tile_ = 4;
};

class Conv2dOp : public Conv2dBase {
 public:
  explicit Conv2dOp(OpKernelConstruction* construction) : Conv2dBase(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("turned", &turned_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &weight = context->input(1);
    OP_REQUIRES_OK(context, check_image(x, "x"));
    OP_REQUIRES(context, weight.dims() == 4 && weight.dim_size(0) == 3 && weight.dim_size(1) == 3,
                invalid_argument("conv2d: weight has shape ", weight.shape().DebugString(),
                                 "; it must be [3, 3, in, out]"));
    const int64_t ins = weight.dim_size(turned_ ? 3 : 2), outs = weight.dim_size(turned_ ? 2 : 3);
    OP_REQUIRES(context, ins == x.dim_size(3),
                invalid_argument("conv2d: weight has ", ins, " input channels but x has shape ",
                                 x.shape().DebugString()));
    OP_REQUIRES(context, outs <= kMaximumChannels,
                invalid_argument("conv2d: weight has ", outs,
                                 " output channels; it must have at most ", kMaximumChannels));
    TensorShape shape = x.shape();
    OP_REQUIRES_OK(context, shape.SetDimWithStatus(3, outs));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &y));
    if (y->NumElements() == 0) return;
    float* out = y->flat<float>().data();
    if (x.NumElements() == 0) {  // There are no input channels.
      std::fill_n(out, y->NumElements(), 0.0f);
      return;
    }
    const TfSg2Conv2d s = {x.dim_size(0), x.dim_size(1), x.dim_size(2), ins, outs, tile_, turned_};
    run(context, s, x.flat<float>().data(), weight.flat<float>().data(), out);
  }

 private:
  void run(OpKernelContext* context, const TfSg2Conv2d& s, const float* x, const float* weight,
           float* y) {
    const int64_t threads = thread_count(context), pass = kernels().pass_channels(&s);
    const int64_t most = kernels().tasks(&s, pass, threads);
    Tensor weights;
    OP_REQUIRES_OK(context,
                   context->allocate_temp(
                       tensorflow::DT_INT8,
                       TensorShape({static_cast<int64_t>(kernels().weight_bytes(&s))}), &weights));
    float* transformed = static_cast<float*>(weights.data());
    ThreadScratch scratch;
    OP_REQUIRES_OK(context, scratch.allocate(context, kernels().scratch(&s),
                                             parts_for(context, most)));
    for (int64_t from = 0; from < s.out_channels; from += pass) {
      const int64_t channels = std::min(pass, s.out_channels - from);
      // A task of weights writes 36 vectors for each of 16 channels.
      parallel_for(context, kernels().weight_tasks(&s, channels), 3000,
                   [&](int64_t first, int64_t last) {
                     kernels().transform_weights(&s, weight, transformed, from, channels, first,
                                                 last);
                   });
      const int64_t tasks = kernels().tasks(&s, channels, threads);
      const int64_t passes = (s.out_channels + pass - 1) / pass;
      parallel_for(context, tasks, cost_of(s, tasks * passes), [&](int64_t first, int64_t last) {
        scratch.with_part([&](void* part) {
          kernels().run(&s, x, weight, transformed, y, from, channels, threads, part, first, last);
        });
      });
    }
  }

  bool turned_ = false;
};

class Conv2dFilterGradientOp : public Conv2dBase {
 public:
  using Conv2dBase::Conv2dBase;

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &dy = context->input(1);
    OP_REQUIRES_OK(context, check_image(x, "x"));
    OP_REQUIRES_OK(context, check_image(dy, "dy"));
    TensorShape same = x.shape();
    OP_REQUIRES_OK(context, same.SetDimWithStatus(3, dy.dim_size(3)));
    OP_REQUIRES(context, dy.shape() == same,
                invalid_argument("conv2d: dy has shape ", dy.shape().DebugString(), " but x has ",
                                 x.shape().DebugString(),
                                 "; they must have the same images and sizes"));
    Tensor* dweight = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, TensorShape({3, 3, x.dim_size(3), dy.dim_size(3)}), &dweight));
    if (dweight->NumElements() == 0) return;
    float* out = dweight->flat<float>().data();
    if (x.NumElements() == 0) {  // There are no pixels.
      std::fill_n(out, dweight->NumElements(), 0.0f);
      return;
    }
    const TfSg2Conv2d s = {x.dim_size(0),  x.dim_size(1), x.dim_size(2), x.dim_size(3),
                           dy.dim_size(3), tile_,         0};
    run(context, s, x.flat<float>().data(), dy.flat<float>().data(), out);
  }

 private:
  void run(OpKernelContext* context, const TfSg2Conv2d& s, const float* x, const float* dy,
           float* dweight) {
    const int64_t tasks = kernels().gradient_tasks(&s), all = 9 * s.in_channels * s.out_channels;
    const int64_t size = kernels().gradient_sums(&s);
    ThreadScratch scratch;
    OP_REQUIRES_OK(context, scratch.allocate(context, kernels().gradient_scratch(&s),
                                             parts_for(context, tasks)));
    Tensor sums;
    const bool direct = size == all;  // One sum only, which is the result.
    if (!direct) {
      OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_FLOAT, TensorShape({size}),
                                                     &sums));
    }
    float* into = direct ? dweight : sums.flat<float>().data();
    parallel_for(context, tasks, cost_of(s, tasks), [&](int64_t first, int64_t last) {
      scratch.with_part([&](void* part) { kernels().gradient(&s, x, dy, into, part, first, last); });
    });
    if (direct) return;
    parallel_for(context, 9 * s.in_channels, size / all * s.out_channels,
                 [&](int64_t first, int64_t last) {
                   kernels().add_sums(&s, into, dweight, first, last);
                 });
  }
};

REGISTER_KERNEL_BUILDER(Name("TfSg2>Conv2d").Device(tensorflow::DEVICE_CPU), Conv2dOp);
REGISTER_KERNEL_BUILDER(Name("TfSg2>Conv2dFilterGradient").Device(tensorflow::DEVICE_CPU),
                        Conv2dFilterGradientOp);

absl::Status infer_shape(InferenceContext* c) {
  ShapeHandle x, weight, y;
  DimensionHandle unused;
  bool turned;
  TF_RETURN_IF_ERROR(c->GetAttr("turned", &turned));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &weight));
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(x, 3), c->Dim(weight, turned ? 3 : 2), &unused));
  TF_RETURN_IF_ERROR(c->ReplaceDim(x, 3, c->Dim(weight, turned ? 2 : 3), &y));
  c->set_output(0, y);
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* c) {
  ShapeHandle x, dy;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 4, &dy));
  c->set_output(0, c->MakeShape({c->MakeDim(3), c->MakeDim(3), c->Dim(x, 3), c->Dim(dy, 3)}));
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("TfSg2>Conv2d")
    .Input("x: float")
    .Input("weight: float")
    .Output("y: float")
    .Attr("tile: int = 4")
    .Attr("turned: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
3x3 convolution with stride 1 and zero padding ("same"), by Winograd's algorithm.

x: [N, H, W, in].
weight: [3, 3, in, out]. If `turned`: [3, 3, out, in], used turned by 180 degrees.
y: [N, H, W, out].
tile: Rows and columns of an output tile: 2 or 4. With 4, there are fewer products and larger errors.
turned: Whether this is the gradient by x of a convolution with these weights.
)doc");

REGISTER_OP("TfSg2>Conv2dFilterGradient")
    .Input("x: float")
    .Input("dy: float")
    .Output("dweight: float")
    .Attr("tile: int = 4")
    .SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of a 3x3 convolution by its weights, by Winograd's algorithm.

x: [N, H, W, in], the convolution's input.
dy: [N, H, W, out], the gradient by its output.
dweight: [3, 3, in, out].
tile: Rows and columns of an output tile: 2 or 4.
)doc");

}  // namespace tf_sg2
