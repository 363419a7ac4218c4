import pytest

from syntrial.errors import UserError
from syntrial.plan.presets.generators import PRESETS, generator_preset, sampler_preset

ALL = [(family, preset) for family, presets in PRESETS.items() for preset in presets]


@pytest.mark.parametrize(("family", "preset"), ALL)
@pytest.mark.parametrize("size", [28, 64, 224, 31])
def test_every_preset_fits_every_size(family: str, preset: str, size: int) -> None:
    config = generator_preset(family, preset, image_size=size)
    if family != "pca":
        side = (getattr(config, "fold", 1) or 1) * 2 ** (len(config.channels) - 1)
        assert size % side == 0


@pytest.mark.parametrize(("family", "preset"), ALL)
def test_every_preset_has_its_sampler(family: str, preset: str) -> None:
    sampler, micro_batch = sampler_preset(family, preset)
    assert micro_batch > 0
    assert (sampler is None) == (family == "pca")


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"generator.gan.preset: must be one of pico, nano, small, base; received huge"):
        generator_preset("gan", "huge", image_size=28)
