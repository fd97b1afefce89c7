"""`gpt-numpy convert`: writes a model in another format."""

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import ConvertConfig
from gpt_numpy.cli.settings import Types, split
from gpt_numpy.interop import export, open_run


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy convert`."""
    names, flags = split(words, types)
    config = ConvertConfig(**flags)
    if len(names) != 2:
        raise InputError(
            f"convert takes two names, not {len(names)}: gpt-numpy convert FROM TO, "
            "where FROM holds a model and TO is a new folder"
        )
    source, target = names
    run = open_run(source, checkpoint=config.checkpoint, say=print, pairs=True)
    export(run, target, config.format, dtype=config.dtype)
    written = config.format if config.dtype == "float32" else f"{config.format}, {config.dtype}"
    print(f"{run.model.n_params:,} parameters of {source} written to {target} ({written})")
    return 0
