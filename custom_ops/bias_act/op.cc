// Registers bias_act and its derivatives with TensorFlow: signatures, checks, calls of the kernels.

#include <string>
#include <vector>

#include "../common/cpu_dispatch.h"
#include "../common/op_support.h"
#include "bias_act.h"

TF_SG2_DECLARE_CPU_KERNELS(TfSg2BiasActKernels, tf_sg2_bias_act)

namespace tf_sg2 {
namespace {

const char* const kActivations[] = {"linear", "relu", "lrelu",    "tanh", "sigmoid",
                                    "elu",    "selu", "softplus", "swish"};

// The index of x among an op's inputs. Scale, noise, bias and parameters follow it.
enum Point { kForwardPoint = 0, kGradientPoint = 1, kGradient2Point = 5 };

// An absent term is an empty vector. A scale or noise has more dimensions, even if it is empty. A
// bias of no channels adds nothing.
bool present(const Tensor& term) { return !(term.dims() == 1 && term.NumElements() == 0); }

const void* data_of(const Tensor& term) { return present(term) ? term.data() : nullptr; }

struct PointTensors {
  const Tensor &x, &scale, &noise, &bias;
};

// The inputs x, scale, noise and bias of an op. x is input `first`.
PointTensors point_at(OpKernelContext* context, int first) {
  return {context->input(first), context->input(first + 1), context->input(first + 2),
          context->input(first + 3)};
}

absl::Status check(const PointTensors& point, const Tensor& parameters, TfSg2BiasAct* s) {
  const auto& [x, scale, noise, bias] = point;
  const auto shape = [](const Tensor& t) { return t.shape().DebugString(); };
  if (x.dims() < 1) {
    return invalid_argument("bias_act: x is a scalar; its last dimension must be the channels");
  }
  const int64_t channels = x.dim_size(x.dims() - 1);
  const bool spatial = present(scale) || present(noise);
  if (spatial && x.dims() != 4) {
    return invalid_argument("bias_act: x has shape ", shape(x),
                  "; it must be [N, H, W, C] if there is a scale or noise");
  }
  if (present(bias) && (bias.dims() != 1 || bias.dim_size(0) != channels)) {
    return invalid_argument("bias_act: bias has shape ", shape(bias), " but x has ", shape(x),
                  "; it must have one value per channel");
  }
  if (present(scale) && scale.shape() != TensorShape({x.dim_size(0), channels})) {
    return invalid_argument("bias_act: scale has shape ", shape(scale), " but x has ", shape(x),
                  "; it must be [N, C]");
  }
  if (present(noise) &&
      (noise.dims() != 3 || noise.dim_size(1) != x.dim_size(1) ||
       noise.dim_size(2) != x.dim_size(2) ||
       (noise.dim_size(0) != 1 && noise.dim_size(0) != x.dim_size(0)))) {
    return invalid_argument("bias_act: noise has shape ", shape(noise), " but x has ", shape(x),
                  "; it must be [N, H, W] or [1, H, W]");
  }
  if (parameters.dims() != 1 || parameters.NumElements() != 3) {
    return invalid_argument("bias_act: parameters have shape ", shape(parameters),
                  "; they must be three numbers: alpha, gain, clamp");
  }
  s->type = element_type(x.dtype());
  s->batch = spatial ? x.dim_size(0) : 1;
  s->channels = channels;
  // There are pixels for the noise even if there are no channels.
  s->pixels = spatial         ? x.dim_size(1) * x.dim_size(2)
              : channels == 0 ? 0
                              : x.NumElements() / channels;
  s->noise_batch = present(noise) ? noise.dim_size(0) : s->batch;
  const auto values = parameters.flat<double>();
  s->alpha = values(0);
  s->gain = values(1);
  s->clamp = values(2);
  return absl::OkStatus();
}

// The noise's gradient has one value per pixel of each sample, even if they share one noise image.
TensorShape noise_gradient_shape(const Tensor& x, const Tensor& noise) {
  if (!present(noise)) return TensorShape({0});
  return TensorShape({x.dim_size(0), x.dim_size(1), x.dim_size(2)});
}

class BiasActBase : public tensorflow::OpKernel {
 public:
  explicit BiasActBase(OpKernelConstruction* construction) : OpKernel(construction) {
    std::string name;
    OP_REQUIRES_OK(construction, construction->GetAttr("activation", &name));
    for (int i = 0; i < 9; ++i) {
      if (name == kActivations[i]) activation_ = i;
    }
  }

 protected:
  // Reads and checks the inputs from index `first` on. Returns false if they are invalid.
  bool read_point(OpKernelContext* context, int first, TfSg2BiasAct* s, TfSg2BiasActPoint* at) {
    const PointTensors point = point_at(context, first);
    const absl::Status status = check(point, context->input(first + 4), s);
    if (!status.ok()) {
      context->CtxFailure(__FILE__, __LINE__, status);
      return false;
    }
    s->activation = activation_;
    *at = {point.x.data(), data_of(point.scale), data_of(point.noise), data_of(point.bias)};
    return true;
  }

  bool same_shape(OpKernelContext* context, int index, const TensorShape& shape, const char* name) {
    const TensorShape& found = context->input(index).shape();
    if (found == shape) return true;
    context->CtxFailure(__FILE__, __LINE__,
                        invalid_argument("bias_act: ", name, " has shape ", found.DebugString(),
                               "; it must be ", shape.DebugString()));
    return false;
  }

  // Allocates the gradients by x, scale, noise and bias from output `first_output` on. The gradient
  // by x may use the memory of an input in `reused`. Returns false on failure.
  bool allocate_gradients(OpKernelContext* context, int first_input, int first_output,
                          const std::vector<int>& reused, TfSg2BiasActGradient* out) {
    const auto& [x, scale, noise, bias] = point_at(context, first_input);
    const TensorShape shapes[] = {x.shape(), scale.shape(), noise_gradient_shape(x, noise),
                                  bias.shape()};
    void** const targets[] = {&out->x, &out->scale, &out->noise, &out->bias};
    const bool wanted[] = {true, present(scale), present(noise), present(bias)};
    for (int i = 0; i < 4; ++i) {
      Tensor* tensor = nullptr;
      const absl::Status status =
          i == 0 ? context->forward_input_or_allocate_output(reused, first_output, shapes[0], &tensor)
                 : context->allocate_output(first_output + i, shapes[i], &tensor);
      if (!status.ok()) {
        context->CtxFailure(__FILE__, __LINE__, status);
        return false;
      }
      *targets[i] = wanted[i] ? tensor->data() : nullptr;
    }
    return true;
  }

  int activation_ = TF_SG2_LINEAR;
};

// Cycles per task: a smooth activation takes about 30 per element, the others 2.
int64_t cost_of(const TfSg2BiasAct& s, int64_t tasks) {
  const int64_t elements = s.batch * s.pixels * s.channels;
  return elements / tasks * (s.activation > TF_SG2_LRELU ? 30 : 2) + 1;
}

bool allocate_partials(OpKernelContext* context, size_t bytes, Tensor* tensor) {
  const absl::Status status = context->allocate_temp(
      tensorflow::DT_INT8, TensorShape({static_cast<int64_t>(bytes)}), tensor);
  if (!status.ok()) context->CtxFailure(__FILE__, __LINE__, status);
  return status.ok();
}

// Runs the kernels in threads of the CPU. Gpu, below, runs them in a CUDA stream.
struct Cpu {
  // Divides the tasks of a derivative of that order among the threads.
  template <typename Work>
  static void run(OpKernelContext* context, const TfSg2BiasAct& s, int order, Work work) {
    const int64_t tasks = kernels().tasks(&s);
    if (tasks == 0) return;
    const int64_t cost = cost_of(s, tasks) * (order == 2 ? 2 : 1);
    const int64_t scratch_bytes = kernels().scratch(&s, order);
    parallel_for_with_scratch(context, "bias_act", tasks, cost, scratch_bytes, work);
  }
  static void forward(OpKernelContext* context, const TfSg2BiasAct& s, const TfSg2BiasActPoint& at,
                      void* y) {
    run(context, s, 0, [&](void* scratch, int64_t first, int64_t last) {
      kernels().forward(&s, &at, y, scratch, first, last);
    });
  }
  static void gradient(OpKernelContext* context, const TfSg2BiasAct& s, const TfSg2BiasActPoint& at,
                       const void* dy, const TfSg2BiasActGradient& out) {
    Tensor partials;
    if (!allocate_partials(context, kernels().partials(&s), &partials)) return;
    run(context, s, 1, [&](void* scratch, int64_t first, int64_t last) {
      kernels().gradient(&s, &at, dy, &out, partials.data(), scratch, first, last);
    });
    if (context->status().ok()) kernels().finish(&s, &out, partials.data());
  }
  static void gradient2(OpKernelContext* context, const TfSg2BiasAct& s,
                        const TfSg2BiasActPoint& at, const void* dy, const TfSg2BiasActCotangent& u,
                        void* out_dy, const TfSg2BiasActGradient& out) {
    Tensor partials;
    if (!allocate_partials(context, kernels().partials(&s), &partials)) return;
    run(context, s, 2, [&](void* scratch, int64_t first, int64_t last) {
      kernels().gradient2(&s, &at, dy, &u, out_dy, &out, partials.data(), scratch, first, last);
    });
    if (context->status().ok()) kernels().finish(&s, &out, partials.data());
  }

 private:
  static const TfSg2BiasActKernels& kernels() { return tf_sg2_bias_act(); }
};

#if TF_SG2_CUDA
struct Gpu {
  static void forward(OpKernelContext* context, const TfSg2BiasAct& s, const TfSg2BiasActPoint& at,
                      void* y) {
    check_launch(context, "bias_act", tf_sg2_bias_act_cuda(&s, &at, y, stream_of(context)));
  }
  static void gradient(OpKernelContext* context, const TfSg2BiasAct& s, const TfSg2BiasActPoint& at,
                       const void* dy, const TfSg2BiasActGradient& out) {
    Tensor partials;
    if (!allocate_partials(context, tf_sg2_bias_act_cuda_partials(&s), &partials)) return;
    check_launch(context, "bias_act's gradient",
                 tf_sg2_bias_act_gradient_cuda(&s, &at, dy, &out, partials.data(),
                                               stream_of(context)));
  }
  static void gradient2(OpKernelContext* context, const TfSg2BiasAct& s,
                        const TfSg2BiasActPoint& at, const void* dy, const TfSg2BiasActCotangent& u,
                        void* out_dy, const TfSg2BiasActGradient& out) {
    Tensor partials;
    if (!allocate_partials(context, tf_sg2_bias_act_cuda_partials(&s), &partials)) return;
    check_launch(context, "bias_act's second gradient",
                 tf_sg2_bias_act_gradient2_cuda(&s, &at, dy, &u, out_dy, &out, partials.data(),
                                                stream_of(context)));
  }
};
#endif

template <typename Device>
class BiasActOp : public BiasActBase {
 public:
  using BiasActBase::BiasActBase;

  void Compute(OpKernelContext* context) override {
    TfSg2BiasAct s;
    TfSg2BiasActPoint at;
    if (!read_point(context, kForwardPoint, &s, &at)) return;
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({0}, 0,
                                                                      context->input(0).shape(), &y));
    if (y->NumElements() > 0) Device::forward(context, s, at, y->data());
  }
};

template <typename Device>
class BiasActGradientOp : public BiasActBase {
 public:
  using BiasActBase::BiasActBase;

  void Compute(OpKernelContext* context) override {
    TfSg2BiasAct s;
    TfSg2BiasActPoint at;
    if (!read_point(context, kGradientPoint, &s, &at)) return;
    const Tensor& x = context->input(kGradientPoint);
    if (!same_shape(context, 0, x.shape(), "dy")) return;
    const void* dy = context->input(0).data();
    TfSg2BiasActGradient out;
    if (!allocate_gradients(context, kGradientPoint, 0, {0}, &out)) return;
    Device::gradient(context, s, at, dy, out);
  }
};

template <typename Device>
class BiasActGradient2Op : public BiasActBase {
 public:
  using BiasActBase::BiasActBase;

  void Compute(OpKernelContext* context) override {
    TfSg2BiasAct s;
    TfSg2BiasActPoint at;
    if (!read_point(context, kGradient2Point, &s, &at)) return;
    const auto& [x, scale, noise, bias] = point_at(context, kGradient2Point);
    if (!same_shape(context, 0, x.shape(), "the incoming gradient of x") ||
        !same_shape(context, 1, scale.shape(), "the incoming gradient of scale") ||
        !same_shape(context, 2, noise_gradient_shape(x, noise), "the incoming gradient of noise") ||
        !same_shape(context, 3, bias.shape(), "the incoming gradient of bias") ||
        !same_shape(context, 4, x.shape(), "dy")) {
      return;
    }
    Tensor* out_dy = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &out_dy));
    TfSg2BiasActGradient out;
    if (!allocate_gradients(context, kGradient2Point, 1, {}, &out)) return;
    const TfSg2BiasActCotangent u = {context->input(0).data(), data_of(context->input(1)),
                                     data_of(context->input(2)), data_of(context->input(3))};
    Device::gradient2(context, s, at, context->input(4).data(), u, out_dy->data(), out);
  }
};

#define TF_SG2_REGISTER(name, kernel, type, device)                                      \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tensorflow::type).HostMemory("parameters"), \
                          kernel<device>);
#define TF_SG2_REGISTER_ALL(type, device)                                    \
  TF_SG2_REGISTER("TfSg2>BiasAct", BiasActOp, type, device)                  \
  TF_SG2_REGISTER("TfSg2>BiasActGradient", BiasActGradientOp, type, device)  \
  TF_SG2_REGISTER("TfSg2>BiasActGradient2", BiasActGradient2Op, type, device)

TF_SG2_REGISTER_ALL(DEVICE_CPU, Cpu)
#if TF_SG2_CUDA
TF_SG2_REGISTER_ALL(DEVICE_GPU, Gpu)
#endif

#define TF_SG2_ATTRIBUTES                                                                      \
  Attr("T: {half, bfloat16, float, double}")                                                  \
      .Attr("activation: {'linear', 'relu', 'lrelu', 'tanh', 'sigmoid', 'elu', 'selu', "      \
            "'softplus', 'swish'}")

#define TF_SG2_POINT \
  Input("x: T").Input("scale: T").Input("noise: T").Input("bias: T").Input("parameters: double")
#define TF_SG2_GRADIENTS \
  Output("dx: T").Output("dscale: T").Output("dnoise: T").Output("dbias: T")

// Sets the shapes of the gradients by x, scale, noise and bias. x is input `from`.
void set_gradient_shapes(InferenceContext* c, int from, int to) {
  const ShapeHandle x = c->input(from), noise = c->input(from + 2);
  c->set_output(to, x);
  c->set_output(to + 1, c->input(from + 1));
  ShapeHandle sums = c->UnknownShape();
  if (c->RankKnown(noise)) {
    sums = noise;
    ShapeHandle pixels;
    if (c->Rank(noise) == 3) {
      sums = c->RankKnown(x) && c->Rank(x) == 4 && c->Subshape(x, 0, 3, &pixels).ok()
                 ? pixels
                 : c->UnknownShapeOfRank(3);
    }
  }
  c->set_output(to + 2, sums);
  c->set_output(to + 3, c->input(from + 3));
}

absl::Status forward_shape(InferenceContext* c) {
  ShapeHandle x;
  TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(kForwardPoint), 1, &x));
  c->set_output(0, x);
  return absl::OkStatus();
}

absl::Status gradient_shape(InferenceContext* c) {
  set_gradient_shapes(c, kGradientPoint, 0);
  return absl::OkStatus();
}

absl::Status gradient2_shape(InferenceContext* c) {
  c->set_output(0, c->input(kGradient2Point));
  set_gradient_shapes(c, kGradient2Point, 1);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("TfSg2>BiasAct")
    .TF_SG2_POINT
    .Output("y: T")
    .TF_SG2_ATTRIBUTES
    .SetShapeFn(forward_shape)
    .Doc(R"doc(
Computes clip(activation(x * scale + noise + bias) * gain, -clamp, clamp) in one pass.

x: [..., C]; [N, H, W, C] if there is a scale or noise.
scale: [N, C], or an empty vector for none.
noise: [N, H, W] or [1, H, W], or an empty vector for none.
bias: [C], or an empty vector for none.
parameters: alpha (slope of lrelu below zero), gain, clamp (negative: none), in host memory.
y: The shape of x.
)doc");

REGISTER_OP("TfSg2>BiasActGradient")
    .Input("dy: T")
    .TF_SG2_POINT
    .TF_SG2_GRADIENTS
    .TF_SG2_ATTRIBUTES
    .SetShapeFn(gradient_shape)
    .Doc(R"doc(
The gradient of BiasAct by x, scale, noise and bias, given the gradient by its result.

dnoise: [N, H, W], one value per pixel of each sample, even if all share one noise image.
)doc");

REGISTER_OP("TfSg2>BiasActGradient2")
    .Input("ux: T")
    .Input("uscale: T")
    .Input("unoise: T")
    .Input("ubias: T")
    .Input("dy: T")
    .TF_SG2_POINT
    .Output("ddy: T")
    .TF_SG2_GRADIENTS
    .TF_SG2_ATTRIBUTES
    .SetShapeFn(gradient2_shape)
    .Doc(R"doc(
The gradient of BiasActGradient by dy, x, scale, noise and bias, given the gradients by its results.
)doc");

}  // namespace tf_sg2
