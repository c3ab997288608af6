"""The networks of the paper: mapping, synthesis, discriminator, and the layers they consist of."""
