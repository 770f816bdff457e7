"""What the network is shown of images, in which order, and how they get to it."""
