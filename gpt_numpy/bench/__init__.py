"""The time of a training step, layer by layer."""
