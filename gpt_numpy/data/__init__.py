"""Data for training: texts, tokenizers, token files, and the batches drawn from them."""
