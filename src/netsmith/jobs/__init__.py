"""What a user asks for, end to end: a job is ``netsmith.jobs.NAME.NAME``."""
