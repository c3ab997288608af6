/* Element types as the kernels number them. Plain C, no TensorFlow. */
#ifndef TF_SG2_COMMON_TYPES_H_
#define TF_SG2_COMMON_TYPES_H_

enum TfSg2Type {
  TF_SG2_FLOAT16 = 0,
  TF_SG2_BFLOAT16 = 1,
  TF_SG2_FLOAT32 = 2,
  TF_SG2_FLOAT64 = 3,
};

/* A function that the library exports. All others are hidden. */
#define TF_SG2_API __attribute__((visibility("default")))

#endif /* TF_SG2_COMMON_TYPES_H_ */
