"""The mutation campaign: deliberate mistakes, one at a time, and which tests notice them.

    python -m tests.mutations            the whole campaign
    python -m tests.mutations --help     its options

`backward_mistakes.py`, `kernel_mistakes.py` and `durability_mistakes.py` are the list, `checks.py`
names the tests that may notice a mistake, `campaign.py` applies one mutation after the other to a
copy of the package and runs the tests on it, `false_alarms.py` runs the same checks on correct code
with many seeds.
"""
