"""The run folder: what a job leaves on disk, its log, and the schema of its summary."""
