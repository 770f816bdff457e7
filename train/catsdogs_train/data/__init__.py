"""Labelled images: layouts, audit, split, batches and views."""
