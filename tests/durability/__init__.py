"""Campaigns that try to lose or corrupt a run: `python -m tests.durability --help`."""
