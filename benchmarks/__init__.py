"""Measurements, as commands that print a table; figures with date and machine are in RESULTS.md."""
