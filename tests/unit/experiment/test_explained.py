"""What is said of each field of a generator."""

import pytest

from k8s.crd import generate
from syntrial.errors import UserError
from syntrial.experiment.explained import explained


@pytest.mark.parametrize("family", ["diffusion", "gan", "latentDiffusion", "pca"])
def test_each_field_has_a_meaning_and_says_what_it_takes(family: str) -> None:
    found = list(explained(family))
    assert all(one.meaning.endswith((".", ")")) and one.takes for one in found), found


def test_a_field_is_named_as_a_search_names_it_with_its_presets_values() -> None:
    found = {one.field: one for one in explained("gan")}
    assert found["learningRate"].presets["nano"] == 2e-3
    assert found["sampler.truncation"].presets["pico"] == 1.0
    assert found["batchSize"].takes == "whole numbers at least 0"
    assert {one.field: one for one in explained("diffusion")}["sampler.solver"].presets["small"] == "heun"


def test_a_family_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match="is one of diffusion, gan, latentDiffusion or pca; received stylegan"):
        list(explained("stylegan"))


def test_meanings_are_those_of_the_protos() -> None:
    assert generate.MEANINGS.read_text(encoding="utf-8") == generate.meanings(), "run `make crd`"
