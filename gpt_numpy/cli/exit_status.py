"""The exit statuses of `gpt-numpy`."""

OK = 0
CHECK_FAILED = 1
BAD_INPUT = 2
NOT_FINITE = 3  # a loss or a gradient
INTERRUPTED = 130
