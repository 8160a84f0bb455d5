"""What `convnas COMMAND` does, a file for each kind of command; `experiments/cli.py` gathers them."""
