#ifndef TF_SG2_CUDA_EMULATION_BF16_H_
#define TF_SG2_CUDA_EMULATION_BF16_H_

#include <stdint.h>
#include <string.h>

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 value) {
  const uint32_t bits = uint32_t(value.bits) << 16;
  float wide;
  memcpy(&wide, &bits, sizeof(wide));
  return wide;
}
/* Rounds to nearest, ties to even. A NaN is not supported. */
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  bits += 0x7fff + (bits >> 16 & 1);
  return {static_cast<uint16_t>(bits >> 16)};
}

#endif /* TF_SG2_CUDA_EMULATION_BF16_H_ */
