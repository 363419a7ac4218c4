"""Weights that a request names by the digest of a safetensors file. Nothing is unpickled."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from syntrial.artifacts.content import file_digest
from syntrial.errors import SourceError, UserError
from syntrial.rpc.context import StepContext


def weights_path(context: StepContext, digest: str, *, field: str, remedy: str) -> Path:
    """Where the file of weights with this digest lies on this machine; raises UserError where it does not."""
    path = context.source_path(digest)
    if path is None:
        raise UserError(field=field, rule="the weights file must lie on this machine", received=digest, remedy=remedy)
    return path


def read_safetensors(path: Path, *, digest: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file, whose digest must be `digest` where given. Raises SourceError."""
    if not path.is_file():
        raise SourceError(
            field=str(path), rule="the weights file must exist", received="no file", remedy="Check its path."
        )
    if digest and (found := file_digest(path, algorithm=digest.partition(":")[0])) != digest:
        raise SourceError(
            field=str(path),
            rule=f"the file must be the one that was planned ({digest})",
            received=found,
            remedy="Run again: the plan then takes the file as it is now.",
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        with path.open("rb") as file:
            pickled = file.read(16).startswith((b"PK\x03\x04", b"\x80"))
        raise SourceError(
            field=str(path),
            rule="weights are a safetensors file",
            received="a PyTorch pickle, which could run any code"
            if pickled
            else f"a file that cannot be read: {error}",
            remedy="Convert it where it was made: safetensors.torch.save_file(model.state_dict(), 'w.safetensors')."
            if pickled
            else "Make or copy the file again; it may be cut short.",
        ) from error
