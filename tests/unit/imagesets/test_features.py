"""Features of a set of images as artifacts hold them."""

import numpy as np
import pytest

from syntrial.errors import DataLoss, UserError
from syntrial.imagesets.features import Features, read_features, require_same, write_features
from syntrial.rpc.testing import FakeContext

NETWORK = {"model": {"name": "m"}, "pretraining": {"kind": "file"}, "normalisation": {"mean": [1.0], "std": [2.0]}}


@pytest.fixture
def context() -> FakeContext:
    made = FakeContext({})
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_features(made.output, "features", Features(values_ND=values, network=NETWORK).take(np.array([2, 0, 3])))
    return made


def test_they_are_read_as_they_were_written_row_for_row(context: FakeContext) -> None:
    found = read_features(context.result("features"), count=3)
    assert (len(found), found.network) == (3, NETWORK)
    assert found.values_ND[:, 0].tolist() == [6.0, 0.0, 9.0]


def test_those_of_another_number_of_images_are_damage(context: FakeContext) -> None:
    with pytest.raises(DataLoss, match="features of 4 images are float32 \\(3, 3\\)"):
        read_features(context.result("features"), count=4)


def test_those_of_another_network_are_refused_by_what_differs() -> None:
    other = NETWORK | {"model": {"name": "n"}, "normalisation": {}}
    with pytest.raises(UserError, match=r"features: features are of the network.*another model and normalisation"):
        require_same(other, expected=NETWORK, field="features")
    require_same(dict(NETWORK), expected=NETWORK, field="features")
