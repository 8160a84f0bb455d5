"""A network of one's own, traced: what its convolutions may become, and what each choice costs."""
