"""The best architectures as files to take away."""
