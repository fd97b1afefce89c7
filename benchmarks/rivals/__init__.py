"""Other programs that train the same model, timed next to ours: `python -m benchmarks.rivals`."""
