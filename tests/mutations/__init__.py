"""The mutation campaign: deliberate mistakes, one at a time, and which tests notice them.

    python -m tests.mutations            the whole campaign
    python -m tests.mutations --help     its options

`*_mistakes.py` are the catalogues, one for each part of the package, `checks.py` names the tests
that may notice a mistake, `campaign.py` applies one mutation after the other to a copy of the
package and runs the tests on it, `false_alarms.py` runs the same checks on correct code with many
seeds.
"""
