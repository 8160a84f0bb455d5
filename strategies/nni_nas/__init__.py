"""NNI's NAS strategies and one-shot trainers over our spaces."""
