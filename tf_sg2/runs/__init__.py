"""Run directories: their layout, their checkpoints, and how to load a trained run."""
