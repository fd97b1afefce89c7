"""The command line, `gpt-numpy COMMAND`: settings to be read, and a module for each command."""
