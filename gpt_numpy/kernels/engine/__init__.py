"""How kernels are compiled, cached and run: jit, machine code, the pool of threads, tasks."""
