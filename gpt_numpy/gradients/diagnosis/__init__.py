"""Explains a wrong gradient: where it is wrong, and which mistake gives exactly these numbers.

The hand-derived and the exact gradient are compared under one hypothesis after another: off by a
factor, transposed, a row left out, a known term missing, equal to what a known mistake gives. A
hypothesis is reported only if it explains every element to eight digits, or states which part it
explains. If none does, the report says so.
"""
