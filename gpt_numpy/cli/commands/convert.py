"""`gpt-numpy convert`: a model from one format to another."""

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import ConvertConfig
from gpt_numpy.cli.settings import Types, gather, is_flag, mute
from gpt_numpy.interop import export, open_run


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy convert`."""
    config = ConvertConfig(**gather(filter(is_flag, words), types, mute))
    names = [word for word in words if not is_flag(word)]
    if len(names) != 2:
        raise InputError(
            f"convert takes two names, not {len(names)}: gpt-numpy convert FROM TO, "
            "where FROM holds a model and TO is a new folder"
        )
    source, target = names
    run = open_run(source, checkpoint=config.checkpoint)
    export(run, target, config.format)
    print(f"{run.model.n_params:,} parameters of {source} written to {target} ({config.format})")
    return 0
