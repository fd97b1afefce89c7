"""The matrix product: the register tile, packing, the loops, and what follows a product."""
