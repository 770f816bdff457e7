"""Sources of frames; they know no model."""
