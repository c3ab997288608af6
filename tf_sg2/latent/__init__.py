"""Pictures from latent space: by seed, mixed, and on a way between them."""
