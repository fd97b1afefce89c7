"""Campaigns that try to lose or to bend a run: `python tests/durability --help`."""
