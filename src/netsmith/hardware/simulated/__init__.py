"""Simulated hardware: families of cost models whose numbers come from a configuration file."""
