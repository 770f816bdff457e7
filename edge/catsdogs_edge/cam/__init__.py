"""Classifies the frames of cameras, streams and videos."""
