"""What can be chosen about a network, what each choice does to it, and what designs cost."""
