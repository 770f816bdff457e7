"""What a camera shows, to all who watch: frames, state, events."""
