"""Every array of one pass: its value, gradient, equation, and the function behind it."""
