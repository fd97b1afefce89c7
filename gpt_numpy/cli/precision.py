"""What a command says once, at its start, about products in bfloat16."""

from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.linear import BFLOAT16

_EMULATED = (
    "dtype=bfloat16: this processor has no fast instruction for it; its products are emulated"
)
TRAINING = "more slowly than --dtype=float32 trains"
SAMPLING = "a prompt more slowly than float32; each token after it reads half the memory"


def note_of_emulation(model: GPT, consequence: str) -> list[str]:
    """One line if the kernels compute bfloat16 products without the instruction; otherwise none."""
    if model.precision != BFLOAT16 or model.ops_name != "kernels":
        return []
    emulated = model.ops.bfloat16_tile() == model.ops.EMULATED
    return [f"{_EMULATED}, {consequence}"] if emulated else []
