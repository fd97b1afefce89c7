"""Earlier checkpoints of a run (`--keep_last`): the page can show the model as it was then."""

from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.inspection.page.live import as_float32
from gpt_numpy.training.checkpoint import Run, load
from gpt_numpy.training.run_folder import earlier_checkpoints

MOST = 4  # checkpoints, evenly spaced where the run kept more
MOST_PARAMETERS = 2_000_000  # of all of them together


def earlier_models(folder: str, run: Run) -> list[dict[str, Any]]:
    """Iteration and parameters of some earlier checkpoints in the folder, the oldest first.

    Those that cannot be read, or are of another shape, are left out.
    """
    own = run.progress.get("iteration")
    iterations = sorted(i for i in earlier_checkpoints(Path(folder)) if i != own)
    count = min(len(iterations), MOST, MOST_PARAMETERS // run.model.n_params)
    places = np.linspace(0, len(iterations) - 1, count).round().astype(int).tolist()
    found = []
    for iteration in [iterations[place] for place in places]:
        try:
            model = load(earlier_checkpoints(Path(folder))[iteration], ops="reference").model
        except (InputError, KeyError):
            continue
        if model.config == run.config:
            found.append({"iteration": iteration, "numbers": as_float32(model)})
    return found
