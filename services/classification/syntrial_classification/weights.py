"""Initial weights from elsewhere: the model hub, or a safetensors file of the user's. Nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from syntrial.artifacts.content import file_digest
from syntrial.errors import SourceError, UserError
from syntrial_classification.models import SMALL_CNN, ModelSpec, create_timm, head_names, seeded, timm

_LISTED = 6


def load_weights_file(model: nn.Module, path: Path, *, digest: str) -> list[str]:
    """Loads the user's safetensors file into `model`; returns the names of the layers that kept their own weights.

    Every tensor must be there in the model's shape, but for the head: where the file's has another number of classes,
    or is missing, the model's own stays. Raises SourceError for a file that is missing, changed, damaged or not
    safetensors, and UserError that lists the tensors for one that does not fit.
    """
    tensors = read_safetensors(path, digest=digest)
    own = model.state_dict()
    heads = tuple(f"{name}." for name in head_names(model))
    head_keys = {key for key in own if key.startswith(heads)}
    refit = {key for key in head_keys if key not in tensors or tensors[key].shape != own[key].shape}
    # A head is replaced whole: weights of one training beside biases of another mean nothing.
    refit = {key for key in head_keys if any(key.rpartition(".")[0] == k.rpartition(".")[0] for k in refit)}
    missing = sorted(set(own) - set(tensors) - refit - {key for key in own if key.endswith("num_batches_tracked")})
    unexpected = sorted(key for key in set(tensors) - set(own) if not key.startswith(heads))
    shapes = sorted(
        f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
        for key in set(own) & set(tensors) - refit
        if tensors[key].shape != own[key].shape
    )
    if missing or unexpected or shapes:
        parts = {"missing": missing, "unknown": unexpected, "of another shape": shapes}
        raise UserError(
            field="model.pretraining",
            rule="the weights must fit the model in every tensor but the head",
            received="; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts.items() if names),
            remedy="Give weights of the same model, stem and number of channels (see classifiers[].stem), or none.",
        )
    model.load_state_dict({**own, **{key: value for key, value in tensors.items() if key in own and key not in refit}})
    return sorted({key.rpartition(".")[0] for key in refit})


def read_safetensors(path: Path, *, digest: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file, whose digest must be `digest` where given. Raises SourceError."""
    if not path.is_file():
        raise SourceError(
            field=str(path), rule="the weights file must exist", received="no file", remedy="Check `pretraining`."
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


def load_hub_weights(spec: ModelSpec, *, tag: str, seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """The model with the hub's weights, adapted by timm to the channels and classes, and where they came from.

    Only `model.safetensors` is taken, from the local cache or the hub. Raises UserError where there are none, where
    the hub does not answer, or for a tag that the model does not have.
    """
    if spec.name == SMALL_CNN:
        raise UserError(
            field="model.pretraining",
            rule="the hub has weights for timm's models only",
            received=SMALL_CNN,
            remedy="Use `pretraining: none`, or a safetensors file.",
        )
    name = f"{spec.name}.{tag}" if tag else spec.name
    library = timm()
    known = library.is_model_pretrained(name)
    configuration = library.get_pretrained_cfg(name, allow_unregistered=False) if known else None
    if configuration is None or not configuration.hf_hub_id:
        raise UserError(
            field="model.pretraining",
            rule="the hub must have weights of this name",
            received=name,
            remedy=f"Tags: {_some(library.list_pretrained(spec.name.partition('.')[0] + '.*')) or 'none'}.",
        )
    try:
        path = Path(hf_hub_download(configuration.hf_hub_id, "model.safetensors", etag_timeout=20))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            field="model.pretraining",
            rule="the hub's weights must be in the local cache or within reach",
            received=f"{configuration.hf_hub_id}: {type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="Download the file elsewhere and give its path as `pretraining`, or use `pretraining: none`.",
        ) from error
    read_safetensors(path)
    with seeded(seed):
        model = create_timm(spec, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    source = {"kind": "hub", "repository": configuration.hf_hub_id, "digest": file_digest(path)}
    return model, source


def json_bytes(value: Any) -> bytes:
    """JSON of a checkpoint's state: sorted, so that the same state gives the same bytes."""
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
