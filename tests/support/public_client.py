"""A client as TensorFlow Serving's public examples write one: its stubs, gRPC, and nothing of ours.

Usage: public_client.py HOST:PORT MODEL SEED PICTURE.png
"""

import sys

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def main(server, model, seed, picture):
    channel = grpc.insecure_channel(server)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "generate"
    request.inputs["seed"].CopyFrom(tf.make_tensor_proto(int(seed), tf.int64, shape=[1]))
    request.inputs["truncation_psi"].CopyFrom(tf.make_tensor_proto(0.7, shape=[1]))
    result = stub.Predict(request, 30.0)  # 30 seconds
    with open(picture, "wb") as file:
        file.write(result.outputs["image_bytes"].string_val[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
