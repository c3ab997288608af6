"""Models and their versions: loading, warm-up, unloading."""
