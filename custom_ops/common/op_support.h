/* What the TensorFlow registrations share: refusals, element types, threads, streams. */
#ifndef TF_SG2_OP_SUPPORT_H_
#define TF_SG2_OP_SUPPORT_H_

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

template <typename... Parts>
absl::Status refuse(const Parts&... parts) {
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

/* Runs pieces of work on TensorFlow's own threads; `cost` is about the cycles that one takes. */
template <typename Work>
void share(tensorflow::OpKernelContext* context, int64_t tasks, int64_t cost, Work work) {
  const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(workers.num_threads, workers.workers, tasks, cost, work);
}

/* Memory of one thread, for as long as it works on its pieces; aligned to 64 bytes. */
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

/* Runs pieces of work, each thread with `bytes` of its own; says where there is no memory for it. */
template <typename Work>
void share_with_scratch(tensorflow::OpKernelContext* context, const char* op, int64_t tasks,
                        int64_t cost, int64_t bytes, Work work) {
  std::atomic<bool> exhausted{false};
  share(context, tasks, cost, [&](int64_t first, int64_t last) {
    Scratch scratch(bytes);
    if (scratch.data() == nullptr) {
      exhausted = true;
      return;
    }
    work(scratch.data(), first, last);
  });
  OP_REQUIRES(context, !exhausted,
              absl::ResourceExhaustedError(absl::StrCat(
                  op, ": there is no memory for the ", bytes, " bytes that each thread needs")));
}

#if TF_SG2_CUDA
inline void* stream_of(tensorflow::OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

inline void check_launch(tensorflow::OpKernelContext* context, const char* op, int error) {
  OP_REQUIRES(context, error == 0,
              absl::InternalError(absl::StrCat(op, ": the CUDA launch failed with error ", error)));
}
#endif

}  // namespace tf_sg2

#endif  // TF_SG2_OP_SUPPORT_H_
