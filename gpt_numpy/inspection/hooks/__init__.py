"""Replace an activation by name, and see the effect on loss and gradients."""
