"""What `convnas COMMAND` does, a file for each kind; `experiments/cli.py` gathers them."""
