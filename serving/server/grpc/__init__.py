"""The gRPC server: its services, health checks and limits."""
