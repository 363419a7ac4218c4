"""Features of images that are brought to the side of their network first."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from syntrial_classification.augment import resized
from syntrial_classification.extract import extract_features

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierModel, ExtractFeaturesRequest, FileWeights

DATA = fake_key("data set")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """timm's smallest vision transformer, made for 160 px and without a last layer, as DINO's are; and its file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("test_vit", num_classes=0).eval()
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(model.state_dict(), path)
    return model, path


def extracted(path: Path, images: ImageSet, *, pixels: int | None, name: str = "test_vit") -> FakeContext:
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    request = ExtractFeaturesRequest(
        images=MemberRef(key=DATA, member="images"),
        model=ClassifierModel(name=name, stem="STEM_STANDARD", file=FileWeights(digest=digest)),
    )
    if pixels is not None:
        request.side.pixels = pixels
        request.side.SetInParent()
    context = FakeContext({(DATA, "images"): images}, sources={digest: path})
    extract_features(request, context)
    return context


def features(context: FakeContext) -> Any:
    return context.result("features").array("features.npy")


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_the_network_for_images_enlarged_to_its_side(
    build: Any, published: tuple[Any, Path], channels: int
) -> None:
    model, path = published
    images = build.images(12, side=28, channels=channels)
    context = extracted(path, images, pixels=0)
    assert context.result("features").json("features.json")["network"]["model"]["side"] == 160
    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    if channels == 1:
        # Grey in three equal channels, scaled as the colours' mean is.
        mean, std = mean.mean().expand(3, 1, 1), std.mean().expand(3, 1, 1)
    with torch.inference_mode():
        colour = resized(torch.from_numpy(images.images_NHWC), side=160).expand(-1, 3, -1, -1) / 255
        expected = model((colour - mean) / std)
    torch.testing.assert_close(torch.from_numpy(np.array(features(context))), expected, rtol=1e-3, atol=1e-4)


def test_a_side_of_the_users_is_that_of_the_network(build: Any, published: tuple[Any, Path]) -> None:
    context = extracted(published[1], build.images(3, side=28, channels=3), pixels=64)
    assert context.result("features").json("features.json")["network"]["model"]["side"] == 64


def test_images_of_the_side_already_are_left_as_they_are(build: Any, published: tuple[Any, Path]) -> None:
    images = build.images(3, side=160, channels=3)
    as_they_are, to_the_side = (extracted(published[1], images, pixels=pixels) for pixels in (None, 160))
    assert features(as_they_are).tobytes() == features(to_the_side).tobytes()


@pytest.mark.parametrize(("before", "after"), [(28, 112), (112, 28)])
def test_images_are_resized_as_pillow_does_it(build: Any, before: int, after: int) -> None:
    # Grey levels in the middle: Pillow also cuts off between the axes.
    images = build.images(4, side=before, channels=3).images_NHWC // 3 + 80
    found = resized(torch.from_numpy(images), side=after).permute(0, 2, 3, 1).numpy()
    size = (after, after)
    expected = np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in images])
    assert found.min() >= 0.0
    assert found.max() <= 255.0
    # Pillow rounds after each axis.
    assert np.abs(found - expected).max() <= 2.0


def test_a_side_that_the_network_cannot_take_is_told(build: Any, published: tuple[Any, Path]) -> None:
    with pytest.raises(UserError, match=r"test_vit with 30×30 pixels.*no multiple of its patches.*Set `size`"):
        extracted(published[1], build.images(3, side=28, channels=3), pixels=30)


def test_the_small_network_has_no_side_of_published_weights(build: Any, published: tuple[Any, Path]) -> None:
    with pytest.raises(UserError, match="small-cnn has no published weights whose side"):
        extracted(published[1], build.images(3), pixels=0, name="small-cnn")
