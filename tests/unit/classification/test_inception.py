"""Features by the Inception of FID and KID."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from syntrial_classification.extract import extract_features
from syntrial_classification.inception import Inception
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from syntrial.errors import SourceError, UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ExtractFeaturesRequest, FileWeights

DATA = fake_key("data set")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's tensors, drawn; without counts of batches, as the published file has them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = FeatureExtractorInceptionV3.state_dict(Inception())
        tensors = {
            name: torch.randn(tensor.shape) * (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else tensor
            for name, tensor in drawn.items()
            if not name.endswith("num_batches_tracked")
        }
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file(tensors, path)
    return path


def extracted(path: Path, images: ImageSet) -> FakeContext:
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    request = ExtractFeaturesRequest(images=MemberRef(key=DATA, member="images"), inception=FileWeights(digest=digest))
    context = FakeContext({(DATA, "images"): images}, sources={digest: path})
    extract_features(request, context)
    return context


def test_features_are_those_of_torch_fidelity_and_grey_stands_in_three_equal_channels(
    build: Any, weights: Path, tmp_path: Path
) -> None:
    images = build.images(3, side=16, channels=1)
    state = torch.random.get_rng_state()
    context = extracted(weights, images)
    assert torch.equal(torch.random.get_rng_state(), state)
    # Its own way to its weights, which unpickles.
    pickled = tmp_path / "inception.pth"
    torch.save(load_file(weights), pickled)
    theirs = FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path=str(pickled))
    colour_NCHW = torch.from_numpy(np.repeat(images.images_NHWC, 3, axis=3)).permute(0, 3, 1, 2)
    (expected,) = theirs(colour_NCHW)
    found = torch.from_numpy(np.array(context.result("features").array("features.npy")))
    assert found.shape == (3, 2048)
    assert float(expected.std(dim=0).mean()) > 0, "the images differ in their features"
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    network = context.result("features").json("features.json")["network"]
    assert network["model"] == {"name": "inception-v3 of 2015-12-05", "side": 299}
    assert network["pretraining"]["digest"].removeprefix("sha256:") == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_weights_of_another_network_are_refused_with_the_tensors_that_do_not_fit(
    build: Any, weights: Path, tmp_path: Path
) -> None:
    # What torchvision's network differs in.
    tensors = load_file(weights)
    tensors["fc.weight"] = torch.zeros(1000, 2048)
    tensors["AuxLogits.fc.bias"] = torch.zeros(1000)
    del tensors["Mixed_7c.branch1x1.bn.bias"]
    other = tmp_path / "other.safetensors"
    save_file(tensors, other)
    with pytest.raises(UserError) as caught:
        extracted(other, build.images(3, side=16))
    said = str(caught.value)
    assert said.startswith("inception: weights are those of the Inception that FID is defined by, tensor for tensor;")
    assert "1 missing: Mixed_7c.branch1x1.bn.bias; 1 unknown: AuxLogits.fc.bias; 1 of another shape: fc.weight" in said
    assert "(1000, 2048) for (1008, 2048)" in said
    assert "docs/filters.md" in said


def test_a_pickle_is_refused_unopened(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "inception.safetensors"
    torch.save({"fc.bias": torch.zeros(1008)}, path)
    with pytest.raises(SourceError, match="weights are a safetensors file; received a PyTorch pickle"):
        extracted(path, build.images(3))
