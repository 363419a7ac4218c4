"""Trees: a folder, or an archive that holds one, as relative names with files behind them; nothing is ever unpacked.

Plans, preparation and audits read pictures and tables by (tree, name), so that it makes no difference to them whether a
source lies in a folder, in a zip or in a tar.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from syntrial.artifacts.content import folder_places
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import FileKind, kind_of
from syntrial.imagesets.packed import open_archive

ARCHIVE_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""In lower case; how the names of archives end that stand for folders beside a table."""


class Tree(Protocol):
    """Files by name, read-only. All of it is safe from several threads."""

    @property
    def title(self) -> str:
        """What errors call it: the folder's or the archive's own name."""

    def names(self) -> Sequence[str]:
        """Of all files: relative, with '/' between parts, Unicode's composed form, sorted; no hidden ones."""

    def length(self, name: str, /) -> int:
        """Of a file, in bytes; of a damaged archive what it states. Raises KeyError, and OSError."""

    def open(self, name: str, /) -> BinaryIO:
        """A file to be read and sought in, at its start. Raises KeyError, and OSError where it cannot be read."""


@contextlib.contextmanager
def open_tree(path: Path, *, title: str = "", field: str = "", scratch: Path | None = None) -> Iterator[Tree]:
    """The tree that lies at `path`, as `tree_at` has it, for as long as the context lasts."""
    yield tree_at(path, title=title, field=field, scratch=scratch)


def tree_at(path: Path, *, title: str = "", field: str = "", scratch: Path | None = None) -> Tree:
    """The tree that lies at `path`: a folder, or an archive of a kind that is read.

    `title` is what errors call it, by default its own name; `field` is the experiment's field that names it, by
    default the title. `scratch` is where a packed tar is unpacked to, by default the system's folder for temporary
    files. Files that it opened are closed when nothing refers to it any more. Raises SourceError for what is neither,
    for a damaged archive, one that leads out of itself or unpacks to too much, and where a folder cannot be read.
    """
    title = title or path.name
    try:
        found = FolderTree(path, title=title) if path.is_dir() else open_archive(path, title=title, scratch=scratch)
        if found is None:
            raise no_tree(kind_of(path), field=field or title, title=str(path))
    except OSError as error:
        raise SourceError(
            field=str(error.filename or path),
            rule="the folder or archive can be read",
            received=error.strerror or str(error),
            remedy="Check its permissions and the disk.",
        ) from error
    for number, name in enumerate(found.names()):
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise SourceError(
                field=field or title, rule="a file's name is UTF-8", received=ascii(name), remedy="Rename it."
            ).about(name, number=number)
    return found


def no_tree(kind: FileKind, *, field: str, title: str) -> SourceError:
    """The error about a file, which it calls `title`, that is no archive of a kind that is read."""
    return SourceError(
        field=field,
        rule="images lie in a folder, or in a zip or tar archive of one (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz)",
        received=f"{title}, {kind.one}",
        remedy=kind.remedy,
    )


class FolderTree:
    """The files of a folder on this machine. Links are followed."""

    def __init__(self, folder: Path, *, title: str = "") -> None:
        """Lists the folder. Raises OSError where a part of it cannot be read."""
        self.title = title or folder.name
        self._paths = dict(folder_places(folder))

    def names(self) -> Sequence[str]:
        """As `Tree` has it."""
        return tuple(self._paths)

    def length(self, name: str, /) -> int:
        """As `Tree` has it."""
        return os.stat(self._paths[name]).st_size  # noqa: PTH116 - paths are text

    def open(self, name: str, /) -> BinaryIO:
        """As `Tree` has it."""
        return open(self._paths[name], "rb")  # noqa: PTH123 - for who asks

    def path(self, name: str, /) -> Path:
        """Where a file lies. Raises KeyError."""
        return Path(self._paths[name])


class _WithArchives:
    """A folder in which some archives stand for folders: `a.zip/1.png` is the file `1.png` of `a.zip`."""

    def __init__(self, folder: Tree, archives: Mapping[str, Tree]) -> None:
        self.title = folder.title
        self._places = {name: (folder, name) for name in folder.names() if name not in archives}
        for archive, tree in archives.items():
            self._places |= {f"{archive}/{name}": (tree, name) for name in tree.names()}

    def names(self) -> Sequence[str]:
        """As `Tree` has it."""
        return sorted(self._places)

    def length(self, name: str, /) -> int:
        """As `Tree` has it."""
        tree, inner = self._places[name]
        return tree.length(inner)

    def open(self, name: str, /) -> BinaryIO:
        """As `Tree` has it."""
        tree, inner = self._places[name]
        return tree.open(inner)


def with_archives(tree: Tree, is_meant: Callable[[str], bool], *, title: str, scratch: Path | None = None) -> Tree:
    """A folder's tree in which the archives that are meant stand for folders of what they hold; else the tree itself.

    `is_meant` tells of a name; `title` is what errors call the folder, `scratch` as in `tree_at`. An archive within an
    archive is no folder. Raises SourceError, about the archive's name, as `tree_at` does.
    """
    if not isinstance(tree, FolderTree):
        return tree
    archives: dict[str, Tree] = {}
    for number, name in enumerate(tree.names()):
        if name.lower().endswith(ARCHIVE_SUFFIXES) and is_meant(name):
            try:
                archives[name] = tree_at(tree.path(name), title=f"{title}: {name}", scratch=scratch)
            except SourceError as error:
                raise error.about(name, number=number) from None
    return _WithArchives(tree, archives) if archives else tree


class Renamed:
    """A tree whose files are called otherwise, for example by pseudonyms; those that have no new name are not in it."""

    def __init__(self, tree: Tree, called: dict[str, str]) -> None:
        """`called` gives for each new name the one in `tree`."""
        self.title = tree.title
        self._tree, self._called = tree, called

    def names(self) -> Sequence[str]:
        """As `Tree` has it."""
        return sorted(self._called)

    def length(self, name: str, /) -> int:
        """As `Tree` has it."""
        return self._tree.length(self._called[name])

    def open(self, name: str, /) -> BinaryIO:
        """As `Tree` has it."""
        return self._tree.open(self._called[name])


def below_top(tree: Tree) -> Tree:
    """The tree as it is below the one folder that holds all of it, as archives of a folder are; else itself."""
    names = tree.names()
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any("/" not in name for name in names):
        return tree
    return Renamed(tree, {name.partition("/")[2]: name for name in names})
