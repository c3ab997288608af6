"""What a run needs around the algorithm: start, checkpoints, rollback, signals and devices."""
