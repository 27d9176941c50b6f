"""Training a network: losses, the Lightning task, the fit and what is kept of it."""
