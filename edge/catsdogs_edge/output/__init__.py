"""Files, rows and progress bars that commands write."""
