"""One HTML page that shows a trace: `gpt-numpy inspect --html=FILE`."""
