"""Reads MedMNIST's official files, from a folder of the user's or by download into the user's cache.

The addresses and the labels' names are the `medmnist` package's own.
"""

import functools
import importlib.util
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from syntrial.artifacts.content import file_digest
from syntrial.errors import SourceError
from syntrial.redirects import CheckedRedirects
from syntrial.v1.data_preparation_pb2 import MedMnistSource, Source
from syntrial_data_prep.sources import npz
from syntrial_data_prep.sources.raw import Place, Raw

ANSWER_SECONDS = 20.0
"""How long the server may take to answer, or to send the next piece."""
PIECE_BYTES = 1 << 18


def open_source(source: Source, place: Place) -> Raw:
    """Opens the official file that the source names by its digest."""
    where, told = place.path, place.on_progress
    return read(source.medmnist, where, digest=source.digest, cache=place.cache, on_progress=told)


def read(
    source: MedMnistSource, path: Path | None, *, digest: str, cache: Path | None, on_progress: Callable[[int], None]
) -> Raw:
    """Opens a set; `path` is the folder with the official files (or the file), None to use or fill the cache.

    Raises SourceError for a wrong checksum, and where the download does not answer, saying what to do.
    """
    row = _info()[source.name]
    suffix = "" if source.size == 28 else f"_{source.size}"
    filename = f"{source.name}{suffix}.npz"
    if path is None:
        folder = cache or default_cache()
        file = folder / filename
        if not file.is_file() or file_digest(file, algorithm="md5") != digest:
            download(row[f"url{suffix}"], file, digest=digest, on_progress=on_progress)
    else:
        file = path / filename if path.is_dir() else path
        if not file.is_file():
            raise SourceError(
                field=str(file),
                rule="the data root holds the official file",
                received="no such file",
                remedy="Put it there, or give no data root: it is then downloaded.",
            )
    classes = tuple(row["label"][str(label)] for label in range(len(row["label"])))
    raw = npz.read(file, digest=digest, classes=classes, title=filename)
    return replace(
        raw,
        about=f"{row['python_class']}, {source.size} px",
        notes=(*_cautions(source.name), f"Licence: {row['license']}."),
    )


def default_cache() -> Path:
    """Where downloads are kept: $SYNTRIAL_CACHE/medmnist, else the user's cache folder."""
    base = os.environ.get("SYNTRIAL_CACHE")
    if base is None:
        import platformdirs

        base = platformdirs.user_cache_dir("syntrial")
    return Path(base) / "medmnist"


def download(
    url: str, file: Path, *, digest: str, on_progress: Callable[[int], None], timeout_s: float = ANSWER_SECONDS
) -> None:
    """Fetches `url` into `file`, which appears only once it is whole and has the digest ("md5:…").

    `on_progress` gets the bytes so far and may raise to stop. Raises SourceError where it does not answer or differs.
    """
    advice = (
        f"Check the network and its proxy (HTTPS_PROXY); or fetch {url} elsewhere, save it as {file.name} in a folder, "
        "and name that folder as the data root. `phantom` needs no download."
    )
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    started, done = time.monotonic(), 0
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        request = urllib.request.Request(url, headers={"User-Agent": "syntrial"})  # noqa: S310 - the package's https
        opener = urllib.request.build_opener(CheckedRedirects())
        with opener.open(request, timeout=timeout_s) as answer, draft.open("wb") as target:
            while piece := answer.read(PIECE_BYTES):
                target.write(piece)
                done += len(piece)
                on_progress(done)
        found = file_digest(draft, algorithm="md5")
        if found != digest:
            raise SourceError(field=url, rule=f"the file has the checksum {digest}", received=found, remedy=advice)
        draft.replace(file)
    except (urllib.error.URLError, OSError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise SourceError(
            field=file.name,
            rule="the data set can be downloaded",
            received=f"{reason} after {time.monotonic() - started:.0f} s and {done} bytes",
            remedy=advice,
        ) from None
    finally:
        draft.unlink(missing_ok=True)


@functools.cache
def _info() -> Mapping[str, Mapping[str, Any]]:
    """The package's table, without the package: its `__init__` imports torch and scikit-learn, seconds for a table."""
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        raise SourceError(
            field="source.medmnist",
            rule="MedMNIST is read with the `medmnist` package",
            received="it is not installed",
            remedy="Install syntrial[local].",
        )
    spec = importlib.util.spec_from_file_location("medmnist_info", Path(package.origin).with_name("info.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    info: Mapping[str, Mapping[str, Any]] = module.INFO
    return info


def _cautions(name: str) -> tuple[str, ...]:
    known = {
        "dermamnist": "DermaMNIST is known to hold images of one lesion in several splits; it names no patients.",
        "chestmnist": "ChestMNIST's accuracy is .947 for 'all negative': read its AUROC.",
    }
    return (known[name],) if name in known else ()
