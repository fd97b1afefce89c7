"""What every other folder builds on: arrays, errors, checks, threads, progress, environment."""
