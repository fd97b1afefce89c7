"""The training loop and its parts: optimizer, evaluation, checkpoints, the run's folder."""
