"""A client of TensorFlow Serving's protocol, over REST or gRPC."""
