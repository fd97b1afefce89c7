"""Replace an activation by name, and see what loss and gradients do."""
