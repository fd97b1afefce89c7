"""The commands of `gpt-numpy`: a module each, whose `run(words, types)` returns the status."""
