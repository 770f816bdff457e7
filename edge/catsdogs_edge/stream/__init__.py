"""What lies between frames and results: regions, motion, inference, smoothing."""
