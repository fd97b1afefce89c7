"""Convert text to tokens and back: characters, byte pairs, GPT-2, and their files."""
