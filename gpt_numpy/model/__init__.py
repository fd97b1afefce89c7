"""The block diagram as data (stages), the model that runs it, its buffers, memory and FLOPs."""
