"""What a finished run claims, checked again from its files: one topic, one file, and a list of claims of each."""
