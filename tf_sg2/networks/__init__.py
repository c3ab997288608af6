"""The networks: mapping, synthesis, generator, discriminator, and the layers they consist of."""

KERAS_PACKAGE = "tf_sg2"  # Prefix of the names under which Keras serialises layers and models.
