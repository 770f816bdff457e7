"""Images to learn from and to judge by: found, examined, divided."""
