from typing import Any

import pytest

from syntrial.errors import UserError
from syntrial.experiment.presets.generators import FAMILIES, generator_preset, sampler_message, sampler_preset
from syntrial.v1.generation_pb2 import GanSampler, TrainGeneratorRequest

ALL = [(family, preset) for family, row in FAMILIES.items() for preset in row.presets]


@pytest.mark.parametrize(("family", "preset"), ALL)
@pytest.mark.parametrize("size", [28, 64, 224, 31])
def test_every_preset_fits_every_size(family: str, preset: str, size: int) -> None:
    config = generator_preset(family, preset, image_size=size)
    if "channels" in config.DESCRIPTOR.fields_by_name:
        side = (getattr(config, "fold", 1) or 1) * 2 ** (len(config.channels) - 1)
        assert size % side == 0


@pytest.mark.parametrize("family", [family for family, row in FAMILIES.items() if row.transformers])
@pytest.mark.parametrize(("size", "patch"), [(28, 4), (30, 2), (31, 1)])
def test_every_preset_of_a_denoiser_is_a_transformer_too_whose_patches_fit(family: str, size: int, patch: int) -> None:
    for preset in FAMILIES[family].presets:
        plain = generator_preset(family, preset, image_size=size)
        config = generator_preset(family, preset, image_size=size, is_transformer=True)
        (width,) = config.channels
        assert width % config.attention_head_width == 0
        assert size % config.fold == 0
        assert config.fold <= patch
        assert (config.images, config.p_mean, config.label_dropout) == (plain.images, plain.p_mean, plain.label_dropout)


@pytest.mark.parametrize(("family", "preset"), ALL)
def test_every_preset_has_its_sampler(family: str, preset: str) -> None:
    sampler, micro_batch = sampler_preset(family, preset)
    assert micro_batch > 0
    assert (sampler is None) == (sampler_message(family) is None)
    assert sampler is None or sampler.ByteSize() > 0


def test_every_family_of_the_contract_has_a_row_and_no_other() -> None:
    families = TrainGeneratorRequest.DESCRIPTOR.oneofs_by_name["generator"].fields
    assert set(FAMILIES) == {field.name for field in families} - {"external"}
    assert all(row.default in row.presets for row in FAMILIES.values())


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"generator.gan.preset: must be one of pico, nano, small, base, large; received huge"
    ):
        generator_preset("gan", "huge", image_size=28)


@pytest.mark.parametrize(("size", "levels"), [(2, 1), (4, 1), (64, 5), (128, 6), (256, 7), (512, 8), (1024, 9)])
def test_the_largest_gan_begins_at_4_pixels_for_every_power_of_two(size: int, levels: int) -> None:
    config = generator_preset("gan", "large", image_size=size)
    assert len(config.channels) == levels
    assert size / (config.fold * 2 ** (levels - 1)) == min(size, 4)


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_the_largest_gan_takes_a_step_and_draws_a_sample_at_every_power_of_two(size: int, lab: Any) -> None:
    config = generator_preset("gan", "large", image_size=size)
    narrow = [max(count // 192, 1) for count in config.channels]
    del config.channels[:]
    config.channels.extend(narrow)
    config.images = config.batch_size = 2
    config.blocks_per_level = 1
    split = lab.split(count=2, side=size)
    drawn = lab.sample(split, lab.train(split, gan=config), gan=GanSampler(truncation=1), micro_batch=1)
    assert drawn.result("images").array("images-00000.npy").shape == (2, size, size, 1)
