"""Classifies images by the million on a Ray cluster."""
