"""What one client may take of the server, in bytes and seconds; the flags' defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds against clients that are greedy, slow or hostile.

    Attributes:
        body_bytes: of one REST body, inflated where it comes compressed.
        message_bytes: of one gRPC message, and of one tensor in it.
        memory_bytes: of all requests in work together, as they come and as arrays.
        rest_seconds: a REST request's time in the queue and in the model.
        grpc_seconds: the same for a gRPC call that has no deadline, or a later one.
        arrival_seconds: in which a request must have arrived whole; a gRPC message too.
        answer_seconds: in which an answer must have been fetched.
        connections: HTTP connections at a time; beyond, the one that has been waiting longest for
            its client goes.
        calls: gRPC calls at a time. Messages that have not come whole are not seen by the bound on
            memory: they hold calls * message_bytes at most, 2 GiB by default.
    """

    body_bytes: int = 8 << 20
    message_bytes: int = 4 << 20
    memory_bytes: int = 256 << 20
    rest_seconds: float = 30.0
    grpc_seconds: float = 300.0
    arrival_seconds: float = 30.0
    answer_seconds: float = 120.0
    connections: int = 16384
    calls: int = 512
