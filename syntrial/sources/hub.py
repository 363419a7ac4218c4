"""Weights from the model hub: the one door to its client. Called by `ingest`.

The hub says at which commit a revision stands, and the SHA-256 of each large file at that commit. Both are asked for
before anything is read, and the file that arrives is compared with them. Only safetensors are taken. The hub leads to
where its large files lie: by https at public addresses, or it is not followed. Where the hub
cannot be reached, the client's cache on this machine serves (HF_HOME), as the last look-up left it; HF_ENDPOINT names a
mirror, HF_TOKEN who is asking.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
import tenacity
from huggingface_hub import HfApi, constants, hf_hub_download, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory

from syntrial.artifacts.content import file_digest
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import Progress, has_upload, put_upload
from syntrial.errors import SourceError, SourceUnavailable
from syntrial.redirects import check_redirect
from syntrial.sources.addresses import HubAddress
from syntrial.sources.digests import check_safetensors

FILE: Final = "model.safetensors"
"""What the hub's libraries call weights that are one file."""

MAIN: Final = "main"
"""The branch that an address without a revision means."""

TIMEOUT_SECONDS: Final = 20.0
"""Without an answer for so long, the hub counts as out of reach."""

_TRIES: Final = 3
_WAIT_SECONDS: Final = 0.5
_LISTED: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """A file of a repository at one commit."""

    repository: str
    """ORGANISATION/NAME."""
    commit: str
    """40 hexadecimal digits."""
    path: str
    """In the repository."""
    digest: str | None
    """sha256:… as the hub states it; None for a file so small that the hub does not."""

    def __str__(self) -> str:
        return str(HubAddress(repository=self.repository, revision=self.commit, path=self.path))


class _OutOfReach(Exception):
    """The hub gave no answer that says anything of the repository; the message says what happened."""

    def __init__(self, message: str, *, error: type[SourceError] = SourceUnavailable) -> None:
        """`error` is what the user gets where the cache does not serve either."""
        super().__init__(message)
        self.error = error


def bring_weights(
    address: HubAddress, *, store: ArtifactStore, field: str, on_progress: Progress | None = None
) -> tuple[str, HubFile]:
    """Puts the file of weights at `address` into the store; returns its digest, and which file of which commit it is.

    Nothing is downloaded where the store has a file of the digest that the hub states. Raises SourceError for a
    repository, revision or file that is not there or not open to this user, for one without safetensors, for content
    of another digest than stated, and where the client's cache does not have the file either; SourceUnavailable where
    that is for want of an answer.
    """
    _guard_client()
    try:
        file = look_up(address, field=field)
        if file.digest is not None and has_upload(store, file.digest):
            return file.digest, file
        path = _download(address, file, field=field)
    except _OutOfReach as outage:
        path, file = _cached(address, outage=outage, field=field)
    check_safetensors(path, field=field, title=str(file))
    digest = file.digest or file_digest(path)
    put_upload(store, path, digest=digest, on_progress=on_progress)
    return digest, file


def _guard_client() -> None:
    set_client_factory(_client)
    # Another client, in Rust, which nothing here can hold back; the hub serves the same files by HTTP.
    constants.HF_HUB_DISABLE_XET = True


def _client() -> httpx2.Client:
    """As the hub's client makes it, but that it asks nobody else than the hub and whom `check_redirect` lets it."""

    def check(request: httpx2.Request) -> None:
        here = httpx2.URL(constants.ENDPOINT)
        if (request.url.scheme, request.url.host, request.url.port) != (here.scheme, here.host, here.port):
            check_redirect(str(request.url), field=constants.ENDPOINT)

    client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = hooks | {"request": [check, *hooks["request"]]}
    return client


def look_up(address: HubAddress, *, field: str) -> HubFile:
    """The file that an address means, as the hub has it now. Raises SourceError, and `_OutOfReach` without the hub."""
    with _hub_errors(address, field=field):
        for attempt in _retrying():
            with attempt:
                model = HfApi(endpoint=constants.ENDPOINT, library_name="syntrial").model_info(
                    address.repository,
                    revision=address.revision or MAIN,
                    files_metadata=True,
                    timeout=TIMEOUT_SECONDS,
                )
    found = {sibling.rfilename: sibling for sibling in model.siblings or ()}
    name = _weights_among(list(found), address=address, field=field)
    stated = found[name].lfs
    return HubFile(
        repository=address.repository,
        commit=str(model.sha),
        path=name,
        digest=f"sha256:{stated.sha256}" if stated else None,
    )


def _weights_among(names: list[str], *, address: HubAddress, field: str) -> str:
    """Which of a repository's files are its weights."""
    whole = [name for name in names if name.endswith(".safetensors")]
    at_root = [name for name in whole if "/" not in name]
    wanted = address.path or (at_root[0] if len(at_root) == 1 else FILE)
    if wanted in whole:
        return wanted
    listed = ", ".join((whole or names)[:_LISTED]) or "no file"
    raise SourceError(
        field=field,
        rule="the repository has the file of weights as safetensors; a pickle runs code when it is opened, and is "
        "never opened here",
        received=f"{address}, with {listed}",
        remedy="Name one of its files: hub://ORGANISATION/NAME/FILE."
        if whole
        else "Convert the weights where you trust them (safetensors.torch.save_file), and give the file's path.",
    )


def _download(address: HubAddress, file: HubFile, *, field: str) -> Path:
    """The file in the client's cache, with the digest that the hub states."""
    found = ""
    for again in (False, True):
        with _hub_errors(address, field=field):
            path = Path(
                hf_hub_download(
                    file.repository,
                    file.path,
                    # By the revision's own name, so that the cache knows which commit that was, for days without a hub.
                    revision=address.revision or MAIN,
                    etag_timeout=TIMEOUT_SECONDS,
                    library_name="syntrial",
                    force_download=again,
                )
            )
        found = file_digest(path)
        if file.digest in {None, found}:
            return path
    raise SourceError(
        field=field,
        rule=f"the file has the digest that the hub states, {file.digest}",
        received=f"{file} with {found}, twice",
        remedy="Run it again; if it stays so, something between the hub and this machine changes the file.",
    )


def _cached(address: HubAddress, *, outage: _OutOfReach, field: str) -> tuple[Path, HubFile]:
    """The file from the client's cache alone."""
    name = address.path or FILE
    try:
        path = Path(hf_hub_download(address.repository, name, revision=address.revision or MAIN, local_files_only=True))
    except LocalEntryNotFoundError:
        raise outage.error(
            field=field,
            rule="weights of the hub are within reach, or in the client's cache on this machine",
            received=f"{replace(address, path=name)}: {outage}; not in {constants.HF_HUB_CACHE}",
            remedy="Download the file where the hub can be reached and give its path as `pretraining`, bring the cache "
            "(HF_HOME) here, name a mirror (HF_ENDPOINT), or use `pretraining: none`.",
        ) from outage
    # …/snapshots/COMMIT/PATH
    commit = path.parents[len(Path(name).parts) - 1].name
    return path, HubFile(repository=address.repository, commit=commit, path=name, digest=None)


def _retrying() -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=tenacity.wait_random_exponential(multiplier=_WAIT_SECONDS, max=10 * _WAIT_SECONDS),
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    """Whether the same question may be answered a moment later."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, httpx2.TransportError)


@contextmanager
def _hub_errors(address: HubAddress, *, field: str) -> Iterator[None]:
    """What the client raises, as errors of the user's or `_OutOfReach`."""
    by_file = "Or download the file elsewhere and give its path as `pretraining`."
    try:
        yield
    except GatedRepoError as error:
        raise SourceError(
            field=field,
            rule="the repository is open to whoever asks",
            received=f"{address}, which is gated ({_status(error)})",
            remedy=f"Accept its conditions on its page, and set HF_TOKEN on this machine. {by_file}",
        ) from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            field=field,
            rule="the repository is on the hub, and open to whoever asks",
            received=f"{address}, which is absent or private ({_status(error)})",
            remedy=f"Check its name; for a private one set HF_TOKEN on this machine. {by_file}",
        ) from error
    except RevisionNotFoundError as error:
        raise SourceError(
            field=field,
            rule="the revision is a commit, tag or branch of the repository",
            received=str(address),
            remedy="Look it up under 'Files and versions' on its page, or leave @REVISION out.",
        ) from error
    except RemoteEntryNotFoundError as error:
        raise SourceError(
            field=field,
            rule="the file is in the repository",
            received=str(address),
            remedy="Look it up under 'Files and versions' on its page.",
        ) from error
    except HFValidationError as error:
        raise SourceError(
            field=field,
            rule="the repository's name is one that the hub takes",
            received=f"{address}: {error}",
            remedy="Copy the repository's name from its page.",
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise SourceError(
                field=field,
                rule="the hub lets this user read the repository",
                received=f"{address}, refused ({_status(error)})",
                remedy=f"Check HF_TOKEN on this machine, or unset it. {by_file}",
            ) from error
        raise _OutOfReach(f"{constants.ENDPOINT} answered {_status(error)}") from error
    except OfflineModeIsEnabled as error:
        raise _OutOfReach("HF_HUB_OFFLINE is set", error=SourceError) from error
    except LocalEntryNotFoundError as error:
        raise _OutOfReach(f"{constants.ENDPOINT}: {_first_line(error.__cause__ or error)}") from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise _OutOfReach(f"{constants.ENDPOINT}: {_first_line(error)}") from error


def _status(error: HfHubHTTPError) -> str:
    return f"HTTP {error.response.status_code}"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}{f', {lines[0]}' if lines else ''}"
