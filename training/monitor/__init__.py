"""What a run reports while it trains: log, TensorBoard, sample pictures and profiles."""
