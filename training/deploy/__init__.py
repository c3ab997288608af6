"""Running training on clusters: container, Kubernetes and Slurm files, and their launcher."""
