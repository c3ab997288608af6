"""Training: losses, step, loop, checkpoints and logs. It imports `tf_sg2`, never `serving`."""
