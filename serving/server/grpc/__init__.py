"""The gRPC half of the server."""
