"""The experiment as NNI trials: launched there and watched there."""
