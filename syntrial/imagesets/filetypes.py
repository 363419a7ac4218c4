"""What a file is, by its suffix and by how it begins: the one list of picture suffixes, the one table of signatures.

Read by whoever meets a file of the user's: plans and servers take the same files for pictures, and a file that is not
what its name says is called what it is, with what to do about it.
"""

import codecs
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import BinaryIO, Final

from PIL import Image, ImageFile

from syntrial.imagesets.limits import MOST_PIXELS, SMALLEST_SIDE

PICTURE_SUFFIXES: Final = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm"),
        *(".dcm", ".dicom"),
    )
)
"""Lower case. What of a folder is read as pictures; any other file is left out."""

DECODERS: Final = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
"""Pillow's names of the formats that are read, whatever a file's suffix says: others run programs (Ghostscript for
PostScript), or have decoders that few look at."""

UNREADABLE: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError),
    Image.DecompressionBombError,
)
"""What `open_picture`, and reading what it gives, raise for damaged files, by format."""

DAMAGED_ZIP: Final = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, OverflowError),
    *(NotImplementedError, RuntimeError),
)
"""What reading a zip archive raises: cut short, damaged, of an unknown compression, or under a password."""

HEAD_BYTES: Final = 512
"""How much of a file's beginning tells what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileKind:
    """A kind of file."""

    one: str
    """What one such file is, for example "a HEIC picture"."""
    several: str
    """What several are, for example "HEIC pictures"."""
    remedy: str
    """What to do where pictures, arrays or weights were meant."""
    is_readable: bool = False
    """Whether whole files of this kind are read as pictures."""


_AGAIN: Final = "Copy or download it again."
_CONVERT: Final = "Convert to PNG first."
_UNPACK: Final = "Unpack it first."
_SAFETENSORS: Final = (
    "Convert weights where you trust them: safetensors.torch.save_file(state_dict, 'weights.safetensors')."
)


def _kind(
    name: str, remedy: str, *, article: str = "a", plural: str | None = None, is_readable: bool = False
) -> FileKind:
    return FileKind(one=f"{article} {name}", several=plural or f"{name}s", remedy=remedy, is_readable=is_readable)


EMPTY: Final = _kind("empty file", _AGAIN, article="an")
BLANK: Final = _kind("file of zeros", "Copy or download it again: it was cut short.", plural="files of zeros")
TEXT: Final = _kind("text file", "Give the file that was meant.")
UNKNOWN: Final = _kind("file of no known type", _AGAIN, plural="files of no known type")
ZIP: Final = _kind("zip archive", _UNPACK)
NPZ: Final = _kind(".npz file of arrays", "Give it as `npz:`.", article="an", plural=".npz files of arrays")
_LOCKED: Final = _kind(
    "file that cannot be opened", "Check its permissions and the disk.", plural="files that cannot be opened"
)
ZIPPED_PICTURES: Final = _kind("zip archive of pictures", "Give it as `folder:`.", plural="zip archives of pictures")
LARGE: Final = _kind(
    f"picture of more than {MOST_PIXELS // 10**6} megapixels",
    "Cut them into tiles or reduce them first.",
    plural=f"pictures of more than {MOST_PIXELS // 10**6} megapixels",
)
SMALL: Final = _kind(
    f"picture with a side of less than {SMALLEST_SIDE} pixels",
    "Leave them out.",
    plural=f"pictures with a side of less than {SMALLEST_SIDE} pixels",
)
TORCH: Final = _kind("PyTorch file (torch.save), a pickle", _SAFETENSORS, plural="PyTorch files (torch.save), pickles")

_SIGNATURES: Final[tuple[tuple[int, bytes, FileKind], ...]] = (
    *(
        (offset, start, _kind(f"{name} picture", _AGAIN, is_readable=True))
        for offset, start, name in (
            (0, b"\x89PNG\r\n\x1a\n", "PNG"),
            (0, b"\xff\xd8\xff", "JPEG"),
            (0, b"GIF8", "GIF"),
            (0, b"BM", "BMP"),
            (0, b"II*\0", "TIFF"),
            (0, b"MM\0*", "TIFF"),
            (8, b"WEBP", "WebP"),
            (0, b"P5", "PNM"),
            (0, b"P6", "PNM"),
        )
    ),
    *(
        (offset, start, _kind(f"{name} picture", _CONVERT, article=article))
        for offset, start, name, article in (
            *((4, f"ftyp{brand}".encode(), "HEIC", "a") for brand in ("heic", "heix", "hevc", "heim", "mif1", "msf1")),
            (4, b"ftypavif", "AVIF", "an"),
            (0, b"\0\0\0\x0cjP  ", "JPEG 2000", "a"),
            (0, b"\xff\x4f\xff\x51", "JPEG 2000", "a"),
            (0, b"\0\0\0\x0cJXL ", "JPEG XL", "a"),
            (0, b"\xff\x0a", "JPEG XL", "a"),
            (0, b"8BPS", "Photoshop", "a"),
            (0, b"<svg", "SVG", "an"),
        )
    ),
    (128, b"DICM", _kind("DICOM file", "Leave out those without pixels, and decompress the others.", is_readable=True)),
    (344, b"n+1\0", _kind("NIfTI volume", "Write its slices as PNG first.")),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        _kind("Git LFS pointer", "Fetch the files themselves: `git lfs pull`."),
    ),
    *(
        (0, start, _kind("git-annex pointer", "Fetch the files themselves: `git annex get .`."))
        for start in (b"/annex/objects/", b".git/annex/objects/", b"../.git/annex/objects/")
    ),
    (0, b"outs:\n", _kind("DVC pointer", "Fetch the files themselves: `dvc pull`.")),
    *(
        (0, start, _kind("web page", "Download it again: a page came instead, perhaps one that asks to log in."))
        for start in (b"<!doctype html", b"<html")
    ),
    (0, b"<?xml", _kind("XML file", _AGAIN, article="an")),
    (
        0,
        b"\x93NUMPY",
        _kind(
            "single NumPy array (.npy)",
            "Save images and labels together: numpy.savez_compressed('data.npz', images=images, labels=labels).",
            plural="single NumPy arrays (.npy)",
        ),
    ),
    *((0, b"\x80" + bytes((version, code)), TORCH) for version in range(2, 6) for code in b"c}](\x8a\x95"),
    (0, b"\x89HDF\r\n\x1a\n", _kind("HDF5 file", "Save its arrays with numpy.savez_compressed.", article="an")),
    (0, b"MATLAB 5.0", _kind("MATLAB file", "Save its arrays with numpy.savez_compressed.")),
    (0, b"PAR1", _kind("Parquet file", "Write its images as PNG, or its arrays with numpy.savez_compressed.")),
    (0, b"\x1f\x8b", _kind("gzip file", _UNPACK)),
    (0, b"BZh", _kind("bzip2 file", _UNPACK)),
    (0, b"\xfd7zXZ\0", _kind("xz file", _UNPACK, article="an")),
    (0, b"\x28\xb5\x2f\xfd", _kind("Zstandard file", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", _kind("7-Zip archive", _UNPACK)),
    (0, b"Rar!", _kind("RAR archive", _UNPACK)),
    (257, b"ustar", _kind("tar archive", "Give it as `folder:`.")),
    (0, b"%PDF-", _kind("PDF document", "Give the pictures themselves.")),
    (0, b"\0\5\x16\7", _kind("macOS resource file (._)", "Delete these: the pictures lie beside them.")),
    (4, b"ftyp", _kind("film (MP4)", "Write its frames as PNG first.", plural="films (MP4)")),
)
"""(offset, bytes, kind), the more particular first; tags ("<") stand in lower case and are found in either."""


def open_picture(file: BinaryIO) -> ImageFile.ImageFile:
    """A picture of one of the formats that are read, its pixels not decoded yet: the one door to Pillow's decoders.

    `file` stays open as long as the picture is used. Never a path: Pillow maps those into memory, by rules of its own.

    Raises what Pillow raises; for another format UnidentifiedImageError, an OSError, and DecompressionBombError for
    more than `MOST_PIXELS`.
    """
    with warnings.catch_warnings():
        # Pillow would warn at a size of its own, and refuse at twice that; and of damage that shows when it's decoded.
        warnings.simplefilter("ignore")
        picture = Image.open(file, formats=DECODERS)  # noqa: TID251
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise Image.DecompressionBombError(f"{picture.width}×{picture.height} pixels are too many")
    return picture


def is_picture(name: str) -> bool:
    """Whether a file of this name is read as a picture."""
    return splitext(name)[1].lower() in PICTURE_SUFFIXES


def may_be_dicom(name: str) -> bool:
    """Whether a file has no suffix, or digits for one, as hospitals' archives export pictures: IM0001, 1.2.840.5."""
    last = name.rpartition("/")[2]
    suffix = splitext(last)[1][1:]
    # An index of other files, whose head is DICOM's too.
    return (not suffix or suffix.isdecimal()) and last.upper() != "DICOMDIR"


def kind_of(path: Path) -> FileKind:
    """What a file is, by its first bytes, and for a zip archive by the names in it. Raises OSError."""
    with path.open("rb") as file:
        return kind_of_file(file)


def kind_of_file(file: BinaryIO) -> FileKind:
    """What an open file is, as `kind_of` has it. Raises OSError."""
    head = file.read(HEAD_BYTES)
    if head.startswith(b"PK\3\4"):
        try:
            with zipfile.ZipFile(file) as archive:
                return kind_of_zip(archive.namelist())
        except DAMAGED_ZIP:
            return FileKind(one="a zip archive that is cut short", several="broken zip archives", remedy=_AGAIN)
    return kind_of_head(head)


def kind_of_head(head: bytes) -> FileKind:
    """What a file is that begins with `head`: its first 512 bytes, or all of a shorter one."""
    if not head:
        return EMPTY
    if not any(head):
        return BLANK
    lowered = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for offset, start, kind in _SIGNATURES:
        found = lowered if start.startswith(b"<") else head[offset:]
        if found.startswith(start):
            return kind
    try:
        # Incremental, since the last letter may be cut in two.
        is_text = "\0" not in codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        is_text = False
    return TEXT if is_text else UNKNOWN


def kind_of_zip(names: Sequence[str]) -> FileKind:
    """What a zip archive is that holds files of these names."""
    files = [name for name in names if not name.endswith("/")]
    if any(PurePosixPath(name).name == "data.pkl" for name in files):
        return TORCH
    if any(is_picture(name) for name in files):
        return ZIPPED_PICTURES
    if any(name.endswith(".npy") for name in files):
        return NPZ
    return ZIP


def _kind_of_unusable(file: BinaryIO) -> FileKind:
    """What a file is that is of no use as a picture: also a sound one of a size that no trial can use."""
    kind = kind_of_file(file)
    if not kind.is_readable:
        return kind
    file.seek(0)
    try:
        with open_picture(file) as picture:
            return SMALL if min(picture.size) < SMALLEST_SIDE else kind
    except Image.DecompressionBombError:
        return LARGE
    except UNREADABLE:
        return kind


def tell_apart(names: Iterable[str], *, opened: Callable[[str], BinaryIO]) -> tuple[str, str]:
    """What files are that cannot be read as pictures, most frequent first, and what to do about it.

    `opened` opens a file by its name. For example "3 Git LFS pointers, 1 damaged PNG picture".
    """
    kinds: Counter[FileKind] = Counter()
    for name in names:
        try:
            with opened(name) as file:
                kinds[_kind_of_unusable(file)] += 1
        except UNREADABLE:
            kinds[_LOCKED] += 1
    words = []
    for kind, count in kinds.most_common():
        name = kind.several if count > 1 else kind.one.partition(" ")[2]
        words.append(f"{count} damaged {name}" if kind.is_readable else f"{count} {name}")
    return ", ".join(words), " ".join(dict.fromkeys(kind.remedy for kind, _ in kinds.most_common(2)))
