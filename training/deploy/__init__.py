"""Training on clusters: files for containers, Kubernetes and Slurm, and their launcher."""
