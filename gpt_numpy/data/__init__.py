"""Where tokens come from: texts, tokenizers, token files, and the batches drawn from them."""
