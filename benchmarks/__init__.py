"""Timed steps, generation, memory, scaling and kernels, where possible next to PyTorch."""
