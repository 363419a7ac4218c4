"""Probes: logistic regression on features that are extracted once."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from syntrial_classification.evaluate import evaluate_classifier
from syntrial_classification.extract import extract_features
from syntrial_classification.models import ModelSpec, build_model
from syntrial_classification.train import train_classifier
from syntrial_training.tensors import from_bytes

from syntrial.errors import Cancelled, DataLoss, UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import (
    ClassifierModel,
    EvaluateClassifierRequest,
    ExtractFeaturesRequest,
    FileWeights,
    Probe,
    TrainClassifierRequest,
    TrainingPhase,
    TrainingRecipe,
)

DATA, MADE = fake_key("data set"), fake_key("synthetic set")
STRENGTHS = (1.0, 0.01)


class Network:
    """Weights in a file, and the verbs over sets of images with it."""

    def __init__(self, folder: Path, *, name: str = "small-cnn", side: int = 8, seed: int = 5) -> None:
        self.name = name
        spec = ModelSpec(name=name, small_stem=side < 64, classes=7, channels=1, side=side)
        path = folder / f"{name}-{seed}.safetensors"
        save_file(build_model(spec, seed=seed).state_dict(), path)
        self.digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        self.sources = {self.digest: path}

    @property
    def model(self) -> ClassifierModel:
        return ClassifierModel(name=self.name, file=FileWeights(digest=self.digest))

    def extract(self, images: ImageSet, *, scaled_by: ImageSet | None = None, **context: Any) -> dict[str, Any]:
        """The blobs of the features of images."""
        request = ExtractFeaturesRequest(images=MemberRef(key=DATA, member="images"), model=self.model)
        sets = {(DATA, "images"): images}
        if scaled_by is not None:
            request.train.CopyFrom(MemberRef(key=MADE, member="train"))
            sets[MADE, "train"] = scaled_by
        fake = FakeContext(sets, sources=self.sources, **context)
        extract_features(request, fake)
        made = fake.result("features")
        return {"features.npy": np.array(made.array("features.npy")), "features.json": made.json("features.json")}

    def fit(
        self,
        *phases: TrainingPhase,
        real: ImageSet,
        validation: ImageSet,
        synthetic: ImageSet | None = None,
        l2: tuple[float, ...] = STRENGTHS,
        features: dict[str, Any] | None = None,
        **fields: Any,
    ) -> FakeContext:
        """A training with the features of its sets."""
        sets = {"train": real, "validation": validation, "synthetic": synthetic}
        inputs: dict[tuple[str, str], Any] = {}
        refs, probe = {}, Probe(l2=l2)
        for name, images in sets.items():
            if images is not None:
                key = MADE if name == "synthetic" else DATA
                inputs[key, name] = images
                inputs[fake_key(name), "features"] = (features or {}).get(name) or self.extract(images, scaled_by=real)
                refs[name] = MemberRef(key=key, member=name)
                getattr(probe, name).CopyFrom(MemberRef(key=fake_key(name), member="features"))
        request = TrainClassifierRequest(
            model=self.model, phases=phases or [TrainingPhase(real=1)], probe=probe, **refs, **fields
        )
        fake = FakeContext(inputs, sources=self.sources)
        train_classifier(request, fake)
        return fake


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


def sets_of(build: Any, **fields: Any) -> dict[str, ImageSet]:
    return {"real": build.images(60, **fields), "validation": build.images(40, seed=1, **fields)}


def evaluate(trained: FakeContext, images: ImageSet, *, features: dict[str, Any] | None) -> FakeContext:
    reader = trained.result("classifier")
    classifier = {
        "weights.safetensors": reader.read("weights.safetensors"),
        "classifier.json": reader.json("classifier.json"),
    }
    key = fake_key("classifier")
    request = EvaluateClassifierRequest(
        classifier=MemberRef(key=key, member="classifier"), images=MemberRef(key=DATA, member="test")
    )
    inputs: dict[tuple[str, str], Any] = {(key, "classifier"): classifier, (DATA, "test"): images}
    if features is not None:
        request.features.CopyFrom(MemberRef(key=fake_key("features"), member="features"))
        inputs[fake_key("features"), "features"] = features
    context = FakeContext(inputs)
    evaluate_classifier(request, context)
    return context


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("name", "side"), [("small-cnn", 8), ("test_resnet", 32), ("test_vit", 30)])
def test_a_probe_is_a_whole_network_that_scores_images_as_it_scores_their_features(
    build: Any, tmp_path: Path, name: str, side: int, several: bool
) -> None:
    network = Network(tmp_path, name=name, side=side)
    sets = sets_of(build, several=several, side=side, classes=3)
    trained = network.fit(**sets)
    test = build.images(30, seed=7, several=several, side=side, classes=3)
    by_features = evaluate(trained, test, features=network.extract(test, scaled_by=sets["real"]))
    by_images = evaluate(trained, test, features=None)
    scores = [found.result("predictions").array("scores.npy") for found in (by_features, by_images)]
    assert np.allclose(*scores, atol=1e-4)
    assert scores[0].std() > 0.01


def test_two_last_layers_are_fitted_as_one(build: Any, tmp_path: Path) -> None:
    network = Network(tmp_path, name="deit_tiny_distilled_patch16_224", side=64)
    trained = network.fit(**sets_of(build, side=64))
    test = build.images(10, seed=7, side=64)
    by_features = evaluate(trained, test, features=network.extract(test, scaled_by=build.images(60, side=64)))
    by_images = evaluate(trained, test, features=None)
    scores = [found.result("predictions").array("scores.npy") for found in (by_features, by_images)]
    assert np.allclose(*scores, atol=1e-4)


def test_a_fit_is_that_of_scikit_learn(build: Any, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every patient counting alike: the same penalised maximum by another program."""
    monkeypatch.setattr("syntrial_classification.probe.uniform", lambda codes: np.full(len(codes), 1 - np.exp(-1)))
    sets = sets_of(build, classes=3)
    trained = network.fit(**sets, l2=(0.01,))
    features = network.extract(sets["real"], scaled_by=sets["real"])["features.npy"].astype(np.float64)
    deviation = features.std(axis=0)
    standardised = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    peer = LogisticRegression(C=1 / (0.01 * len(features)), tol=1e-8, max_iter=5000)
    peer.fit(standardised, sets["real"].labels)
    held = network.extract(sets["validation"], scaled_by=sets["real"])["features.npy"]
    expected = peer.predict_proba((held - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
    assert np.allclose(trained.result("validation").array("scores.npy"), expected, atol=1e-3)


def test_the_same_seed_gives_the_same_bytes_and_another_another_fit(build: Any, network: Network) -> None:
    sets = sets_of(build)
    first, again, other = (build.blobs(network.fit(**sets, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["validation/scores.npy"] != other["validation/scores.npy"]


def test_images_of_one_patient_count_alike_in_every_arm_of_a_seed(
    build: Any, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    import syntrial_classification.probe as module

    drawn: list[Any] = []
    honest = module._weighed

    def kept(*arguments: Any, **named: Any) -> Any:
        drawn.append(honest(*arguments, **named))
        return drawn[-1]

    monkeypatch.setattr(module, "_weighed", kept)
    real = build.images(60)
    real = ImageSet(
        images_NHWC=real.images_NHWC,
        labels=real.labels,
        classes=real.classes,
        task=real.task,
        origins={"patient": [f"p{n // 3}" for n in range(60)]},
    )
    sets = {"real": real, "validation": build.images(40, seed=1), "synthetic": build.images(50, seed=2)}
    network.fit(TrainingPhase(real=1), seed=3, **sets)
    network.fit(TrainingPhase(real=1, synthetic=0.5), seed=3, **sets)
    network.fit(TrainingPhase(real=1, duplicated=1), seed=3, **sets)
    (_, alone), (_, beside), (_, doubled) = drawn
    assert len(set(alone.tolist())) == 20
    assert np.array_equal(alone.reshape(20, 3), np.repeat(alone[::3, None], 3, axis=1))
    assert np.array_equal(beside[:60], alone)
    assert len(set(beside[60:].tolist())) == 30
    assert np.allclose(doubled, 2 * alone)


def test_weights_of_patients_are_exponential(build: Any, network: Network) -> None:
    from syntrial_classification.phases import plan_training
    from syntrial_classification.probe import _weighed

    many = build.images(4000)
    request = TrainClassifierRequest(phases=[TrainingPhase(real=1)], probe=Probe(l2=[1.0]))
    (phase,) = plan_training(request, train=many, synthetic=None).phases
    _, weights = _weighed(phase, patients=many.patients, seed=0)
    assert weights.min() > 0
    assert weights.mean() == pytest.approx(1, abs=0.05)
    assert weights.std() == pytest.approx(1, abs=0.08)


def test_a_later_phase_is_drawn_to_the_one_before(build: Any, network: Network) -> None:
    """With a penalty that allows nothing else it stays there; without one it forgets."""
    sets = {**sets_of(build), "synthetic": build.images(50, seed=2, classes=2)}
    swapped = ImageSet(
        images_NHWC=sets["synthetic"].images_NHWC,
        labels=1 - sets["synthetic"].labels,
        classes=sets["synthetic"].classes,
        task=sets["synthetic"].task,
    )
    sets["synthetic"] = swapped
    two = (TrainingPhase(synthetic=0.5), TrainingPhase(real=1))
    first = network.fit(two[0], **sets, l2=(1e-3,)).result("validation").json("metrics.json")["auroc"]
    free = network.fit(*two, **sets, l2=(1e-3,)).result("validation").json("metrics.json")["auroc"]
    held = network.fit(*two, **sets, l2=(1e6,)).result("training").json("training.json")
    assert first < 0.2
    assert free > 0.8
    assert [phase["l2"] for phase in held["phases"]] == [1e6, 1e6]


def test_the_strength_is_the_best_on_validation_and_is_on_record(build: Any, network: Network) -> None:
    trained = network.fit(**sets_of(build), l2=(1e4, 0.01, 10.0))
    record = trained.result("training").json("training.json")
    losses = record["curves"]["series"]["validation_loss"]
    assert record["phases"][0]["l2"] == (1e4, 0.01, 10.0)[int(np.argmin(losses))] == 0.01
    assert record["checkpoint"] == {"choice": "best", "step": 2}
    assert trained.result("validation").json("metrics.json")["log_loss"] == pytest.approx(min(losses), rel=1e-3)
    assert record["phases"][0]["steps"] == 0
    assert record["phases"][0]["images_seen"] == {"real": 60, "duplicated": 0, "synthetic": 0}
    assert record["bootstrap"] is True


def test_balanced_weights_let_a_rare_class_count(build: Any, network: Network) -> None:
    rng = np.random.default_rng(0)
    real = build.images(90)
    rare = np.concatenate([np.flatnonzero(real.labels == 0), np.flatnonzero(real.labels == 1)[:5]])
    noise = rng.integers(0, 256, real.images_NHWC.shape).astype(np.uint8)
    real = ImageSet(images_NHWC=noise, labels=real.labels, classes=real.classes, task=real.task).take(rare)
    validation = build.images(40, seed=1)
    fits = [
        network.fit(real=real, validation=validation, l2=(1e3,), recipe=TrainingRecipe(class_weights=weights))
        for weights in (TrainingRecipe.CLASS_WEIGHTS_EQUAL, TrainingRecipe.CLASS_WEIGHTS_BALANCED)
    ]
    plain, balanced = (found.result("validation").array("scores.npy")[:, 1].mean() for found in fits)
    assert plain < 0.25
    assert balanced > 0.35


def test_extraction_goes_on_where_it_was_stopped(build: Any, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syntrial_classification.extract.CHUNK", 16)
    images = build.images(40)
    whole = network.extract(images)
    saved = FakeCheckpoints()
    with pytest.raises(Cancelled):
        network.extract(images, checkpoints=saved, checkpoint_every=1, cancel_after=3)
    before = saved.load()
    assert before is not None
    kept = from_bytes(before["features"])["features"]
    assert len(kept) == 32
    resumed = network.extract(images, checkpoints=saved)
    assert resumed["features.npy"].tobytes() == whole["features.npy"].tobytes()


def test_a_network_with_random_weights_has_no_features(build: Any) -> None:
    request = ExtractFeaturesRequest(
        images=MemberRef(key=DATA, member="images"), model=ClassifierModel(name="small-cnn")
    )
    with pytest.raises(UserError, match="a network that was trained"):
        extract_features(request, FakeContext({(DATA, "images"): build.images(4)}))


def test_a_network_whose_scores_its_last_layer_does_not_give_is_refused(
    build: Any, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syntrial_classification.models import SmallCnn

    honest = SmallCnn.forward
    monkeypatch.setattr(SmallCnn, "forward", lambda self, images: 3 * honest(self, images) + 1)
    with pytest.raises(UserError, match="changed after its last layer"):
        network.extract(build.images(4))


def test_features_of_another_network_are_refused(build: Any, network: Network, tmp_path: Path) -> None:
    sets = sets_of(build)
    other = Network(tmp_path, seed=6)
    with pytest.raises(UserError, match="another pretraining"):
        network.fit(**sets, features={"validation": other.extract(sets["validation"], scaled_by=sets["real"])})
    with pytest.raises(UserError, match="another normalisation"):
        network.fit(**sets, features={"validation": network.extract(sets["validation"])})
    with pytest.raises(DataLoss, match="features of 40 images"):
        network.fit(**sets, features={"validation": network.extract(sets["real"])})
    trained = network.fit(**sets)
    with pytest.raises(UserError, match="another pretraining"):
        evaluate(trained, sets["real"], features=other.extract(sets["real"], scaled_by=sets["real"]))


def test_a_classifier_that_was_trained_whole_is_not_evaluated_by_features(build: Any, network: Network) -> None:
    images = build.images(20)
    trained = build.train(build.request(), real=images)
    with pytest.raises(UserError, match="where a probe is evaluated"):
        evaluate(trained, images, features=network.extract(images, scaled_by=images))


@pytest.mark.parametrize("strengths", [(), (-1.0,), (float("inf"),)])
def test_strengths_are_at_least_one_and_none_below_0(
    build: Any, network: Network, strengths: tuple[float, ...]
) -> None:
    with pytest.raises(UserError, match="strengths of the penalty"):
        network.fit(**sets_of(build), l2=strengths)


@pytest.mark.parametrize(
    ("phase", "rule"),
    [(TrainingPhase(real=1, steps=5), "have no length"), (TrainingPhase(real=1, train=["fc"]), "last layer alone")],
)
def test_phases_of_a_probe_have_no_steps_and_no_parts(
    build: Any, network: Network, phase: TrainingPhase, rule: str
) -> None:
    with pytest.raises(UserError, match=rule):
        network.fit(phase, **sets_of(build))


def test_float32_features_are_what_torch_gives_in_evaluation_mode(build: Any, network: Network) -> None:
    images = build.images(12)
    found = network.extract(images)
    model = build_model(ModelSpec(name="small-cnn", small_stem=True, classes=7, channels=1, side=8), seed=5).eval()
    constants = found["features.json"]["network"]["normalisation"]
    pixels = (torch.from_numpy(images.images_NHWC).permute(0, 3, 1, 2).float() - constants["mean"][0]) / constants[
        "std"
    ][0]
    with torch.no_grad():
        expected = model.features(torch.nn.functional.pixel_unshuffle(pixels, 2)).mean(dim=(2, 3))  # type: ignore[operator]
    assert found["features.npy"].dtype == np.float32
    assert np.allclose(found["features.npy"], expected.numpy(), atol=1e-5)
