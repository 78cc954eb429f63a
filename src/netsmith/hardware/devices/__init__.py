"""Users' own devices: their tables in the layouts that are about, and files to measure layers elsewhere."""
