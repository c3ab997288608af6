"""What goes over the wire: errors, tensors, JSON, and TensorFlow Serving's configuration files."""
