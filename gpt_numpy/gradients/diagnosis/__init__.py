"""What a wrong gradient looks like: where it is wrong, and which known mistake produces it.

The gradient under test is compared with the exact one under one hypothesis after another: off by a
factor, transposed, a row left out, a term missing, equal to what a known mistake gives. One is
reported if it explains every element to eight digits; otherwise the report says how far it holds,
or that none does.
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
