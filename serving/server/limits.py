"""What one client may take of the server, in bytes and seconds; the flags' defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds against clients that are greedy, slow or hostile.

    Attributes:
        body_bytes: of one REST body, inflated where it comes compressed.
        message_bytes: of one gRPC message, and of one tensor in it.
        memory_bytes: of all requests in work together: bodies, documents, arrays and answers until
            they are sent. gRPC messages that have not come whole may hold as much again.
        rest_seconds: a REST request's time in the queue and in the model.
        grpc_seconds: the same for a gRPC call that has no deadline, or a later one.
        arrival_seconds: in which a request must have arrived whole; a gRPC message too.
        answer_seconds: in which an answer must have been fetched.
        connections: HTTP connections at a time; beyond, the one that has been waiting longest for
            its client goes.
        calls: gRPC calls at a time.
        grpc_connections: beyond, new ones are closed. Most clients need one.
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
