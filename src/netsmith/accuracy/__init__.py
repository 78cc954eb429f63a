"""Evaluators: what designs lose, measured on images."""
