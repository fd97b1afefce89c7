"""Every setting of the model and of training, with its help text and its check."""
