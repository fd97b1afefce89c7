"""One module for each command of `gpt-numpy`, each with `run(words, types)`."""
