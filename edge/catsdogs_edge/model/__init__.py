"""The model file: its contract, its answers, its self-test."""
