"""Limits on what clients may use, in bytes and seconds; the defaults of the flags."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits against greedy, slow and hostile clients.

    Attributes:
        body_bytes: largest REST body, after decompression.
        message_bytes: largest gRPC message, and largest tensor in it.
        memory_bytes: memory of all running requests together: bodies, documents, arrays, and
            answers until they are sent. Incomplete gRPC messages may take as much again.
        rest_seconds: time of a REST request in the queue and in the model.
        grpc_seconds: the same for a gRPC call, unless its deadline is earlier.
        arrival_seconds: time in which a request or a gRPC message must arrive.
        answer_seconds: time in which a client must fetch its answer.
        connections: open HTTP connections. Over this limit, the connection that has waited longest
            for its client is closed.
        calls: running gRPC calls.
        grpc_connections: open gRPC connections. Over this limit, new ones are closed.
    """

    body_bytes: int = 8 << 20
    message_bytes: int = 64 << 20
    memory_bytes: int = 256 << 20
    rest_seconds: float = 30.0
    grpc_seconds: float = 300.0
    arrival_seconds: float = 30.0
    answer_seconds: float = 120.0
    connections: int = 16384
    calls: int = 512
    grpc_connections: int = 256
