"""Latency tables: what one layer took, by its shape; filled by this machine or by a user's file."""
