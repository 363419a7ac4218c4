"""Generators in latents: their steps, what they share, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from syntrial.artifacts.references import member_refs, source_digests
from syntrial.documents.lpips import SHAPES
from syntrial.errors import SourceError, UserError
from syntrial.experiment.file import validate
from syntrial.imagesets.splits import UNSPLIT
from syntrial.plan.planner import plan
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan
from syntrial.rpc.file_fields import file_field
from syntrial.sources.named import DATASET, science_of, sources_of
from syntrial.sources.resolve import resolve_sources
from syntrial.v1.data_preparation_pb2 import LeakPolicy, Source
from syntrial.v1.generation_pb2 import Perceptual
from tests.unit.plan.deciding import plan_whole


def planned(*latent: dict[str, Any], size: int = 32, **changes: Any) -> Plan:
    tree = {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "x"},
        "spec": {
            "dataset": {"phantom": {}, "size": size},
            "synthetic": [
                {"name": f"ldm{number}", "generator": {"latentDiffusion": own}, **changes}
                for number, own in enumerate(latent)
            ],
            "arms": ["synthetic"],
        },
    }
    item = validate(tree)
    found = plan(item, resolve_sources(item, base=Path()).by_name)
    # The report is planned later.
    assert len(found.steps) + 1 <= size_of(item.spec).steps
    return found


def requests(found: Plan, method: str) -> list[Any]:
    return [step.request for step in found.steps if step.method.endswith(f"/{method}")]


def test_a_generator_in_latents_follows_its_autoencoder_and_the_latents_of_the_training_split() -> None:
    found = planned({"preset": "pico"})
    (autoencoder,), (encoding,) = requests(found, "TrainAutoencoder"), requests(found, "EncodeImages")
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert autoencoder.train == encoding.images == training.train
    assert {ref.member for ref in member_refs(training)} == {"train", "autoencoder", "latents"}
    assert encoding.autoencoder == training.latent.autoencoder
    assert (encoding.autoencoder.key, encoding.autoencoder.member) == (autoencoder.header.key, "autoencoder")
    assert training.latent.train.key == encoding.header.key


def test_what_stands_in_latents_is_given_the_training_split_alone() -> None:
    for method in ("TrainAutoencoder", "EncodeImages", "TrainGenerator", "SampleImages"):
        for request in requests(planned({}), method):
            assert {ref.member for ref in member_refs(request)} <= {"train", "autoencoder", "latents", "generator"}


def test_generators_of_one_autoencoder_share_it_and_another_denoiser_leaves_it_alone() -> None:
    found = planned({"preset": "pico"}, {"preset": "pico", "learningRate": 0.01})
    assert len(requests(found, "TrainAutoencoder")) == len(requests(found, "EncodeImages")) == 1
    assert sum(one.HasField("latent") for one in requests(found, "TrainGenerator")) == 2
    assert len(requests(planned({}, {"autoencoder": {"klWeight": 0.1}}), "TrainAutoencoder")) == 2


def test_each_replicate_of_the_method_has_an_autoencoder_of_its_own() -> None:
    assert [one.seed for one in requests(planned({}, replicates=3), "TrainAutoencoder")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("size", "own", "factor", "levels"),
    [
        (32, {}, 4, 3),
        (28, {}, 4, 3),
        (30, {}, 2, 2),
        (64, {"autoencoder": {"factor": 8}}, 8, 4),
        (256, {"preset": "base"}, 8, 4),
    ],
)
def test_presets_fit_the_images(size: int, own: dict[str, Any], factor: int, levels: int) -> None:
    found = planned(own, size=size)
    config = requests(found, "TrainAutoencoder")[0].config
    assert (config.factor, len(config.channels)) == (factor, levels)
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert (size // factor) % 2 ** (len(training.latent_diffusion.channels) - 1) == 0


@pytest.mark.parametrize("factor", [3, 1, 0, 64])
def test_a_factor_that_does_not_divide_the_images_is_refused_before_anything_runs(factor: int) -> None:
    says = r"generator.latentDiffusion.autoencoder.factor: is a power of 2, from 2, that divides the side of the images"
    with pytest.raises(UserError, match=says):
        planned({"autoencoder": {"factor": factor}})


GUIDED = {"preset": "pico", "conditioning": "classifier-guidance"}


def test_another_network_of_the_denoiser_leaves_all_before_it_alone_and_its_patches_divide_the_latents() -> None:
    plain, changed = planned({}), planned({"denoiser": "transformer"})
    for method in ("TrainAutoencoder", "EncodeImages"):
        assert requests(plain, method) == requests(changed, method)
    assert {step.key for step in planned({"denoiser": "unet"}).steps} == {step.key for step in plain.steps}
    with pytest.raises(UserError, match=r"latentDiffusion\.fold: .*received fold 3, latents of 8 places"):
        planned({"denoiser": "transformer", "fold": 3})


def test_a_classifier_that_guides_is_a_step_of_its_own_on_the_same_latents() -> None:
    found = planned(GUIDED)
    (judge,) = requests(found, "TrainLatentClassifier")
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert judge.latents == training.latent.train
    assert judge.train == training.train
    (sampling,) = (one for one in requests(found, "SampleImages") if one.HasField("classifier"))
    assert (sampling.classifier.key, sampling.latent_diffusion.guidance) == (judge.header.key, 2)


def test_another_scale_of_guidance_trains_nothing_again() -> None:
    stronger = planned(GUIDED | {"sampler": {"guidance": 4}})
    keys = {step.key for step in planned(GUIDED).steps if step.method.partition("/")[2].startswith("Train")}
    generation = {step.key for step in stronger.steps if "GenerationService/Train" in step.method}
    assert generation <= keys


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (GUIDED | {"sampler": {"guidance": 0}}, "latentDiffusion.sampler.guidance: is above 0 with conditioning"),
        ({"guide": {"channels": 8}}, "latentDiffusion.guide: belongs to conditioning: classifier-guidance"),
        ({"preset": "pico", "sampler": {"guidance": 2}}, "latentDiffusion.sampler.guidance: compares the model with"),
    ],
)
def test_guidance_that_cannot_work_is_refused_before_anything_runs(own: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(own)


PHANTOM = {"phantom": {"seed": 7, "trainPatients": 20}}


def labels(found: Plan) -> list[str]:
    return [step.label for step in found.steps]


def test_a_pool_is_prepared_beside_what_is_held_out_and_trained_on_by_autoencoder_and_denoiser_alone() -> None:
    found = planned(GUIDED | {"unlabelled": [PHANTOM, PHANTOM | {"phantom": {"seed": 8}, "weight": 3}]})
    first, second = requests(found, "PreparePool")
    for pool in (first, second):
        held = {(ref.key, ref.member) for ref in (pool.held_out.validation, pool.held_out.test)}
        assert held == {(found.dataset, "validation"), (found.dataset, "test")}
        assert not pool.held_out.same_source
    (autoencoder,) = requests(found, "TrainAutoencoder")
    (training,) = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert [(pool.images.key, pool.weight) for pool in autoencoder.unlabelled] == [
        (first.header.key, 1),
        (second.header.key, 3),
    ]
    encoded = {one.images.key: one.header.key for one in requests(found, "EncodeImages")}
    assert [(pool.images.key, pool.weight) for pool in training.latent.unlabelled] == [
        (encoded[first.header.key], 1),
        (encoded[second.header.key], 3),
    ]
    (judge,) = requests(found, "TrainLatentClassifier")
    assert judge.latents == training.latent.train
    given = {ref.key for step in found.steps if "Classif" in step.method for ref in member_refs(step.request)}
    assert given.isdisjoint({first.header.key, second.header.key, *encoded.values()} - {judge.latents.key})


def test_a_generator_without_pools_has_the_keys_that_it_had() -> None:
    assert {step.key for step in planned(GUIDED).steps} == {
        step.key for step in planned(GUIDED | {"unlabelled": []}).steps
    }


def test_the_pool_of_the_data_sets_own_source_has_its_patients() -> None:
    (own,) = requests(planned({"unlabelled": [{"phantom": {}}]}), "PreparePool")
    assert own.held_out.same_source


@pytest.mark.parametrize(("leaks", "action"), [("stop", LeakPolicy.ACTION_STOP), ("drop", LeakPolicy.ACTION_DROP)])
def test_copies_stop_or_go_and_what_is_only_alike_goes(leaks: str, action: int) -> None:
    (pool,) = requests(planned({"unlabelled": [PHANTOM | {"leaks": leaks}]}), "PreparePool")
    assert (pool.leaks.exact_duplicates, pool.leaks.shared_patients) == (action, action)
    assert pool.leaks.near_duplicates == LeakPolicy.ACTION_DROP


def test_fine_tuning_goes_on_on_the_training_split_alone_and_shares_the_first_training() -> None:
    own = GUIDED | {"unlabelled": [PHANTOM]}
    found = planned(own, own | {"fineTune": {"images": 2_000}})
    first, tuning = (one for one in requests(found, "TrainGenerator") if one.HasField("latent"))
    assert (tuning.initial.key, tuning.initial.member) == (first.header.key, "generator")
    assert len(first.latent.unlabelled) == 1
    assert not tuning.latent.unlabelled
    assert tuning.latent_diffusion.images == 2_000
    assert tuning.latent_diffusion.learning_rate == pytest.approx(first.latent_diffusion.learning_rate / 3)
    assert tuning.latent_diffusion.warmup_images == first.latent_diffusion.warmup_images / 10
    sampled = {one.generator.key for one in requests(found, "SampleImages")}
    assert {first.header.key, tuning.header.key} <= sampled
    assert len(requests(found, "TrainLatentClassifier")) == 1
    (chosen,) = (
        one
        for one in requests(planned(own | {"fineTune": {"images": 2_000, "learningRate": 0.5}}), "TrainGenerator")
        if one.HasField("initial")
    )
    assert chosen.latent_diffusion.learning_rate == 0.5


def test_a_model_that_saw_images_without_labels_may_be_guided_without_a_classifier() -> None:
    own = {"preset": "pico", "sampler": {"guidance": 2}, "unlabelled": [PHANTOM]}
    assert requests(planned(own), "SampleImages")
    with pytest.raises(UserError, match=r"latentDiffusion.sampler.guidance: compares the model with"):
        planned(own | {"fineTune": {"images": 2_000}})


def test_pools_are_sources_of_the_experiment_and_the_report_names_them_by_content(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    for number in range(3):
        Image.new("L", (8, 8), number).save(tmp_path / "tiles" / f"{number}.png")
    spec = {
        "dataset": {"phantom": {}},
        "synthetic": [
            {"name": "ldm", "generator": {"latentDiffusion": {"unlabelled": [{"folder": "tiles"}, {"folder": "."}]}}}
        ],
    }
    head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    item = validate(head | {"spec": spec})
    place = "spec.synthetic[0].generator.latentDiffusion.unlabelled"
    assert [(ref.name, ref.field) for ref in sources_of(item)][1:] == [
        ("unlabelled/ldm/1", f"{place}[0]"),
        ("unlabelled/ldm/2", f"{place}[1]"),
    ]
    with pytest.raises(UserError, match=r"the folders of two sources lie beside each other"):
        resolve_sources(item, base=tmp_path)
    del spec["synthetic"][0]["generator"]["latentDiffusion"]["unlabelled"][1]  # type: ignore[index]
    item = validate(head | {"spec": spec})
    found = resolve_sources(item, base=tmp_path)
    assert len(found.contents["unlabelled/ldm/1"].splits[UNSPLIT].labels) == 3
    named = science_of(item, found.by_name)
    assert named.spec.synthetic[0].generator.chosen.unlabelled[0].folder == found.by_name["unlabelled/ldm/1"].digest  # type: ignore[union-attr]


def with_term(*, size: int = 16, tune: Any = None, **term: Any) -> Any:
    generator = {"latentDiffusion": {"preset": "pico", "autoencoder": {"perceptual": term}}}
    spec = {
        "dataset": {"phantom": {}, "size": size},
        "synthetic": [{"name": "ldm", "generator": generator} | ({"tune": tune} if tune else {})],
        "arms": ["synthetic"],
    }
    head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    return validate(head | {"spec": spec})


def lpips_file(path: Path, **shapes: tuple[int, ...]) -> None:
    """A file of weights, in a type of one byte."""
    save_file({name: np.zeros(shape, np.int8) for name, shape in {**SHAPES, **shapes}.items()}, path)


def test_a_perceptual_term_is_known_by_the_content_of_its_weights(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lpips_file(tmp_path / f"{name}.safetensors")
    found = {}
    for name, weight in (("one", 1.0), ("two", 1.0), ("one", 0.5)):
        item = with_term(weights=f"{name}.safetensors", weight=weight)
        sources = resolve_sources(item, base=tmp_path).by_name
        planned_here = plan(item, sources)
        (request,) = requests(planned_here, "TrainAutoencoder")
        assert request.perceptual == Perceptual(digest=sources["perceptual/ldm"].digest, weight=weight)
        assert source_digests(request) == {sources["perceptual/ldm"].digest}
        found[name, weight] = request.header.key
        named = science_of(item, sources).spec.synthetic[0].generator.chosen.autoencoder.perceptual  # type: ignore[union-attr]
        assert named.weights == sources["perceptual/ldm"].digest
        (report,) = requests(plan_whole(item, sources), "WriteReport")
        assert not report.synthetic[0].proven_lineage
    assert found["one", 1.0] == found["two", 1.0] != found["one", 0.5]
    (ref,) = (ref for ref in sources_of(item) if ref.name == "perceptual/ldm")
    assert ref.field == "spec.synthetic[0].generator.latentDiffusion.autoencoder.perceptual.weights"
    (plain,) = requests(planned({"preset": "pico"}, size=16), "TrainAutoencoder")
    assert not plain.HasField("perceptual")
    assert plain.header.key not in found.values()


def test_weights_of_another_network_and_images_too_small_for_it_are_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    place = r"autoencoder\.perceptual"
    lpips_file(tmp_path / "lpips.safetensors", **{"lin0.model.1.weight": (1, 192, 1, 1)})
    with pytest.raises(UserError, match=rf"{place}\.weights: .*lin0\.model\.1\.weight 1×192×1×1 for 1×64×1×1"):
        resolve_sources(with_term(weights="lpips.safetensors"), base=tmp_path)
    (tmp_path / "lpips.pth").write_bytes(b"PK")
    with pytest.raises(SourceError, match=rf"{place}\.weights: weights are safetensors; a pickle runs code"):
        resolve_sources(with_term(weights="lpips.pth"), base=tmp_path)
    with pytest.raises(UserError, match=rf"{place}\.weights: .*hub://"):
        resolve_sources(with_term(weights="hub://a/b"), base=tmp_path)
    lpips_file(tmp_path / "lpips.safetensors")
    small = with_term(weights="lpips.safetensors", size=14)
    with pytest.raises(UserError, match=rf"{place}: is for images of 16 pixels .*received images of 14 pixels"):
        plan(small, {DATASET: Source(), "perceptual/ldm": Source(digest="sha256:0")})


def test_a_search_tries_the_weight_of_a_perceptual_term_and_not_its_network() -> None:
    def searched(field: str, *values: Any) -> Any:
        return with_term(weights="a", tune={"over": {field: {"choice": list(values)}}, "trials": 2})

    assert searched("autoencoder.perceptual.weight", 0.5, 2.0)
    assert searched("autoencoder.klWeight", 0.5)
    for field, value in (
        ("autoencoder.perceptual.weights", "b"),
        ("autoencoder.perceptual", {"weights": "b"}),
        ("autoencoder", {"perceptual": {"weights": "b"}}),
    ):
        with pytest.raises(UserError, match=rf"tune\.over\.{field}: the weights of `perceptual` are one value"):
            searched(field, value)


def test_a_pool_of_a_test_split_alone_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "tiles" / "test").mkdir(parents=True)
    Image.new("L", (8, 8), 3).save(tmp_path / "tiles" / "test" / "1.png")
    head = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}}
    own = {"unlabelled": [{"folder": "tiles"}]}
    spec = {"dataset": {"phantom": {}}, "synthetic": [{"name": "ldm", "generator": {"latentDiffusion": own}}]}
    with pytest.raises(
        UserError, match=r"unlabelled\[0\]: a pool holds images for training: .* received images for test"
    ):
        resolve_sources(validate(head | {"spec": spec}), base=tmp_path)


def test_an_unknown_preset_is_refused_as_the_file_spells_it() -> None:
    with pytest.raises(UserError, match=r"generator.latentDiffusion.preset: must be one of pico"):
        planned({"preset": "huge"})


def test_stages_complaints_are_told_as_the_file_spells_them() -> None:
    place = "spec.synthetic[].generator.latentDiffusion"
    service = "syntrial.v1.GenerationService"
    assert file_field("config.latent_channels", method=f"{service}/TrainAutoencoder") == (
        f"{place}.autoencoder.latentChannels"
    )
    assert file_field("perceptual.digest", method=f"{service}/TrainAutoencoder") == (
        f"{place}.autoencoder.perceptual.weights"
    )
    assert file_field("latent_diffusion.p_std", method=f"{service}/TrainGenerator") == f"{place}.pStd"
    assert (
        file_field("latent.unlabelled[1].weight", method=f"{service}/TrainGenerator") == f"{place}.unlabelled[1].weight"
    )
    assert file_field("unlabelled[1].weight", method=f"{service}/TrainAutoencoder") == f"{place}.unlabelled[1].weight"
    pool = "syntrial.v1.DataPreparationService/PreparePool"
    assert file_field("source", method=pool) == f"{place}.unlabelled[]"
    assert file_field("format.size", method=pool) == "spec.dataset.size"
    assert file_field("latent_diffusion.steps", method=f"{service}/SampleImages") == f"{place}.sampler.steps"
