"""What is measured and set on a few images that a trained network sees, without any training."""
