"""What a run reports during training: log, TensorBoard, sample pictures and profiles."""
