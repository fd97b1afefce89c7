"""Where tokens come from: texts, tokenizers, files of tokens, and the batches drawn from them."""
