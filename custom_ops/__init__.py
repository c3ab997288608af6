"""Native TensorFlow ops are built here; imports TensorFlow alone."""
