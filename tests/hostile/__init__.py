"""Files made to harm: `python -m tests.hostile` runs the whole campaign, the suite a small one."""
