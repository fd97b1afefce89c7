"""What everything else stands on: arrays, errors, checks, threads, progress, environment."""
