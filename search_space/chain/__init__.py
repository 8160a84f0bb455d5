"""A space as small tables: what is chosen one after another, and what each option costs."""
