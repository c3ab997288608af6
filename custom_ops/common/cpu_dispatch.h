/* Chooses the CPU kernels of an op for the processor at hand.
 *
 * An op's header declares one struct of function pointers. Its cpu.cc, which is compiled once per
 * target, defines a constant of it:
 *
 *   TF_SG2_DEFINE_CPU_KERNELS(Upfirdn2dKernels, upfirdn2d_kernels) = {tasks, scratch, run};
 *
 * Its op.cc declares the constants of all targets, and calls through the chosen one:
 *
 *   TF_SG2_DECLARE_CPU_KERNELS(Upfirdn2dKernels, upfirdn2d_kernels)
 *   upfirdn2d_kernels().run(...);
 */
#ifndef TF_SG2_COMMON_CPU_DISPATCH_H_
#define TF_SG2_COMMON_CPU_DISPATCH_H_

namespace tf_sg2 {

enum class CpuTarget { kBase, kAvx2, kAvx512 };

/* The best target that this processor runs. $TF_SG2_CPU=base or avx2 limits it, for tests. */
CpuTarget cpu_target();

}  // namespace tf_sg2

#define TF_SG2_JOIN2(name, target) name##_##target
#define TF_SG2_JOIN(name, target) TF_SG2_JOIN2(name, target)

#define TF_SG2_DEFINE_CPU_KERNELS(Kernels, name)             \
  extern const Kernels TF_SG2_JOIN(name, TF_SG2_TARGET);     \
  const Kernels TF_SG2_JOIN(name, TF_SG2_TARGET)

#if defined(__x86_64__)
#define TF_SG2_DECLARE_CPU_KERNELS(Kernels, name)                       \
  extern const Kernels name##_base, name##_avx2, name##_avx512;         \
  inline const Kernels& name() {                                        \
    switch (::tf_sg2::cpu_target()) {                                   \
      case ::tf_sg2::CpuTarget::kAvx512: return name##_avx512;          \
      case ::tf_sg2::CpuTarget::kAvx2: return name##_avx2;              \
      default: return name##_base;                                      \
    }                                                                   \
  }
#else
#define TF_SG2_DECLARE_CPU_KERNELS(Kernels, name) \
  extern const Kernels name##_base;               \
  inline const Kernels& name() { return name##_base; }
#endif

#endif  // TF_SG2_COMMON_CPU_DISPATCH_H_
