"""Initial weights: of a safetensors file, published or the user's, or of an earlier training. Nothing is unpickled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from syntrial_training.tensors import under
from syntrial_training.weights import read_safetensors
from torch import Tensor, nn

from syntrial.artifacts.store import MemberReader
from syntrial.errors import UserError
from syntrial_classification.models import SMALL_CNN, ModelSpec, head_names, read_as_published, timm

_LISTED = 6


def load_weights_file(model: nn.Module, path: Path, *, spec: ModelSpec, digest: str) -> list[str]:
    """Loads a safetensors file into `model`, made of `spec`; returns the names of the layers that kept their own.

    Every tensor must be there in the model's shape, but for the head: where the file's has another number of classes,
    or is missing, the model's own stays. What does not fit so is read without a prefix that all names share, and then
    as timm reads published weights. A first convolution is brought to the images' channels: one of colour is summed for
    grey ones, one of grey shared out among the colours.
    Raises SourceError for a file that is missing, changed, damaged or not safetensors, and UserError that lists the
    tensors for one that does not fit.
    """
    return _load(model, _readings(read_safetensors(path, digest=digest), model, spec=spec), spec=spec)


def load_trained(
    model: nn.Module, reader: MemberReader, *, spec: ModelSpec, classes: Sequence[str], task: str
) -> list[str]:
    """Loads a `classifier` member into `model`, as `load_weights_file`; its head only where it tells these classes.

    Raises UserError for a classifier of another network.
    """
    head = reader.json("classifier.json")
    if head["model"]["name"] != spec.name:
        raise UserError(
            field="model.trained",
            rule="a network begins with the weights of the same network",
            received=f"those of {head['model']['name']} for {spec.name}",
            remedy="Give a classifier of the same model.",
        )
    tensors = read_safetensors(reader.path("weights.safetensors"))
    if (head["classes"], head["task"]) != ([*classes], task):
        heads = tuple(f"{name}." for name in head_names(model))
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(heads)}
    return _load(model, [tensors], spec=spec)


def _load(model: nn.Module, readings: Iterable[dict[str, Tensor]], *, spec: ModelSpec) -> list[str]:
    """Loads the first reading that fits; returns the names of the layers that kept their own."""
    nearest: dict[str, list[str]] | None = None
    for read in readings:
        tensors = _in_channels(read, model, spec=spec)
        refit, misfits = _compared(model, tensors)
        if not misfits:
            break
        if nearest is None or _count(misfits) < _count(nearest):
            nearest = misfits
    else:
        raise UserError(
            field="model.pretraining",
            rule="the weights must fit the model in every tensor but the head",
            received=misfit_words(nearest or {}),
            remedy="Give weights of the same model, stem and number of channels (see classifiers[].stem), or none.",
        )
    own = model.state_dict()
    model.load_state_dict({**own, **{key: value for key, value in tensors.items() if key in own and key not in refit}})
    return sorted({key.rpartition(".")[0] for key in refit})


def _readings(given: dict[str, Tensor], model: nn.Module, *, spec: ModelSpec) -> Iterator[dict[str, Tensor]]:
    """What a file's tensors may be meant as, the plainest first."""
    forms = [given]
    own = {"", *map(_first_part, model.state_dict())}
    # `module.` of DataParallel, `model.` of Lightning, `_orig_mod.` of torch.compile; one may be around another.
    while len(shared := set(map(_first_part, forms[-1]))) == 1 and not shared & own:
        forms.append(under(forms[-1], shared.pop()))
    yield from forms
    if spec.name != SMALL_CNN and not spec.small_stem:
        yield from (read for form in forms if (read := read_as_published(spec, form)) is not None)


def _first_part(name: str) -> str:
    """A tensor's name up to its first point; empty where there is none."""
    return name[: name.find(".") + 1]


def _count(misfits: dict[str, list[str]]) -> int:
    return sum(map(len, misfits.values()))


def _compared(model: nn.Module, tensors: dict[str, Tensor]) -> tuple[set[str], dict[str, list[str]]]:
    """The tensors of the head that the model keeps of its own, and the names that do not fit, by what is wrong."""
    own = model.state_dict()
    heads = tuple(f"{name}." for name in head_names(model))
    head_keys = {key for key in own if key.startswith(heads)}
    refit = {key for key in head_keys if key not in tensors or tensors[key].shape != own[key].shape}
    # A head is replaced whole: weights of one training beside biases of another mean nothing.
    refit = {key for key in head_keys if any(key.rpartition(".")[0] == k.rpartition(".")[0] for k in refit)}
    body = {key: tensor for key, tensor in own.items() if key not in refit}
    given = {key: tensor for key, tensor in tensors.items() if key in body or not key.startswith(heads)}
    return refit, misfits_of(body, given)


def misfits_of(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The names of tensors that keep a network from being given all of its own, by what is wrong.

    How many batches a training saw is no weight: where that is missing, nothing is.
    """
    missing = sorted(key for key in set(own) - set(tensors) if not key.endswith("num_batches_tracked"))
    shapes = sorted(
        f"{key} {tuple(tensors[key].shape)} for {tuple(own[key].shape)}"
        for key in set(own) & set(tensors)
        if tensors[key].shape != own[key].shape
    )
    parts = {"missing": missing, "unknown": sorted(set(tensors) - set(own)), "of another shape": shapes}
    return {what: names for what, names in parts.items() if names}


def misfit_words(misfits: Mapping[str, list[str]]) -> str:
    """The first names of each kind, as a message has them."""
    return "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in misfits.items())


def _in_channels(tensors: dict[str, Tensor], model: nn.Module, *, spec: ModelSpec) -> dict[str, Tensor]:
    """With first convolutions in the images' channels: summed over colours for grey, shared out for colour.

    A grey image in three equal channels then gives what it gave in one.
    """
    own = model.state_dict()
    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim != 4 or name not in own or own[name].ndim != 4 or tensor.shape == own[name].shape:
            continue
        out, wanted, *kernel = own[name].shape
        given = int(tensor.shape[1])
        if tuple(tensor.shape) != (out, given, *kernel):
            continue
        # Where blocks of pixels are folded into channels, small-cnn has a colour's pixels side by side, timm's models
        # have a pixel's colours.
        is_folded_by_colour = spec.name == SMALL_CNN
        if spec.channels == 1 and given == 3 * wanted:
            found[name] = (
                tensor.reshape(out, 3, wanted, *kernel).sum(1)
                if is_folded_by_colour
                else timm().models.adapt_input_conv(1, tensor)
            )
        elif spec.channels == 3 and wanted == 3 * given:
            shared = (tensor / 3).unsqueeze(1 if is_folded_by_colour else 2)
            shape = (out, 3, given, *kernel) if is_folded_by_colour else (out, given, 3, *kernel)
            found[name] = shared.expand(shape).reshape(out, wanted, *kernel).contiguous()
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
