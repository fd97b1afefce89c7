"""What every other folder may use: arrays, errors, checks, threads, progress, environment."""
