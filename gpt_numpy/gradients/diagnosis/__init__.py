"""What a wrong gradient looks like: where it is wrong, and which known mistake gives these numbers.

Every sentence is a measurement. The two arrays, what was written by hand and what is exact, are
compared under one hypothesis after the other: off by a factor, transposed, a row left out, a term
that has the shape of a known one missing, equal to what a known mistake gives. A hypothesis is told
only if it accounts for every element to the eighth digit, or it says so; if none does, the sentence
says that, too.
"""

from gpt_numpy.gradients.diagnosis.case import Case, Clues
from gpt_numpy.gradients.diagnosis.clues import input_clues, layer_clues, model_clues
from gpt_numpy.gradients.diagnosis.conclude import diagnose
from gpt_numpy.gradients.diagnosis.factors import name_factor
from gpt_numpy.gradients.diagnosis.regions import where

__all__ = [
    "Case",
    "Clues",
    "diagnose",
    "input_clues",
    "layer_clues",
    "model_clues",
    "name_factor",
    "where",
]
