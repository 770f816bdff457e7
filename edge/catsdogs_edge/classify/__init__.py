"""Classifies files and folders of images."""
