"""The local cache of blobs."""

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntrial.artifacts.cache import BlobCache, CacheBudget, parse_size
from syntrial.errors import DataLoss, StoreFull, UserError


def content(name: str, *, size: int = 100) -> tuple[str, bytes]:
    data = name.encode().ljust(size, b".")
    return hashlib.sha256(data).hexdigest(), data


def fill(cache: BlobCache, name: str, *, size: int = 100) -> Path:
    digest, data = content(name, size=size)
    return cache.path(digest, size=len(data), fetch=lambda: [data[:50], data[50:]])


def refuse() -> Iterator[bytes]:
    raise AssertionError("fetched again")


def held(cache: BlobCache) -> set[str]:
    return {path.read_bytes().decode().rstrip(".") for path in (cache.folder / "sha256").iterdir()}


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, path.stat().st_mtime))


def test_a_blob_is_fetched_once(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(1000))
    path = fill(cache, "a")
    digest, data = content("a")
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o222 == 0
    assert cache.path(digest, size=100, fetch=refuse) == path
    assert BlobCache(tmp_path, budget=CacheBudget(1000)).path(digest, size=100, fetch=refuse) == path


@pytest.mark.parametrize("received", [b"", b"wrong".ljust(100), b"longer" * 100])
def test_what_differs_from_its_digest_is_not_kept(tmp_path: Path, received: bytes) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(1000))
    digest, data = content("a")
    with pytest.raises(DataLoss, match="damaged"):
        cache.path(digest, size=100, fetch=lambda: [received])
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "locks"] == []
    assert cache.path(digest, size=100, fetch=lambda: [data]).read_bytes() == data


def test_a_truncated_file_is_fetched_again(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(1000))
    path = fill(cache, "a")
    path.chmod(0o644)
    path.write_bytes(b"short")
    assert fill(cache, "a").read_bytes() == content("a")[1]


def test_a_file_that_another_program_changed_is_fetched_again(tmp_path: Path) -> None:
    path = fill(BlobCache(tmp_path, budget=CacheBudget(1000)), "a")
    path.chmod(0o644)
    path.write_bytes(b"!" * 100)
    assert fill(BlobCache(tmp_path, budget=CacheBudget(1000)), "a").read_bytes() == content("a")[1]


def test_what_is_no_digest_names_no_file(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    cache = BlobCache(tmp_path / "cache", budget=CacheBudget(1000))
    with pytest.raises(ValueError, match="not a SHA-256 digest"):
        cache.path("../../outside", size=6, fetch=refuse)
    with pytest.raises(ValueError, match="not a SHA-256 digest"):
        cache.drop("../../outside")
    assert outside.exists()


@pytest.mark.parametrize("mode", [None, 0o755])
def test_nobody_but_its_owner_looks_into_it(tmp_path: Path, mode: int | None) -> None:
    around = tmp_path.stat().st_mode
    if mode is not None:
        (tmp_path / "sha256").mkdir(mode=mode)
    BlobCache(tmp_path, budget=CacheBudget(1000))
    assert {part.stat().st_mode & 0o777 for part in tmp_path.iterdir()} == {0o700}
    assert tmp_path.stat().st_mode == around, "the folder may be anybody's"


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(350))
    for index, name in enumerate("abc"):
        age(fill(cache, name), 5000 - index)
    digest, _ = content("a")
    age(cache.path(digest, size=100, fetch=refuse), 4000)
    fill(cache, "d")
    assert held(cache) == {"a", "c", "d"}


def test_what_was_used_lately_stays_even_over_the_limit(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(150))
    age(fill(cache, "old"), 5000)
    for name in "abc":
        fill(cache, name)
    assert held(cache) == {"a", "b", "c"}


def test_a_file_that_is_evicted_stays_readable_to_its_reader(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(150, grace=0.0))
    path = fill(cache, "a")
    age(path, 10)
    with path.open("rb") as file:
        fill(cache, "b")
        assert held(cache) == {"b"}
        assert file.read() == content("a")[1]


def test_a_full_disk_is_relieved_of_what_was_not_used_lately(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(10_000))
    old = fill(cache, "old")
    age(old, 5000)
    fill(cache, "new")
    digest, data = content("wanted")

    def fetch() -> Iterator[bytes]:
        if old.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        yield data

    assert cache.path(digest, size=100, fetch=fetch).read_bytes() == data
    assert held(cache) == {"new", "wanted"}


def test_a_disk_that_stays_full_is_said_to_be_full(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(10_000))

    def fetch() -> Iterator[bytes]:
        raise OSError(errno.ENOSPC, "No space left on device")
        yield b""

    with pytest.raises(StoreFull, match="SYNTRIAL_CACHE_DIR"):
        cache.path(content("a")[0], size=100, fetch=fetch)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_two_that_want_a_blob_at_once_fetch_it_once(tmp_path: Path) -> None:
    digest, data = content("a")
    fetched = []

    def fetch() -> Iterator[bytes]:
        fetched.append(1)
        time.sleep(0.1)
        yield data

    caches = [BlobCache(tmp_path, budget=CacheBudget(1000)) for _ in range(4)]
    threads = [threading.Thread(target=lambda c=cache: c.path(digest, size=100, fetch=fetch)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert held(caches[0]) == {"a"}


def test_spool_files_are_adopted_or_swept(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, budget=CacheBudget(1000))
    digest, data = content("a")
    kept, lost = cache.spool_path(), cache.spool_path()
    kept.write_bytes(data)
    lost.write_bytes(b"12")
    cache.adopt(kept, digest=digest)
    assert cache.path(digest, size=100, fetch=refuse).read_bytes() == data
    assert cache.sweep(before=time.time() - 60, dry_run=False) == []
    assert [info.size for info in cache.sweep(before=time.time() + 60, dry_run=False)] == [2]
    assert not lost.exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GiB", 20 << 30), ("500 MB", 500_000_000), ("1000", 1000), ("1.5 kib", 1536), ("2TB", 2 * 10**12)],
)
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_size(text, setting="X") == size


@pytest.mark.parametrize("text", ["", "lots", "20 gigs", "-1GiB", "1e9"])
def test_what_is_no_size_is_refused_with_the_setting(text: str) -> None:
    with pytest.raises(UserError, match=r"SYNTRIAL_CACHE_LIMIT.*for example 20GiB"):
        parse_size(text, setting="SYNTRIAL_CACHE_LIMIT")


def test_caches_of_several_stores_share_a_budget(tmp_path: Path) -> None:
    budget = CacheBudget(250, grace=0.0)
    first, second = (BlobCache(tmp_path / name, budget=budget) for name in ("a", "b"))
    oldest, kept = fill(first, "a"), fill(first, "b")
    age(oldest, 60)
    newest = fill(second, "c")
    assert [path.exists() for path in (oldest, kept, newest)] == [False, True, True]
