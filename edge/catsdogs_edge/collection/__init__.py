"""Frames of a camera that teach something: collected, looked at, labelled, and ready to train on."""
