"""The export of a SavedModel for TensorFlow Serving: signatures, checks, warm-up, model card."""
