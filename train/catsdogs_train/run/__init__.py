"""The run folder: checkpoint, history, report and plots."""
