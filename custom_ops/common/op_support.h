/* Common parts of the TensorFlow registrations: errors, element types, threads, CUDA streams. */
#ifndef TF_SG2_COMMON_OP_SUPPORT_H_
#define TF_SG2_COMMON_OP_SUPPORT_H_

#include <atomic>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/stream_executor.h"
#include "tensorflow/core/util/work_sharder.h"
#include "types.h"

namespace tf_sg2 {

// The names that every op.cc uses.
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

template <typename... Parts>
absl::Status invalid_argument(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

inline TfSg2Type element_type(tensorflow::DataType type) {
  switch (type) {
    case tensorflow::DT_HALF: return TF_SG2_FLOAT16;
    case tensorflow::DT_BFLOAT16: return TF_SG2_BFLOAT16;
    case tensorflow::DT_FLOAT: return TF_SG2_FLOAT32;
    default: return TF_SG2_FLOAT64;
  }
}

/* Runs work(first, last) for all tasks on TensorFlow's threads. `cost`: cycles per task, about. */
template <typename Work>
void parallel_for(OpKernelContext* context, int64_t tasks, int64_t cost, Work work) {
  const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers.num_threads, workers.workers, tasks, cost, work);
}

/* Scratch memory of one thread, aligned to 64 bytes. Null if there is not enough memory. */
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : data_(std::aligned_alloc(64, (bytes / 64 + 1) * 64)) {}
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() { return data_; }

 private:
  void* data_;
};

/* The same, with work(scratch, first, last) and `bytes` of scratch memory per thread. */
template <typename Work>
void parallel_for_with_scratch(OpKernelContext* context, const char* op, int64_t tasks,
                               int64_t cost, int64_t bytes, Work work) {
  std::atomic<bool> exhausted{false};
  parallel_for(context, tasks, cost, [&](int64_t first, int64_t last) {
    Scratch scratch(bytes);
    if (scratch.data() == nullptr) {
      exhausted = true;
      return;
    }
    work(scratch.data(), first, last);
  });
  OP_REQUIRES(context, !exhausted,
              absl::ResourceExhaustedError(absl::StrCat(
                  op, ": there is no memory for the ", bytes,
                  " bytes that each thread needs; use fewer threads or a smaller batch")));
}

#if TF_SG2_CUDA
inline void* stream_of(OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

inline void check_launch(OpKernelContext* context, const char* op, int error) {
  OP_REQUIRES(context, error == 0,
              absl::InternalError(absl::StrCat(op, ": the CUDA launch failed with error ", error)));
}
#endif

}  // namespace tf_sg2

#endif  // TF_SG2_COMMON_OP_SUPPORT_H_
