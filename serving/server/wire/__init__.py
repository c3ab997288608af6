"""Wire formats: errors, tensors, JSON, and TensorFlow Serving's configuration files."""
