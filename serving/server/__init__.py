"""A local server of TensorFlow Serving's protocol: gRPC and REST over SavedModels, in one process.

Data flows rest/rpc -> predict -> models and batching -> saved_model. The sentences that clients
read are TensorFlow Serving's (Apache-2.0), so that a client cannot tell the two apart.
"""
