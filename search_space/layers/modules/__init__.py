"""What planned layers build: the operators as torch modules, and what serves them alone."""
