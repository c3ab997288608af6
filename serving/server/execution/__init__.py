"""How requests are executed: batching, memory bounds, and one request on one model."""
