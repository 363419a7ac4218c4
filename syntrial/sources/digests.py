"""Resolve: a source of data becomes the digest of its content, so that keys are known before anything runs.

Called by the planner and the command line. Digests do not depend on where the content lies; they are remembered by
path, size and time of change, so that a second plan does not read the data again. What is inside a file is judged by
the data preparation service; here only what can be said at once: that it is there, whole, and of the right kind.
"""

import contextlib
import hashlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs
from rapidfuzz import process

from syntrial.artifacts.cache import own_folder
from syntrial.artifacts.content import file_digests, folder_places, is_code, listing_digest
from syntrial.artifacts.uploads import Progress, check_names
from syntrial.documents.generator import NAME as DESCRIPTION
from syntrial.documents.generator import WEIGHTS as GENERATOR_WEIGHTS
from syntrial.documents.generator import read_description
from syntrial.documents.lpips import check_shapes
from syntrial.errors import SourceError, UserError, listed
from syntrial.experiment.dataset import SOURCES
from syntrial.imagesets.filetypes import NPZ, kind_of
from syntrial.imagesets.packed import check_archive
from syntrial.imagesets.trees import no_tree
from syntrial.sources.medmnist import MEDMNIST, SIZES
from syntrial.sources.named import CODE, GENERATOR, LPIPS, WEIGHTS
from syntrial.v1.data_preparation_pb2 import PhantomSource, Source

FOLDERS: Final = frozenset({CODE, GENERATOR})
"""Kinds of sources, beside those of images, that are folders."""

SMALLEST_PHANTOM = 16
"""Side in pixels under which ribs and opacities can no longer be drawn."""
LARGEST_PHANTOM = 256
MOST_HEADER_BYTES: Final = 8 << 20
"""Of a safetensors file: those of the largest published models are a tenth of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedSource:
    """A source whose content is known."""

    source: Source
    """With its digest filled in."""
    path: Path | None
    """Where it lies on this machine; None where nothing is needed or the server fetches it."""


def resolve(
    source: Source,
    path: Path | None = None,
    *,
    field: str = "source",
    cache: Path | None = None,
    on_progress: Progress | None = None,
) -> ResolvedSource:
    """The source with the digest of its content.

    `path` is the folder that holds MedMNIST's official files (or one of them), the .npz file or the folder; a MedMNIST
    set needs none, since its digest is the official checksum. `field` is what errors call the source, for example
    "spec.dataset". `cache` is the folder of remembered digests, by default in the user's cache folder. `on_progress` is
    called with the bytes that are read and with all that there are.

    Raises UserError for an unknown name, size or parameter, SourceError for a missing, damaged or wrong file.
    """
    kind = source.WhichOneof("kind")
    if kind not in SOURCES:
        raise UserError(
            field=field,
            rule=f"a source is one of {listed(SOURCES, last='or')}",
            received=kind or "none of them",
            remedy="Name one.",
        )
    if SOURCES[kind].content is None:
        digest, path = _WITHOUT_ADDRESS[kind](source, path, field, cache)
    else:
        path = _existing(path, field=field)
        check_content("folder" if path.is_dir() else "file", kind=kind, field=field, title=str(path))
        check_file(path, kind=kind, field=field)
        row = SOURCES[kind]
        reads = row.reads(source) if row.reads else None
        digest = _remembered(path, cache=cache, field=field, reads=reads, on_progress=on_progress)
    resolved = Source()
    resolved.CopyFrom(source)
    resolved.digest = digest
    return ResolvedSource(source=resolved, path=path)


def resolve_weights(path: Path, *, field: str = "weights", kind: str = WEIGHTS, cache: Path | None = None) -> str:
    """The digest, "sha256:…", of a safetensors file of this kind, WEIGHTS or LPIPS, whose header is checked.

    Raises SourceError for a missing file, a damaged one, and a pickle: pickles are never opened, since they run code;
    UserError for weights of another network than LPIPS has.
    """
    path = _existing(path, field=field)
    check_file(path, kind=kind, field=field)
    return _remembered(path, cache=cache)


def resolve_code(path: Path, *, field: str = "code", cache: Path | None = None) -> str:
    """The digest, "sha256:…", of a folder with a generator of the user's own.

    Raises SourceError for a folder without generator.py or requirements.lock, and for a lock without hashes.
    """
    path = _existing(path, field=field)
    for name, rule in (
        ("generator.py", "the folder has generator.py, with the functions train and sample"),
        ("requirements.lock", "the folder has requirements.lock, the packages of its environment with their hashes"),
    ):
        if not (path / name).is_file():
            raise SourceError(
                field=field,
                rule=rule,
                received=f"{path}, without it",
                remedy="docs/own-generators.md shows one." if name == "generator.py" else LOCK_REMEDY,
            )
    with _readable(path):
        check_lock((path / "requirements.lock").read_text(encoding="utf-8", errors="replace"), field=field)
    return _remembered(path, cache=cache, field=field, reads=is_code)


def resolve_generator(path: Path, *, field: str, family: str, cache: Path | None = None) -> str:
    """The digest, "sha256:…", of a folder with an exported generator of a family, as requests name that.

    Raises SourceError for a folder that is missing or has no weights, UserError for what describes no such generator.
    """
    path = _existing(path, field=field)
    for name in (DESCRIPTION, GENERATOR_WEIGHTS):
        if not (path / name).is_file():
            raise SourceError(
                field=field,
                rule=f"the folder has {DESCRIPTION} and {GENERATOR_WEIGHTS}",
                received=f"{path}, without {name}",
                remedy="Give a folder that `syntrial export --include generators` wrote.",
            )
    with _readable(path):
        read_description((path / DESCRIPTION).read_bytes(), title=f"{field} ({DESCRIPTION})", families=(family,))
    return _remembered(path, cache=cache, field=field)


def resolve_folder(path: Path, *, field: str, cache: Path | None = None) -> str:
    """The digest, "sha256:…", of a folder, whatever it holds."""
    return _remembered(_existing(path, field=field), cache=cache, field=field)


LOCK_REMEDY: Final = "Make it: `uv pip compile --generate-hashes requirements.in -o requirements.lock`."


def check_lock(text: str, *, field: str) -> None:
    """Raises SourceError where a line of a lock names a package without a version and its hashes, or an address."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines or ["no package"]:
        if not re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?==[^\s;@]+[^@]*\s--hash=sha256:[0-9a-f]{64}", line):
            raise SourceError(
                field=f"{field} (requirements.lock)",
                rule="each line is NAME==VERSION with its --hash=sha256:…, and no option or address",
                received=line[:80],
                remedy=LOCK_REMEDY,
            )


def check_content(found: str, *, kind: str, field: str, title: str) -> None:
    """Raises SourceError where a folder was found and a file is meant, or a file that by its suffix holds no folder.

    `found` is "file" or "folder", `kind` that of the source, as in `SourceRef`; `title` ends as its name does. A folder
    may lie in a file: an archive.
    """
    meant = SOURCES[kind].content if kind in SOURCES else "folder" if kind in FOLDERS else "file"
    is_other = title.endswith(tuple(row.suffix for row in SOURCES.values() if row.suffix))
    if found != meant and (found == "folder" or is_other or kind in FOLDERS):
        words = [
            f"{listed([f'`{name}:`' for name, row in SOURCES.items() if row.content == content], last='or')} for {what}"
            for content, what in (("file", "a file"), ("folder", "a folder or an archive of images"))
        ]
        raise SourceError(
            field=field,
            rule=f"the content is a {meant}",
            received=f"the {found} {title}",
            remedy=f"Use {' and '.join(words)}.",
        )


def check_file(path: Path, *, kind: str, field: str, title: str | None = None) -> None:
    """Raises SourceError where a file is not what its kind says, as far as that can be seen at once; UserError for
    weights of another network.

    `kind` is that of the source, as in `SourceRef`; `title` is what the error calls the file, by default its path.
    """
    if kind in _CHECKS:
        _CHECKS[kind](path, field=field, title=title)
    elif kind in SOURCES and SOURCES[kind].content == "folder" and path.is_file():
        with _readable(path):
            if not check_archive(path, title=title or str(path)):
                raise no_tree(kind_of(path), field=field, title=title or str(path))


def check_phantom(phantom: PhantomSource, *, field: str = "source.phantom") -> None:
    """Raises UserError where a parameter of the phantom is out of its range."""
    positive = ("train_patients", "validation_patients", "test_patients", "images_per_patient")
    rules = [
        (f"{field}.{name}", "is at least 1", getattr(phantom, name), getattr(phantom, name) >= 1) for name in positive
    ]
    rules.append(
        (
            f"{field}.size",
            f"is from {SMALLEST_PHANTOM} to {LARGEST_PHANTOM} pixels",
            phantom.size,
            SMALLEST_PHANTOM <= phantom.size <= LARGEST_PHANTOM,
        )
    )
    rules.append((f"{field}.difficulty", "is from 0 to 1", phantom.difficulty, 0 <= phantom.difficulty <= 1))
    if phantom.variant == PhantomSource.VARIANT_CHEST:
        rules.append(
            (f"{field}.prevalence", "is between 0 and 1, both left out", phantom.prevalence, 0 < phantom.prevalence < 1)
        )
    elif phantom.variant != PhantomSource.VARIANT_TISSUE:
        rules.append((f"{field}.variant", "is chest or tissue", "none", False))
    for name, rule, received, holds in rules:
        if not holds:
            raise UserError(field=name, rule=rule, received=received, remedy="Give a value in that range.")


def _phantom(source: Source, _: Path | None, field: str, __: Path | None) -> tuple[str, Path | None]:
    """A drawn source is its parameters."""
    check_phantom(source.phantom, field=f"{field}.phantom")
    return "", None


def _medmnist(source: Source, path: Path | None, field: str, cache: Path | None) -> tuple[str, Path | None]:
    """The official checksum, of which what lies on this machine is one copy."""
    name, size = source.medmnist.name, source.medmnist.size
    if name not in MEDMNIST:
        nearest = process.extractOne(name.lower(), list(MEDMNIST), score_cutoff=60)
        raise UserError(
            field=f"{field}.medmnist",
            rule="names a two-dimensional MedMNIST data set",
            received=name,
            remedy=f"Did you mean {nearest[0]}?" if nearest else f"Known: {', '.join(MEDMNIST)}.",
        )
    if size not in SIZES:
        raise UserError(
            field=f"{field}.size",
            rule=f"MedMNIST is published at {', '.join(map(str, SIZES))} pixels",
            received=size,
            remedy=f"Use {min(SIZES, key=lambda known: abs(known - size))}.",
        )
    official = f"md5:{MEDMNIST[name].md5[size]}"
    if path is None:
        return official, None
    file = _existing(path, field=field)
    if file.is_dir():
        file = file / MEDMNIST[name].filename(size)
        if not file.is_file():
            raise SourceError(
                field=str(file),
                rule="the data root holds the official file",
                received="no such file",
                remedy="Put the file there, or give no data root: it is then downloaded.",
            )
    found = _remembered(file, cache=cache, algorithm="md5")
    if found != official:
        raise SourceError(
            field=str(file),
            rule=f"the official file of {name} at {size} pixels has the checksum {official}",
            received=found,
            remedy="Download it again (it may be cut short), or use it as a source of its own: `npz: PATH`.",
        )
    return official, path


def _existing(path: Path | None, *, field: str) -> Path:
    if path is None:
        raise SourceError(
            field=field, rule="this kind of source lies somewhere", received="no path", remedy="Give its path."
        )
    path = path.expanduser()
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        # A pipe would be waited for, and a device read for ever.
        raise SourceError(
            field=field,
            rule="a source is a file or a folder",
            received=f"{path}, which is a pipe, a socket or a device",
            remedy="Save it as a file.",
        )
    siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = process.extractOne(path.name, siblings, score_cutoff=70)
    raise SourceError(
        field=field,
        rule="the file or folder exists",
        received=f"{path}, which does not",
        remedy=f"Did you mean {path.parent / nearest[0]}?" if nearest else "Check the path.",
    )


def check_npz(path: Path, *, field: str, title: str | None = None) -> None:
    """Raises SourceError unless the file is a whole zip archive that holds arrays.

    `title` is what the error calls the file, by default its path.
    """
    kind = kind_of(path) if path.is_file() else None
    if kind != NPZ:
        raise SourceError(
            field=field,
            rule="an .npz file is a whole zip archive of arrays",
            received=f"{title or path}, {kind.one if kind else 'a folder'}",
            remedy=kind.remedy if kind else "Give a folder as `folder:`.",
        )


def check_safetensors(path: Path, *, field: str, title: str | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, by its header.

    Raises SourceError unless that is the header of a whole file; a pickle is never opened.

    `title` is what the error calls the file, by default its path.
    """
    size = path.stat().st_size if path.is_file() else 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb")) if size else None
        start = file.read(8) if file else b""
        if start[:2] == b"PK" or start[:1] == b"\x80":
            raise SourceError(
                field=field,
                rule="weights are safetensors; a pickle runs code when it is opened, and is never opened here",
                received=f"{title or path}, a pickle (torch.save)",
                remedy="Convert it where you trust it: safetensors.torch.save_file(state_dict, 'weights.safetensors').",
            )
        try:
            (length,) = struct.unpack("<Q", start)
            if file is None or length > min(size - 8, MOST_HEADER_BYTES):
                raise ValueError
            tensors = json.loads(file.read(length))
            end = max((tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"))
            if 8 + length + end != size:
                raise ValueError
            return {name: tuple(tensor["shape"]) for name, tensor in tensors.items() if name != "__metadata__"}
        except (ValueError, struct.error, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            kind = kind_of(path) if file else None
            raise SourceError(
                field=field,
                rule="weights are a whole safetensors file",
                received=f"{title or path}, {kind.one if kind else 'a folder'} of {size} bytes",
                remedy=kind.remedy if kind else "Give the file.",
            ) from None


def _check_lpips(path: Path, *, field: str, title: str | None = None) -> None:
    check_shapes(check_safetensors(path, field=field, title=title), field=field)


def _remembered(
    path: Path,
    *,
    cache: Path | None,
    algorithm: str = "sha256",
    field: str = "",
    reads: Callable[[str], bool] | None = None,
    on_progress: Progress | None = None,
) -> str:
    """The digest of a file or folder. What has the size, time of change and inode that it had is not read again."""
    path = path.resolve()
    with _readable(path):
        files = folder_places(path, reads=reads) if path.is_dir() else [("", str(path))]
        stats = {name: os.stat(file) for name, file in files}  # noqa: PTH116 - paths are text
    if not files:
        raise SourceError(
            field=field, rule="the folder holds images", received=f"{path}, which is empty", remedy="Check the path."
        )
    if path.is_dir():
        # What a laptop takes, a cluster must be able to hold.
        check_names([name for name, _ in files], title=str(path))
    marks = {name: [stat.st_size, str(stat.st_mtime_ns), str(stat.st_ino)] for name, stat in stats.items()}
    folder = cache or Path(platformdirs.user_cache_dir("syntrial")) / "sources"
    entry = folder / f"{hashlib.sha256(f'{algorithm}:{path}'.encode()).hexdigest()}.json"
    known = _known_files(entry)
    total, done = sum(stat.st_size for stat in stats.values()), 0
    listing: dict[str, list[Any]] = {}
    fresh = {name for name in stats if known.get(name, [])[:3] != marks[name]}
    read = file_digests((file for name, file in files if name in fresh), algorithm=algorithm)
    try:
        for name, _ in files:
            if name in fresh:
                with _readable(path):
                    _, digest = next(read)
                if on_progress is not None:
                    on_progress(done, total)
                listing[name] = [*marks[name], digest.partition(":")[2]]
            else:
                listing[name] = known[name]
            done += stats[name].st_size
    finally:
        # What was read counts, though somebody interrupts it.
        if listing != known:
            _remember(entry, known | listing if len(listing) < len(files) else listing)
    if not path.is_dir():
        return f"{algorithm}:{listing[''][3]}"
    return listing_digest([[name, stats[name].st_size, listing[name][3]] for name, _ in files])


def _remember(entry: Path, files: Mapping[str, list[Any]]) -> None:
    # A cache that cannot be written only costs time.
    with contextlib.suppress(OSError):
        own_folder(entry.parent)
        draft = entry.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"files": files}))
        draft.replace(entry)


def _known_files(entry: Path) -> dict[str, list[Any]]:
    """Size, time of change, inode and digest of each file as they were remembered; none where nothing readable was."""
    try:
        found = json.loads(entry.read_bytes())["files"]
        return {str(name): list(marks) for name, marks in found.items() if len(marks) == 4}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the operating system refuses while a source is read becomes the user's error."""
    try:
        yield
    except OSError as error:
        raise SourceError(
            field=str(error.filename or path),
            rule="the file can be read",
            received=error.strerror or str(error),
            remedy="Check its permissions and the disk.",
        ) from error


_WITHOUT_ADDRESS: Final[Mapping[str, Callable[[Source, Path | None, str, Path | None], tuple[str, Path | None]]]] = {
    "medmnist": _medmnist,
    "phantom": _phantom,
}
"""The digest of each kind that has no address, and where it lies: by source, path, field and cache."""

_CHECKS: Final[Mapping[str, Callable[..., object]]] = {
    "npz": check_npz,
    WEIGHTS: check_safetensors,
    LPIPS: _check_lpips,
}
"""What is looked at of a file before it is read, by kind."""
