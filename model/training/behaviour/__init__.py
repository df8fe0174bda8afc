"""Training the behaviour channel: pre-training by contrast, then ranking what was clicked."""
