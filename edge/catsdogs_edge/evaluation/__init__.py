"""Figures and charts about answers, for training and export."""
