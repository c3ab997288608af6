"""Builds and loads the native TensorFlow ops. Imports only TensorFlow."""
