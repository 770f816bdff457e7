"""Measures models on this machine."""
