"""The command line: gpt-numpy COMMAND."""
