"""Every array of one pass: its value, its gradient, its equation, and what computed it."""
