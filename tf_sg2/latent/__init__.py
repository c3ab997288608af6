"""Pictures from latent space: of seeds, of mixed styles, and along a path between seeds."""
