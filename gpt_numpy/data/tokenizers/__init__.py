"""From text to tokens and back: characters, byte pairs, GPT-2's vocabulary, and their files."""
