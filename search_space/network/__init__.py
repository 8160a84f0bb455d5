"""From an architecture to its plan, and from the plan to a network."""
