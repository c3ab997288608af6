#ifndef TF_SG2_CUDA_EMULATION_FP16_H_
#define TF_SG2_CUDA_EMULATION_FP16_H_

struct __half {
  _Float16 value;
};
inline float __half2float(__half half) { return half.value; }
inline __half __float2half_rn(float value) { return {static_cast<_Float16>(value)}; }

#endif /* TF_SG2_CUDA_EMULATION_FP16_H_ */
