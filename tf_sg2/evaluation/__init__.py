"""Evaluation: what is judged, the real images beside it, the eyes, and results on disk.

`tf_sg2.metrics` computes; this room opens runs, exports and folders for it, and keeps what it
returns.
"""
