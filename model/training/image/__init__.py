"""Training the image channel."""
