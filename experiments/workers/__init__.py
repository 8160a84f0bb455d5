"""The processes that train, and how they are started, spoken to and replaced."""
