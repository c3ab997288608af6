"""The client for servers of TensorFlow Serving's protocol, over REST or gRPC."""
