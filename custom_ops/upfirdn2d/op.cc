// Registers upfirdn2d with TensorFlow: signature, shapes, checks, and the calls of the kernels.

#include <vector>

#include "../common/cpu_dispatch.h"
#include "../common/op_support.h"
#include "upfirdn2d.h"

TF_SG2_DECLARE_CPU_KERNELS(TfSg2Upfirdn2dKernels, tf_sg2_upfirdn2d)

namespace tf_sg2 {
namespace {

// With these limits, no product of a factor, a size and a padding exceeds int64.
constexpr int64_t kMaximumFactor = 1 << 16;
constexpr int64_t kMaximumPadding = int64_t{1} << 40;
constexpr int64_t kMaximumSize = int64_t{1} << 40;

const char* const kAxes[] = {"rows", "columns"};

absl::Status check_factors(const std::vector<int32_t>& factors, const char* name) {
  if (factors.size() != 2) {
    return invalid_argument("upfirdn2d: ", name, " has ", factors.size(),
                  " values; it must have two: rows, columns");
  }
  for (const int32_t factor : factors) {
    if (factor < 1 || factor > kMaximumFactor) {
      return invalid_argument("upfirdn2d: ", name, " is ", factor, "; it must be 1 to ",
                              kMaximumFactor);
    }
  }
  return absl::OkStatus();
}

absl::Status check_padding(const Tensor& padding) {
  if (padding.dims() != 1 || padding.NumElements() != 4) {
    return invalid_argument("upfirdn2d: padding has shape ", padding.shape().DebugString(),
                  "; it must be four numbers: top, bottom, left, right");
  }
  const auto values = padding.flat<int64_t>();
  for (int i = 0; i < 4; ++i) {
    if (values(i) < -kMaximumPadding || values(i) > kMaximumPadding) {
      return invalid_argument("upfirdn2d: padding is ", values(i), "; it must be within ",
                              kMaximumPadding);
    }
  }
  return absl::OkStatus();
}

absl::Status check_kernel_size(int axis, int64_t taps) {
  if (taps < 1 || taps > TF_SG2_MAX_TAPS) {
    return invalid_argument("upfirdn2d: kernel has ", taps, " ", kAxes[axis], "; it must have 1 to ",
                  TF_SG2_MAX_TAPS);
  }
  return absl::OkStatus();
}

absl::Status output_size(int axis, int64_t size, int64_t up, int64_t down, int64_t before,
                         int64_t after, int64_t taps, int64_t* out) {
  if (size > kMaximumSize) {
    return invalid_argument("upfirdn2d: x has ", size, " ", kAxes[axis], "; it must have at most ",
                  kMaximumSize);
  }
  const int64_t room = size * up + before + after - taps;
  if (room < 0) {
    return invalid_argument("upfirdn2d: ", kAxes[axis], " ", size, " * up ", up, " with padding (", before,
                  ", ", after, ") are fewer than the kernel's ", taps, " taps");
  }
  *out = room / down + 1;
  return absl::OkStatus();
}

absl::Status infer_shape(InferenceContext* c) {
  ShapeHandle x, kernel, padding;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 4, &x));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &kernel));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &padding));
  std::vector<int32_t> up, down;
  TF_RETURN_IF_ERROR(c->GetAttr("up", &up));
  TF_RETURN_IF_ERROR(c->GetAttr("down", &down));
  TF_RETURN_IF_ERROR(check_factors(up, "up"));
  TF_RETURN_IF_ERROR(check_factors(down, "down"));
  const Tensor* amounts = c->input_tensor(2);
  if (amounts != nullptr) TF_RETURN_IF_ERROR(check_padding(*amounts));
  DimensionHandle sizes[2];
  for (int axis = 0; axis < 2; ++axis) {
    const DimensionHandle size = c->Dim(x, 1 + axis), taps = c->Dim(kernel, axis);
    if (c->ValueKnown(taps)) TF_RETURN_IF_ERROR(check_kernel_size(axis, c->Value(taps)));
    sizes[axis] = c->UnknownDim();
    if (amounts == nullptr || !c->ValueKnown(size) || !c->ValueKnown(taps)) continue;
    const auto values = amounts->flat<int64_t>();
    int64_t out;
    TF_RETURN_IF_ERROR(output_size(axis, c->Value(size), up[axis], down[axis], values(2 * axis),
                                   values(2 * axis + 1), c->Value(taps), &out));
    sizes[axis] = c->MakeDim(out);
  }
  c->set_output(0, c->MakeShape({c->Dim(x, 0), sizes[0], sizes[1], c->Dim(x, 3)}));
  return absl::OkStatus();
}

class Upfirdn2dOp : public tensorflow::OpKernel {
 public:
  explicit Upfirdn2dOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("up", &up_));
    OP_REQUIRES_OK(construction, construction->GetAttr("down", &down_));
    OP_REQUIRES_OK(construction, check_factors(up_, "up"));
    OP_REQUIRES_OK(construction, check_factors(down_, "down"));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &x = context->input(0), &kernel = context->input(1), &padding = context->input(2);
    OP_REQUIRES(context, x.dims() == 4,
                invalid_argument("upfirdn2d: x has shape ", x.shape().DebugString(),
                       "; it must be [N, H, W, C]"));
    OP_REQUIRES(context, kernel.dims() == 2,
                invalid_argument("upfirdn2d: kernel has shape ", kernel.shape().DebugString(),
                       "; it must be [rows, columns]"));
    OP_REQUIRES_OK(context, check_padding(padding));
    const auto amounts = padding.flat<int64_t>();
    int64_t out[2];
    for (int axis = 0; axis < 2; ++axis) {
      OP_REQUIRES_OK(context, check_kernel_size(axis, kernel.dim_size(axis)));
      OP_REQUIRES_OK(context, output_size(axis, x.dim_size(1 + axis), up_[axis], down_[axis],
                                          amounts(2 * axis), amounts(2 * axis + 1),
                                          kernel.dim_size(axis), &out[axis]));
    }
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape(
                                {x.dim_size(0), out[0], out[1], x.dim_size(3)}, &shape));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &y));
    if (y->NumElements() == 0) return;
    TfSg2Upfirdn2d s;
    s.type = element_type(x.dtype());
    s.batch = x.dim_size(0);
    s.in_height = x.dim_size(1);
    s.in_width = x.dim_size(2);
    s.channels = x.dim_size(3);
    s.out_height = out[0];
    s.out_width = out[1];
    s.up_rows = up_[0];
    s.up_columns = up_[1];
    s.down_rows = down_[0];
    s.down_columns = down_[1];
    s.pad_top = amounts(0);
    s.pad_left = amounts(2);
    s.kernel_rows = kernel.dim_size(0);
    s.kernel_columns = kernel.dim_size(1);
    run(context, s, kernel.flat<double>().data(), x.data(), y->data());
  }

 protected:
  virtual void run(OpKernelContext* context, const TfSg2Upfirdn2d& shape, const double* kernel,
                   const void* x, void* y) = 0;

 private:
  std::vector<int32_t> up_, down_;
};

class Upfirdn2dCpuOp : public Upfirdn2dOp {
 public:
  using Upfirdn2dOp::Upfirdn2dOp;

 protected:
  void run(OpKernelContext* context, const TfSg2Upfirdn2d& s, const double* kernel, const void* x,
           void* y) override {
    const TfSg2Upfirdn2dKernels& kernels = tf_sg2_upfirdn2d();
    const int64_t tasks = kernels.tasks(&s);
    const int64_t scratch_bytes = kernels.scratch(&s);
    // Cycles of one core: reading or writing an element takes about one.
    const int64_t inputs = s.batch * s.in_height * s.in_width * s.channels;
    const int64_t outputs = s.batch * s.out_height * s.out_width * s.channels;
    const int64_t arithmetic = outputs * (s.kernel_rows + s.kernel_columns) / 8;
    const int64_t cost = (inputs + outputs + arithmetic) / tasks + 1;
    parallel_for_with_scratch(context, "upfirdn2d", tasks, cost, scratch_bytes,
                              [&](void* scratch, int64_t first, int64_t last) {
                                kernels.run(&s, kernel, x, y, scratch, first, last);
                              });
  }
};

REGISTER_KERNEL_BUILDER(Name("TfSg2>Upfirdn2d").Device(tensorflow::DEVICE_CPU), Upfirdn2dCpuOp);

#if TF_SG2_CUDA
class Upfirdn2dGpuOp : public Upfirdn2dOp {
 public:
  using Upfirdn2dOp::Upfirdn2dOp;

 protected:
  void run(OpKernelContext* context, const TfSg2Upfirdn2d& s, const double* kernel, const void* x,
           void* y) override {
    check_launch(context, "upfirdn2d", tf_sg2_upfirdn2d_cuda(&s, kernel, x, y, stream_of(context)));
  }
};

REGISTER_KERNEL_BUILDER(Name("TfSg2>Upfirdn2d")
                            .Device(tensorflow::DEVICE_GPU)
                            .HostMemory("kernel")
                            .HostMemory("padding"),
                        Upfirdn2dGpuOp);
#endif

}  // namespace

REGISTER_OP("TfSg2>Upfirdn2d")
    .Input("x: T")
    .Input("kernel: double")
    .Input("padding: int64")
    .Output("y: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("up: list(int) = [1, 1]")
    .Attr("down: list(int) = [1, 1]")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Upsamples by zero insertion, pads or crops, convolves, and keeps every `down`-th sample.

x: [N, H, W, C].
kernel: [rows, columns], 1 to 32 each, in host memory. It is flipped, as in a convolution.
padding: top, bottom, left, right, after upsampling. Negative numbers crop. In host memory.
y: [N, (H * up + top + bottom - rows) / down + 1, likewise for W, C].
up: Factors of zero insertion: rows, columns.
down: Strides: rows, columns.
)doc");

}  // namespace tf_sg2
