"""What each command of `gpt-numpy` does, once its words are read: a module each, with `run`."""
