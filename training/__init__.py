"""Training: losses, step, loop, checkpoints and summaries; imports `tf_sg2`, never `serving`."""
