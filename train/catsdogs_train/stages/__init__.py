"""The stages of a training."""
