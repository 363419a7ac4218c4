from typing import Any

import pytest
from syntrial_generation.loop import learning_rate

from syntrial.errors import Cancelled, UserError
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.generation_pb2 import TrainingPart


def members(context: FakeContext) -> dict[str, bytes]:
    return {
        f"{member}/{name}": context.result(member).read(name)
        for member in ("generator", "curves")
        for name in context.result(member).names()
    }


@pytest.mark.parametrize("family", ["diffusion", "gan", "latent_diffusion", "pca"])
def test_the_same_request_gives_the_same_bytes(family: str, lab: Any) -> None:
    chosen = {family: lab.configs[family]}
    assert members(lab.train(lab.split(), **chosen)) == members(lab.train(lab.split(), **chosen))


@pytest.mark.parametrize("family", ["diffusion", "gan", "latent_diffusion"])
def test_another_seed_gives_other_weights(family: str, lab: Any) -> None:
    first, other = (members(lab.train(lab.split(), seed=seed, **{family: lab.configs[family]})) for seed in (1, 2))
    assert first["generator/weights.safetensors"] != other["generator/weights.safetensors"]


@pytest.mark.parametrize("family", ["diffusion", "gan", "latent_diffusion"])
def test_an_interrupted_and_resumed_training_gives_the_bytes_of_an_undisturbed_one(family: str, lab: Any) -> None:
    chosen = {family: lab.configs[family]}
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        lab.train(lab.split(), checkpoints=checkpoints, extra={"cancel_after": 5, "checkpoint_every": 3}, **chosen)
    assert checkpoints.saves == 1
    resumed = lab.train(lab.split(), checkpoints=checkpoints, **chosen)
    assert resumed.reports[0]["done"] == 4 * 8
    assert members(resumed) == members(lab.train(lab.split(), **chosen))


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("diffusion", {"loss"}),
        ("latent_diffusion", {"loss"}),
        ("gan", {"discriminator_loss", "generator_loss", "r1", "r2"}),
    ],
)
def test_curves_end_at_the_training_s_length(family: str, names: set[str], lab: Any) -> None:
    curves = lab.train(lab.split(), **{family: lab.configs[family]}).result("curves").json("curves.json")
    assert curves["x_unit"] == "images"
    assert curves["x"][-1] == 48
    assert set(curves["series"]) == names
    assert all(len(values) == len(curves["x"]) for values in curves["series"].values())


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("diffusion", {"fold": 3}, "diffusion.fold: the sides of an image must be multiples"),
        ("diffusion", {"attention_head_width": 5}, "diffusion.attention_head_width: must divide"),
        ("diffusion", {"batch_size": 0}, "diffusion.batch_size: must be above 0"),
        ("diffusion", {"learning_rate": -1.0}, "diffusion.learning_rate: must be above 0"),
        ("diffusion", {"augment_shift": 8}, "diffusion.augment_shift: must be smaller"),
        ("diffusion", {"label_dropout": 1.0}, r"diffusion.label_dropout: must lie in \[0, 1\)"),
        ("latent_diffusion", {"attention_head_width": 5}, "latent_diffusion.attention_head_width: must divide"),
        ("gan", {"latent_size": 0}, "gan.latent_size: must be above 0"),
        ("gan", {"gamma": -1.0}, "gan.gamma: must be at least 0"),
        ("gan", {"spread": -1.0}, "gan.spread: must be at least 0"),
        ("gan", {"augment_cutout": 1.5}, "gan.augment_cutout: must lie in"),
        ("pca", {"explained_variance": 1.5}, "pca.explained_variance: must lie in"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_its_field(
    family: str, changes: dict[str, Any], message: str, lab: Any
) -> None:
    for name, value in changes.items():
        setattr(lab.configs[family], name, value)
    with pytest.raises(UserError, match=message):
        lab.train(lab.split(), **{family: lab.configs[family]})


def test_all_mistakes_are_told_at_once(lab: Any) -> None:
    config = lab.configs["gan"]
    config.latent_size = 0
    config.batch_size = 0
    with pytest.raises(UserError) as caught:
        lab.train(lab.split(), gan=config)
    assert [violation.field for violation in caught.value.violations] == ["gan.latent_size", "gan.batch_size"]


def test_a_request_without_a_family_and_a_split_of_one_image_are_refused(lab: Any) -> None:
    with pytest.raises(UserError, match="exactly one family"):
        lab.train(lab.split())
    with pytest.raises(UserError, match="at least 2 training images"):
        lab.train(lab.split(count=1), gan=lab.configs["gan"])


def test_the_learning_rate_rises_and_then_falls_to_zero() -> None:
    rates = [learning_rate(done, peak=1.0, warmup=100, images=1000) for done in (0, 50, 100, 550, 1000)]
    assert rates == pytest.approx([0.01, 0.51, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(("family", "rate"), [("diffusion", 1e30), ("gan", 1e30)])
def test_a_training_that_diverges_is_the_users_error_with_the_step_and_the_learning_rate(
    family: str, rate: float, lab: Any
) -> None:
    config = lab.configs[family]
    config.learning_rate = rate
    context: dict[str, Any] = {}
    with pytest.raises(
        UserError, match=rf"{family}.learning_rate: .* at step \d of 6, with a learning rate of .*e\+"
    ) as caught:
        lab.train(lab.split(), extra=context, **{family: config})
    assert "1e+30" in caught.value.violations[0].remedy


def test_levels_that_do_not_divide_the_latents_are_refused(lab: Any) -> None:
    config = lab.configs["latent_diffusion"]
    config.channels.extend([16, 16])
    with pytest.raises(UserError, match=r"latent_diffusion\.channels: the sides of the latents must be multiples"):
        lab.train(lab.split(), latent_diffusion=config)


@pytest.mark.parametrize("family", ["diffusion", "gan", "latent_diffusion"])
def test_the_parts_of_a_training_give_the_bytes_of_the_whole(family: str, lab: Any) -> None:
    """Also where a part is killed: it goes on from its own checkpoint, and not from the part before it."""
    chosen = {family: lab.configs[family]}
    whole = members(lab.train(lab.split(), **chosen))
    first = lab.train(lab.split(), part=TrainingPart(until_images=20), **chosen)
    assert first.reports[-1]["done"] == first.reports[-1]["total"] == 24
    assert members(first)["generator/weights.safetensors"] != whole["generator/weights.safetensors"]
    key = fake_key("the part before")
    state = {name: first.result("state").read(name) for name in first.result("state").names()}
    last = TrainingPart(begun=MemberRef(key=key, member="state"))
    more = chosen | {"beside": {(key, "state"): state}, "part": last}
    checkpoints = FakeCheckpoints()
    with pytest.raises(Cancelled):
        lab.train(lab.split(), checkpoints=checkpoints, extra={"cancel_after": 2, "checkpoint_every": 1}, **more)
    resumed = lab.train(lab.split(), checkpoints=checkpoints, **more)
    assert [report["done"] for report in resumed.reports] == [48]
    assert members(resumed) == whole


def test_what_is_fitted_in_one_go_has_no_parts(lab: Any) -> None:
    with pytest.raises(UserError, match="part: belongs to a training that goes by steps; received it for pca"):
        lab.train(lab.split(), part=TrainingPart(until_images=20), pca=lab.configs["pca"])
    part = TrainingPart(begun=MemberRef(key=fake_key("data set"), member="train"))
    with pytest.raises(UserError, match=r"part.begun: is the member `state`"):
        lab.train(lab.split(), part=part, gan=lab.configs["gan"])
