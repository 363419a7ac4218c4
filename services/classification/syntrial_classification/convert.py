"""The verb ConvertClassifier: a classifier in a form that other programs load, compared with the original on images.

A form whose scores are not the original's is never written. The libraries for ONNX are an extra of this distribution.
"""

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from syntrial_training.compute import reproducible
from torch import Tensor, nn

from syntrial.errors import UserError
from syntrial.imagesets.imageset import MULTI_LABEL, read_image_set
from syntrial.rpc.context import StepContext
from syntrial.v1.classification_pb2 import ConvertClassifierRequest
from syntrial_classification.evaluate import as_the_classifier_names, load_classifier
from syntrial_classification.models import SMALL_CNN, ModelSpec, is_patch_based, timm, timm_arguments

COMPARED: Final = 32
"""Images, spread evenly over those that are given."""
TOLERANCE: Final = 1e-4
"""Of a probability: other kernels sum in other orders."""

_OPSET: Final = 18

_Scores = npt.NDArray[np.float32]


class FromPixels(nn.Module):
    """The network between its normalisation and its probabilities."""

    def __init__(self, model: nn.Module, head: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.several = head["task"] == MULTI_LABEL
        for name in ("mean", "std"):
            values = torch.tensor(head["normalisation"][name], dtype=torch.float32)
            self.register_buffer(name, values[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """float32 (N, C, H, W) from 0 to 255, to probabilities float32 (N, K)."""
        logits = self.model((images - self.mean) / self.std)  # type: ignore[operator]
        return torch.sigmoid(logits) if self.several else torch.softmax(logits, dim=1)


@reproducible
def convert_classifier(request: ConvertClassifierRequest, context: StepContext) -> None:
    """Writes the member `converted`: the files of the form, and `converted.json`, what was compared.

    Raises UserError where the form has no such network, its libraries are not installed, the images are not the
    classifier's, or scores differ from the original's by more than `TOLERANCE`.
    """
    # On the processor, whatever else is there: what is compared are two forms, not two machines.
    model, head = load_classifier(context.open(request.classifier), device=torch.device("cpu"))
    images = as_the_classifier_names(read_image_set(context.open(request.images)), head)
    places = np.unique(np.linspace(0, len(images) - 1, COMPARED).round().astype(np.int64))
    pixels = np.ascontiguousarray(images.images_NHWC[places].transpose(0, 3, 1, 2), dtype=np.float32)
    whole = FromPixels(model.to(memory_format=torch.contiguous_format), head).eval()
    with torch.inference_mode():
        original = whole(torch.from_numpy(pixels)).numpy()
    convert = {ConvertClassifierRequest.FORM_TIMM: _as_timm, ConvertClassifierRequest.FORM_ONNX: _as_onnx}.get(
        request.form
    )
    if convert is None:
        raise UserError(field="form", rule="is timm or onnx", received="none", remedy="Name one.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context.progress(0, total=len(pixels), unit="images", activity="converting")
        score = convert(whole, head, folder)
        found = score(pixels)
        difference = float(np.abs(found - original).max())
        if not difference <= TOLERANCE:
            raise UserError(
                field="form",
                rule=f"a converted classifier's scores are the original's, within {TOLERANCE:g}",
                received=f"a difference of {difference:.3g} on {len(pixels)} images",
                remedy="Use the other form, or the classifier as `syntrial export` writes it.",
            )
        for file in sorted(folder.iterdir()):
            context.output.write("converted", file.name, file.read_bytes())
    context.output.json(
        "converted",
        "converted.json",
        {
            "schema": 1,
            "classes": head["classes"],
            "task": head["task"],
            "compared": {"images": len(pixels), "largest_difference": difference, "tolerance": TOLERANCE},
        },
    )


def _as_timm(whole: FromPixels, head: dict[str, Any], folder: Path) -> Callable[[_Scores], _Scores]:
    spec = ModelSpec(**head["model"])
    if spec.name == SMALL_CNN or (spec.small_stem and not is_patch_based(spec.name)):
        what = "small-cnn" if spec.name == SMALL_CNN else f"{spec.name} with the stem for small images"
        raise UserError(
            field="form",
            rule="timm loads networks that it has, with their own first layer",
            received=what,
            remedy="Use the form onnx, or train with `stem: standard`.",
        )
    given = timm_arguments(spec)
    published: dict[str, Any] = whole.model.pretrained_cfg  # type: ignore[assignment]
    constants = {name: [value / 255 for value in head["normalisation"][name]] for name in ("mean", "std")}
    config = {
        "architecture": spec.name.partition(".")[0],
        "num_classes": spec.classes,
        "label_names": head["classes"],
        "model_args": {name: value for name, value in given.items() if name != "num_classes"},
        "pretrained_cfg": {
            "num_classes": spec.classes,
            "input_size": [spec.channels, spec.side, spec.side],
            "fixed_input_size": "img_size" in given,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            **constants,
            "first_conv": published["first_conv"],
            "classifier": published["classifier"],
        },
    }
    tensors = {name: tensor.contiguous() for name, tensor in whole.model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    loaded = FromPixels(timm().create_model(f"local-dir:{folder}", pretrained=True), head).eval()

    def score(pixels: _Scores) -> _Scores:
        with torch.inference_mode():
            found: _Scores = loaded(torch.from_numpy(pixels)).numpy()
        return found

    return score


def _as_onnx(whole: FromPixels, head: dict[str, Any], folder: Path) -> Callable[[_Scores], _Scores]:
    onnx, runtime = (_library(name) for name in ("onnx", "onnxruntime"))
    _library("onnxscript")
    spec, file = ModelSpec(**head["model"]), folder / "model.onnx"
    example = torch.zeros(2, spec.channels, spec.side, spec.side)
    # The exporter tells of its progress on standard output, which is the server's log.
    with redirect_stdout(io.StringIO()):
        torch.onnx.export(
            whole,
            (example,),
            file,
            dynamo=True,
            external_data=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("images_N", min=1)}},
        )
    described = onnx.load(file)
    onnx.helper.set_model_props(
        described, {"classes": json.dumps(head["classes"]), "task": head["task"], "pixels": "0 to 255"}
    )
    onnx.checker.check_model(described)
    onnx.save(described, file)
    session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])

    def score(pixels: _Scores) -> _Scores:
        found: _Scores = session.run(["probabilities"], {"images": pixels})[0]
        return found

    return score


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            field="form",
            rule="onnx needs libraries that not every installation has",
            received=f"no {error.name}",
            remedy="Install syntrial-classification[onnx].",
        ) from error
