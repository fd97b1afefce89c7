"""Campaigns that try to lose or to bend a run: `python -m tests.durability --help`."""
