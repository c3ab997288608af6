"""Training by several workers: who they are, what they exchange, and how failures are reported."""
