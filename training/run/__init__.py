"""What a run needs besides the algorithm: start, checkpoints, rollback, signals, lock, devices."""
