"""What StyleGAN2 replaced: AdaIN, pixel normalisation, and progressive growing."""
