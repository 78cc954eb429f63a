"""The exact solver: a problem reduced to variables, bounds by relaxation and elimination, and what closes the gap."""
