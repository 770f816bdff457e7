"""Examines a machine, and a model file on it."""
