"""The training loop, and what it needs: optimizer, evaluation, checkpoints, the run's folder."""
