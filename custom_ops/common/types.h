/* Element types and activations as the kernels number them. Plain C, no TensorFlow. */
#ifndef TF_SG2_TYPES_H_
#define TF_SG2_TYPES_H_

enum TfSg2Type {
  TF_SG2_FLOAT16 = 0,
  TF_SG2_BFLOAT16 = 1,
  TF_SG2_FLOAT32 = 2,
  TF_SG2_FLOAT64 = 3,
};

enum TfSg2Activation {
  TF_SG2_LINEAR = 0,
  TF_SG2_RELU = 1,
  TF_SG2_LRELU = 2,
  TF_SG2_TANH = 3,
  TF_SG2_SIGMOID = 4,
  TF_SG2_ELU = 5,
  TF_SG2_SELU = 6,
  TF_SG2_SOFTPLUS = 7,
  TF_SG2_SWISH = 8,
};

/* What crosses the library's border; all else is hidden. */
#define TF_SG2_API __attribute__((visibility("default")))

#endif /* TF_SG2_TYPES_H_ */
