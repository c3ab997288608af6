"""A local server of TensorFlow Serving's protocol: gRPC and REST over SavedModels, in one process.

Data flows http and grpc -> execution -> models. Error texts are those of TensorFlow Serving
(Apache-2.0), so clients work with both servers alike.
"""
