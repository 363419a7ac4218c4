import dataclasses
import json

import numpy as np
import pytest
import torch
from syntrial_filtering.encoder import EncoderSettings, EncoderTraining, dump, embed, load
from syntrial_filtering.network import averaging_matrix, pool, shift_at_random, to_inputs
from syntrial_training.loop import train as run

from syntrial.errors import UserError
from syntrial.rpc.testing import FakeCheckpoints, FakeContext

_SETTINGS = EncoderSettings(seed=1, steps=40, batch_size=32, feature_size=16)
_CPU = torch.device("cpu")


def _trained(images, labels, *, settings=_SETTINGS, classes=("dark", "bright")):
    training = EncoderTraining(images, labels, classes=classes, settings=settings, device=_CPU)
    run(training, context=FakeContext(), on_step=lambda _done: None)
    return training.finish()


def test_large_images_are_reduced_before_the_network(draw):
    images = draw(6, seed=0, side=70)
    settings = dataclasses.replace(_SETTINGS, steps=1)
    encoder = _trained(images, np.arange(6, dtype=np.int64) % 2, settings=settings)
    assert embed(encoder, images).features_NF.shape == (6, 16)
    assert to_inputs(images, device=_CPU).shape == (6, 1, 64, 64)


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (16, 3)])
def test_it_learns_the_classes_and_tells_them_apart_on_new_images(draw_classes, side, channels):
    encoder = _trained(*draw_classes(160, seed=0, side=side, channels=channels))
    images, labels = draw_classes(60, seed=1, side=side, channels=channels)
    embedding = embed(encoder, images)
    assert (embedding.probabilities_NK.argmax(axis=1) == labels).mean() > 0.9
    assert embedding.features_NF.shape == (60, 16)
    assert embedding.probabilities_NK.sum(axis=1) == pytest.approx(1.0)


def test_features_are_standardised_by_the_training_images(draw_classes):
    images, labels = draw_classes(64, seed=0, side=16)
    features = embed(_trained(images, labels), images).features_NF
    assert np.abs(features.mean(axis=0)).max() < 1e-3
    assert features.std(axis=0) == pytest.approx(1.0, abs=1e-2)


def test_it_learns_several_labels(draw_classes):
    images, labels = draw_classes(96, seed=0, side=16)
    several = np.stack([labels, 1 - labels, np.zeros_like(labels)], axis=1).astype(np.uint8)
    encoder = _trained(images, several, classes=("a", "b", "never"))
    assert encoder.multi_label
    probabilities = embed(encoder, images).probabilities_NK
    # The same answer for every image reaches two thirds.
    assert ((probabilities >= 0.5) == several).mean() > 0.8


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(draw_classes):
    data = draw_classes(80, seed=0)
    short = dataclasses.replace(_SETTINGS, steps=6)
    assert dump(_trained(*data, settings=short)) == dump(_trained(*data, settings=short))
    assert dump(_trained(*data, settings=short)) != dump(_trained(*data, settings=dataclasses.replace(short, seed=2)))


def test_a_training_taken_up_from_a_checkpoint_ends_in_the_same_bytes(draw_classes):
    images, labels = draw_classes(80, seed=0)
    settings = dataclasses.replace(_SETTINGS, steps=8)
    undisturbed = _trained(images, labels, settings=settings)
    first = EncoderTraining(images, labels, classes=("dark", "bright"), settings=settings, device=_CPU)
    checkpoints = FakeCheckpoints()

    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(first, context=FakeContext(checkpoints=checkpoints, checkpoint_every=1), on_step=stop)
    second = EncoderTraining(images, labels, classes=("dark", "bright"), settings=settings, device=_CPU)
    done = []
    run(second, context=FakeContext(checkpoints=checkpoints), on_step=done.append)
    assert done == [4, 5, 6, 7, 8]
    assert dump(second.finish()) == dump(undisturbed)


def test_a_stored_encoder_gives_the_same_features(draw_classes):
    images, labels = draw_classes(60, seed=0)
    encoder = _trained(images, labels, settings=dataclasses.replace(_SETTINGS, steps=3))
    weights, description = dump(encoder)
    loaded = load(weights, json.loads(json.dumps(description)), device=_CPU)
    assert np.array_equal(embed(loaded, images).features_NF, embed(encoder, images).features_NF)
    assert dataclasses.replace(loaded, network=encoder.network) == encoder


def test_images_of_another_shape_are_refused(draw_classes):
    encoder = _trained(*draw_classes(40, seed=0), settings=dataclasses.replace(_SETTINGS, steps=1))
    with pytest.raises(UserError, match=r"\(28, 28, 1\).*\(20, 20, 1\)"):
        embed(encoder, np.zeros((2, 20, 20, 1), dtype=np.uint8))


def test_an_encoder_of_another_format_is_refused(draw_classes):
    encoder = _trained(*draw_classes(40, seed=0), settings=dataclasses.replace(_SETTINGS, steps=1))
    weights, description = dump(encoder)
    with pytest.raises(UserError, match="format"):
        load(weights, {**description, "format": 99}, device=_CPU)


@pytest.mark.parametrize("field", ["steps", "batch_size", "feature_size"])
def test_settings_must_be_positive(field):
    with pytest.raises(UserError, match=f"encoder.{field}"):
        dataclasses.replace(_SETTINGS, **{field: 0})


def test_one_training_image_is_not_enough(draw):
    with pytest.raises(UserError, match="two training images"):
        EncoderTraining(draw(1, seed=0), np.zeros(1, dtype=np.int64), classes=("a",), settings=_SETTINGS)


def test_pooling_averages_equal_parts_and_equals_torch_where_the_side_divides():
    values = torch.rand(2, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pool(values, cells=4), torch.nn.functional.adaptive_avg_pool2d(values, 4), atol=1e-6)
    assert averaging_matrix(3, 7).sum(dim=1) == pytest.approx([1.0, 1.0, 1.0])
    assert averaging_matrix(5, 3).sum(dim=1) == pytest.approx([1.0] * 5)


def test_random_shifts_move_each_image_by_whole_pixels_within_reach():
    image = torch.zeros(50, 1, 28, 28)
    image[:, :, 14, 14] = 1
    moved = shift_at_random(image, rng=np.random.default_rng(0))
    places = moved.flatten(1).argmax(dim=1)
    offsets = torch.stack([places // 28 - 14, places % 28 - 14])
    assert int(offsets.abs().max()) == 2
    assert len(set(map(tuple, offsets.T.tolist()))) > 10


def test_an_encoder_that_diverges_is_told_at_the_step_where_it_begins(draw_classes, monkeypatch):
    monkeypatch.setattr("syntrial_filtering.encoder._PEAK_LEARNING_RATE", 1e30)
    images, labels = draw_classes(40, seed=0)
    with pytest.raises(UserError, match=r"encoder: .* at step \d+ of 40, with a learning rate of .*e\+"):
        _trained(images, labels)
