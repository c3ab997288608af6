"""The SavedModel that TensorFlow Serving loads: signatures, checks, warm-up, model card."""
