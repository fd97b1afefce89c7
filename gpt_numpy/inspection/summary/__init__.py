"""Statistics of activations and gradients, as a table."""
