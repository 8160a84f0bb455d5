"""How long networks take on a device."""
