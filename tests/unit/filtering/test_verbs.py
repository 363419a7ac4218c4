import numpy as np
import pytest
from syntrial_filtering.assess_images import _bearing
from syntrial_filtering.frechet import compare
from syntrial_filtering.service import METHODS

from syntrial.documents.document import as_json, read
from syntrial.documents.search import MEMBER, NAME, Decision
from syntrial.errors import Cancelled, DataLoss, UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeCheckpoints, FakeContext, fake_key
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.filtering_pb2 import (
    Acceptance,
    AssessImagesRequest,
    CentroidFilter,
    ConfidenceFilter,
    CopyFilter,
    Filter,
    FilterImagesRequest,
    ProjectImagesRequest,
    RandomFilter,
    RealismFilter,
    TrainEncoderRequest,
)
from syntrial.v1.generation_pb2 import Balance

_TRAIN = MemberRef(key=fake_key("data"), member="train")
_IMAGES = MemberRef(key=fake_key("samples"), member="images")
_ENCODER = MemberRef(key=fake_key("encoder"), member="encoder")
_ENCODER_REQUEST = TrainEncoderRequest(train=_TRAIN, seed=0, steps=5, batch_size=16, feature_size=8)


def _image_set(images, labels, **origins):
    return ImageSet(images_NHWC=images, labels=labels, classes=("dark", "bright"), task="multi-class", origins=origins)


@pytest.fixture(scope="module")
def inputs(draw_classes_once):
    train = _image_set(*draw_classes_once(60, seed=0, side=16))
    images, labels = draw_classes_once(80, seed=1, side=16)
    # Four planted copies among the candidates; candidates 70 to 79 repeat one image.
    images[:4] = train.images_NHWC[:4]
    images[70:] = images[69]
    candidates = _image_set(images, labels, index=[position // 2 for position in range(80)])
    context = FakeContext({(_TRAIN.key, "train"): train})
    METHODS["TrainEncoder"](_ENCODER_REQUEST, context)
    encoder = context.result("encoder")
    blobs = {"weights.safetensors": encoder.read("weights.safetensors"), "encoder.json": encoder.json("encoder.json")}
    return {
        (_TRAIN.key, "train"): train,
        (_IMAGES.key, "images"): candidates,
        (_ENCODER.key, "encoder"): blobs,
    }


def _filter(inputs, **fields):
    context = FakeContext(inputs)
    defaults = {"ratio": 0.5, "balance": Balance.BALANCE_MATCH, "copies": CopyFilter(quantile=0.001)}
    request = FilterImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER, **{**defaults, **fields})
    METHODS["FilterImages"](request, context)
    return context


def test_an_interrupted_encoder_ends_in_the_same_bytes(inputs):
    checkpoints = FakeCheckpoints()
    sources = {(_TRAIN.key, "train"): inputs[_TRAIN.key, "train"]}
    first = FakeContext(sources, checkpoints=checkpoints, checkpoint_every=1, cancel_after=3)
    with pytest.raises(Cancelled):
        METHODS["TrainEncoder"](_ENCODER_REQUEST, first)
    second = FakeContext(sources, checkpoints=checkpoints)
    METHODS["TrainEncoder"](_ENCODER_REQUEST, second)
    assert len(second.reports) == 2
    expected = inputs[_ENCODER.key, "encoder"]["weights.safetensors"]
    assert second.result("encoder").read("weights.safetensors") == expected


def test_images_are_embedded_once_however_many_filters_look_at_them(inputs):
    context = _filter(inputs, filters=[Filter(centroid=CentroidFilter(keep=share)) for share in (0.9, 0.8)])
    ends = [r["activity"] for r in context.reports if r["activity"].startswith("embedding") and r["done"] == r["total"]]
    assert ends == ["embedding candidates", "embedding real images"]


def test_filtering_accepts_the_quota_of_each_class_and_counts_every_rejection(inputs):
    context = _filter(inputs, filters=[Filter(centroid=CentroidFilter(keep=0.75))])
    accepted, rejected = (read_image_set(context.result(name)) for name in ("accepted", "rejected"))
    decisions = context.result("decisions").json("decisions.json")
    assert accepted.class_counts.tolist() == [15, 15]
    assert decisions["candidates"] == 80 == len(accepted) + len(rejected)
    assert decisions["rejected"]["centroid"] == 20
    assert sum(decisions["rejected"].values()) == 50
    assert sorted(set(rejected.origins["reason"])) == sorted(decisions["rejected"])
    assert decisions["copies"]["exact"] == 4
    assert decisions["copies"]["count"] >= 4
    assert decisions["repeated"] == 10
    assert [row["quota"] for row in decisions["by_class"]] == [15, 15]
    assert context.result("decisions").array("scores.npy").shape == (80, len(decisions["score_columns"]))


def test_copies_are_kept_out_or_only_counted_as_the_request_says(inputs):
    train = inputs[_TRAIN.key, "train"].images_NHWC
    out = read_image_set(_filter(inputs).result("accepted")).images_NHWC
    kept_context = _filter(inputs, copies=CopyFilter(quantile=0))
    kept = read_image_set(kept_context.result("accepted")).images_NHWC
    assert not any((image == train[k]).all() for image in out for k in range(4))
    assert all(any((image == train[k]).all() for image in kept) for k in range(4))
    assert kept_context.result("decisions").json("decisions.json")["copies"]["count"] >= 4


def test_the_random_control_accepts_as_many_and_others(inputs):
    chosen = _filter(inputs, filters=[Filter(random=RandomFilter(keep=0.7))], seed=1)
    other = _filter(inputs, filters=[Filter(random=RandomFilter(keep=0.7))], seed=2)
    one, two = (read_image_set(context.result("accepted")) for context in (chosen, other))
    assert one.class_counts.tolist() == two.class_counts.tolist() == [15, 15]
    assert one.origins["index"] != two.origins["index"]


def test_the_best_by_the_last_filter_fill_the_quota_where_asked(inputs):
    filters = [Filter(realism=RealismFilter(keep=0.8, neighbours=3))]
    scores = {}
    for acceptance in (Acceptance.ACCEPTANCE_UNSPECIFIED, Acceptance.ACCEPTANCE_BEST):
        context = _filter(inputs, filters=filters, acceptance=acceptance)
        assert read_image_set(context.result("accepted")).class_counts.tolist() == [15, 15]
        reader = context.result("decisions")
        assert reader.json("decisions.json")["filters"][0]["smallest_kept"].keys() == {"0", "1"}
        realism = reader.array("scores.npy")[:, 0]
        accepted = set(read_image_set(context.result("accepted")).origins["index"])
        scores[acceptance] = np.mean([realism[2 * n] + realism[2 * n + 1] for n in accepted])
    assert scores[Acceptance.ACCEPTANCE_BEST] > scores[Acceptance.ACCEPTANCE_UNSPECIFIED]


def test_candidates_nearer_to_another_class_are_rejected_where_asked(inputs):
    images = inputs[_IMAGES.key, "images"]
    labels = images.labels.copy()
    labels[::8] = 1 - labels[::8]
    swapped = _image_set(images.images_NHWC, labels, index=list(range(80)))
    context = _filter(
        inputs | {(_IMAGES.key, "images"): swapped},
        filters=[Filter(centroid=CentroidFilter(top=80, own=True))],
        ratio=0,
        copies=CopyFilter(),
    )
    (told,) = context.result("decisions").json("decisions.json")["filters"]
    kept = read_image_set(context.result("accepted")).origins["index"]
    assert told["barred"] == 80 - len(kept)
    # From 70 on all show one image, of whichever class.
    swapped_kept, others_kept = (
        sum(place < 70 and (place % 8 == 0) == is_swapped for place in kept) for is_swapped in (True, False)
    )
    assert swapped_kept <= 2
    assert others_kept >= 0.7 * 61


def test_a_ratio_of_0_accepts_all_that_pass(inputs):
    assert len(read_image_set(_filter(inputs, ratio=0, copies=CopyFilter()).result("accepted"))) == 80


def test_a_shortfall_names_each_class_unless_it_is_allowed(inputs):
    with pytest.raises(UserError) as caught:
        _filter(inputs, ratio=3.0)
    assert [violation.field for violation in caught.value.violations] == ["class 'dark'", "class 'bright'"]
    assert "needs 90 synthetic images" in str(caught.value)
    assert "oversample" in str(caught.value)
    assert len(read_image_set(_filter(inputs, ratio=3.0, allow_shortfall=True).result("accepted"))) > 60


def test_a_shortfall_says_how_many_candidates_would_have_been_enough(inputs):
    with pytest.raises(UserError) as caught:
        _filter(inputs, ratio=3.0, filters=[Filter(centroid=CentroidFilter(keep=0.5))], copies=CopyFilter())
    for violation in caught.value.violations:
        assert "20 accepted of 40 candidates" in violation.received
        assert "`oversample` to 2.2 or more" in violation.remedy


def _decision(context):
    return read(Decision, context.result(MEMBER), NAME)


def test_while_more_may_be_drawn_too_few_are_a_decision_by_the_worst_class_and_no_error(inputs):
    half = {"filters": [Filter(centroid=CentroidFilter(keep=0.5))], "copies": CopyFilter()}
    context = _filter(inputs, ratio=1.0, oversample=1.3, oversample_limit=32, **half)
    decision = _decision(context)
    assert (decision.kind, decision.oversample) == ("quota", 2.2)
    assert [(one.needed, one.accepted, one.candidates) for one in decision.quotas] == [(30, 20, 40)] * 2
    assert set(context.output.members()) == {"decision", "decisions"}
    assert _decision(_filter(inputs, ratio=1.0, oversample=1.3, oversample_limit=2, **half)).oversample == 2


def test_a_quota_that_is_reached_is_decided_and_what_was_accepted_is_what_it_was(inputs):
    fields = {"filters": [Filter(centroid=CentroidFilter(keep=0.75))]}
    before, after = _filter(inputs, **fields), _filter(inputs, oversample=2, oversample_limit=32, **fields)
    assert _decision(after).oversample is None
    for name in ("accepted", "rejected", "decisions"):
        one, two = before.result(name), after.result(name)
        assert one.digest == two.digest


def test_at_the_limit_too_few_are_an_error_that_says_what_was_drawn_and_what_to_change(inputs):
    filters = [Filter(centroid=CentroidFilter(keep=0.5))]
    with pytest.raises(UserError) as caught:
        _filter(inputs, ratio=1.0, filters=filters, copies=CopyFilter(), oversample=1.3, oversample_limit=1.3)
    for violation in caught.value.violations:
        assert violation.rule == "needs 30 synthetic images"
        assert violation.received == (
            "20 accepted of 40 candidates, 1.3 for each image needed, which is the most that `oversampleLimit` allows "
            "(20 centroid)"
        )
        assert violation.remedy == (
            "Set the synthetic set's `oversampleLimit` to 2.2 or more, loosen the filters' thresholds or train the "
            "generator longer."
        )


def test_where_a_class_has_nothing_the_next_round_is_four_times_as_large(inputs):
    filters = [Filter(confidence=ConfidenceFilter(minimum=0.999999))]
    decisions = [
        _decision(_filter(inputs, filters=filters, oversample=drawn, oversample_limit=32)) for drawn in (2, 8, 31)
    ]
    assert [one.oversample for one in decisions] == [8, 32, 32]


def test_where_nothing_passes_no_number_of_candidates_is_enough(inputs):
    with pytest.raises(UserError) as caught:
        _filter(inputs, ratio=3.0, filters=[Filter(confidence=ConfidenceFilter(minimum=0.999999))])
    (remedy,) = {violation.remedy for violation in caught.value.violations}
    assert remedy == (
        "Hardly any passes: look at the images, loosen the filters' thresholds, train the generator longer or change "
        "it."
    )


def test_where_copies_are_what_is_missing_the_remedy_names_their_setting(inputs):
    train = inputs[_TRAIN.key, "train"]
    with pytest.raises(UserError) as caught:
        _filter(inputs | {(_IMAGES.key, "images"): train})
    for violation in caught.value.violations:
        assert violation.received == "0 accepted of 30 candidates (30 copy)"
        assert "look at the images, lower the set's `copies` (0 keeps copies" in violation.remedy
        assert "filters" not in violation.remedy
    with pytest.raises(UserError) as caught:
        _filter(inputs, ratio=3.0)
    assert "`oversample`" in caught.value.violations[0].remedy
    assert "`copies`" in caught.value.violations[0].remedy


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"filters": [Filter(centroid=CentroidFilter(keep=0))]}, r"filters\[0\].centroid: needs exactly one"),
        ({"filters": [Filter(centroid=CentroidFilter(keep=1.5))]}, r"filters\[0\].centroid.keep"),
        ({"filters": [Filter(confidence=ConfidenceFilter(minimum=1.5))]}, r"filters\[0\].confidence.minimum"),
        (
            {"filters": [Filter(centroid=CentroidFilter(keep=0.5, top=300))]},
            r"filters\[0\].centroid: needs exactly one",
        ),
        ({"filters": [Filter(centroid=CentroidFilter(top=3))]}, r"filters\[0\].centroid.top: keeps as many"),
        ({"filters": [Filter(realism=RealismFilter(minimum=1))]}, r"filters\[0\].realism.neighbours"),
        ({"filters": [Filter()]}, r"filters\[0\]"),
        ({"copies": CopyFilter(quantile=1.0)}, "copies.quantile"),
        ({"ratio": -1}, "ratio"),
    ],
)
def test_values_against_a_rule_are_named(inputs, fields, named):
    with pytest.raises(UserError, match=named):
        _filter(inputs, **fields)


def test_images_of_other_classes_than_the_training_split_are_refused(inputs, draw_classes):
    images, labels = draw_classes(4, seed=3, side=16)
    foreign = ImageSet(images_NHWC=images, labels=labels, classes=("a", "b"), task="multi-class")
    with pytest.raises(UserError, match="classes"):
        _filter({**inputs, (_IMAGES.key, "images"): foreign})


def test_quality_holds_the_figures_and_the_nearest_pairs_and_is_the_same_twice(inputs):
    digests = []
    for _ in range(2):
        context = FakeContext(inputs)
        request = AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER, copies=CopyFilter(quantile=0.001))
        METHODS["AssessImages"](request, context)
        reader = context.result("quality")
        digests.append(reader.digest)
    quality = reader.json("quality.json")
    assert digests[0] == digests[1]
    assert quality["frechet"]["gaussian_real"] > quality["frechet"]["floor"] > 0
    assert 0 <= quality["precision_recall"]["recall"] <= 1
    assert set(quality["diversity_by_class"]) == {"dark", "bright"}
    assert quality["diversity_by_class"]["dark"]["sample_size"] == 15
    assert quality["memorised"]["exact"] == 4
    pictures = reader.array("copies.npy")
    assert pictures.shape == (16, 2, 16, 16, 1)
    assert np.array_equal(pictures[:4, 0], pictures[:4, 1])
    assert [pair["exact"] for pair in quality["memorised"]["pairs"]][:5] == [True] * 4 + [False]


def test_an_empty_set_is_assessed_without_figures(inputs):
    empty = inputs[_IMAGES.key, "images"].take(np.arange(0))
    context = FakeContext({**inputs, (_IMAGES.key, "images"): empty})
    METHODS["AssessImages"](AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER), context)
    quality = context.result("quality").json("quality.json")
    assert quality["frechet"] is None
    assert quality["diversity_by_class"] == {"dark": None, "bright": None}
    assert quality["memorised"]["count"] == 0


def test_a_class_that_repeats_one_image_is_told_by_its_diversity(inputs):
    candidates = inputs[_IMAGES.key, "images"].take(np.arange(4, 70))
    noise = np.random.default_rng(0).integers(0, 6, candidates.images_NHWC.shape, dtype=np.uint8)
    collapsed = np.where(
        (candidates.labels == 0)[:, None, None, None], candidates.images_NHWC[0] // 2 + noise, candidates.images_NHWC
    )
    planted = _image_set(collapsed, candidates.labels)
    context = FakeContext({**inputs, (_IMAGES.key, "images"): planted})
    METHODS["AssessImages"](AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER), context)
    found = context.result("quality").json("quality.json")["diversity_by_class"]
    assert found["dark"]["interval_95"][1] < 0.5 < found["bright"]["ratio"]


def test_images_of_several_labels_are_compared_with_those_that_bear_the_label():
    images = ImageSet(
        images_NHWC=np.zeros((3, 2, 2, 1), np.uint8),
        labels=np.array([[1, 0], [1, 1], [0, 0]], np.uint8),
        classes=("a", "b"),
        task="multi-label",
    )
    assert [_bearing(images, label).tolist() for label in (0, 1)] == [[True, True, False], [False, True, False]]


_OF_TRAIN, _OF_IMAGES = (MemberRef(key=fake_key(name), member="features") for name in ("of train", "of images"))
_GIVEN = {"features": _OF_IMAGES, "train_features": _OF_TRAIN}
_NETWORK = {
    "model": {"name": "test_vit", "side": 160},
    "pretraining": {"kind": "file", "digest": "sha256:0"},
    "normalisation": {"mean": [1.0], "std": [2.0]},
}


def _features(images, *, network=_NETWORK):
    """Features of images, as the artifact has them: means of sixteenths of the image."""
    values = images.images_NHWC.reshape(len(images), 4, 4, 4, 4).mean(axis=(2, 4)).reshape(len(images), 16)
    return {"features.npy": values.astype(np.float32), "features.json": {"schema": 1, "network": network}}


@pytest.fixture(scope="module")
def given(inputs):
    """The inputs with features of a network that was trained elsewhere, and the encoder that is fitted to them."""
    train, images = inputs[_TRAIN.key, "train"], inputs[_IMAGES.key, "images"]
    found = dict(inputs)
    found[_OF_TRAIN.key, "features"], found[_OF_IMAGES.key, "features"] = _features(train), _features(images)
    context = FakeContext(found)
    METHODS["TrainEncoder"](TrainEncoderRequest(train=_TRAIN, features=_OF_TRAIN), context)
    made = context.result("encoder")
    blobs = {"weights.safetensors": made.read("weights.safetensors"), "encoder.json": made.json("encoder.json")}
    return found | {(_ENCODER.key, "encoder"): blobs}


def test_filters_decide_by_features_that_are_given_and_hand_on_those_of_what_they_took(given):
    filters = [Filter(centroid=CentroidFilter(keep=0.9)), Filter(confidence=ConfidenceFilter(minimum=0.5))]
    context = _filter(given, filters=filters, **_GIVEN)
    assert not [report for report in context.reports if report["activity"].startswith("embedding")]
    for name in ("accepted", "rejected"):
        images, found = read_image_set(context.result(name)), context.result(f"{name}_features")
        assert np.array_equal(found.array("features.npy"), _features(images)["features.npy"])
        assert found.json("features.json")["network"] == _NETWORK
    decisions = context.result("decisions").json("decisions.json")
    assert [item["kind"] for item in decisions["filters"]] == ["centroid", "confidence"]
    assert decisions["filters"][1]["kept"] > 60
    scores = context.result("decisions").array("scores.npy")
    train, images = given[_TRAIN.key, "train"], given[_IMAGES.key, "images"]
    values = _features(train)["features.npy"]
    standard = [(_features(one)["features.npy"] - values.mean(0)) / values.std(0) for one in (train, images)]
    centres = np.stack([standard[0][train.labels == label].mean(0) for label in (0, 1)])
    assert np.allclose(scores[:, 0], np.linalg.norm(standard[1] - centres[images.labels], axis=1), rtol=1e-4)


def test_an_encoder_that_embeds_images_itself_hands_on_no_features(inputs):
    assert sorted(_filter(inputs).output.members()) == ["accepted", "decisions", "rejected"]


def test_figures_of_a_set_name_the_network_and_have_no_gaussian_beside_them(given):
    context = FakeContext(given)
    request = AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER, **_GIVEN)
    METHODS["AssessImages"](request, context)
    quality = context.result("quality").json("quality.json")
    assert quality["features"]["network"] == {"model": "test_vit", "weights": "sha256:0", "side": 160}
    assert quality["features"]["size"] == 16
    assert sorted(quality["frechet"]) == ["floor", "ratio_to_floor", "sample_size", "synthetic_real"]
    assert quality["frechet"]["synthetic_real"] > 0
    assert quality["memorised"]["exact"] == 4


_INCEPTION = {"inception_features": _OF_IMAGES, "train_inception_features": _OF_TRAIN}


def test_fid_and_kid_are_taken_on_features_that_are_given_for_them_whatever_the_encoder(given, inputs):
    others = {key: given[key] for key in ((_OF_TRAIN.key, "features"), (_OF_IMAGES.key, "features"))}
    request = AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER)
    plain, measured = FakeContext(inputs), FakeContext(inputs | others)
    METHODS["AssessImages"](request, plain)
    METHODS["AssessImages"](AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER, **_INCEPTION), measured)
    found, without = (context.result("quality").json("quality.json") for context in (measured, plain))
    inception = found.pop("inception")
    assert found == without
    assert inception["network"] == {"model": "test_vit", "weights": "sha256:0", "side": 160}
    assert inception["feature_size"] == 16
    assert inception["fid"]["sample_size"] == inception["kid"]["sample_size"] == 30
    # As the network gave them, and not as an encoder standardises them.
    values = [given[key]["features.npy"] for key in ((_OF_IMAGES.key, "features"), (_OF_TRAIN.key, "features"))]
    assert inception["fid"] == pytest.approx(as_json(compare(*values, seed=0).document()), rel=1e-6)


def test_features_of_one_kind_of_images_alone_or_by_other_weights_give_no_fid(given):
    request = AssessImagesRequest(images=_IMAGES, train=_TRAIN, encoder=_ENCODER, **_GIVEN)
    request.inception_features.CopyFrom(_OF_IMAGES)
    with pytest.raises(UserError, match=r"inception_features: FID and KID.*those of one of the two. Give both"):
        METHODS["AssessImages"](request, FakeContext(given))
    request.train_inception_features.CopyFrom(_OF_TRAIN)
    other = _features(given[_IMAGES.key, "images"], network=_NETWORK | {"pretraining": {"digest": "sha256:1"}})
    request.inception_features.CopyFrom(MemberRef(key=fake_key("others"), member="features"))
    with pytest.raises(UserError, match=r"inception_features: features are of the network.*another pretraining"):
        METHODS["AssessImages"](request, FakeContext(given | {(fake_key("others"), "features"): other}))


def test_a_projection_is_of_the_features_that_are_given(given):
    context = FakeContext(given | {(_IMAGES.key, "rejected"): given[_TRAIN.key, "train"]})
    request = ProjectImagesRequest(
        accepted=_IMAGES,
        rejected=MemberRef(key=_IMAGES.key, member="rejected"),
        train=_TRAIN,
        encoder=_ENCODER,
        accepted_features=_OF_IMAGES,
        rejected_features=_OF_TRAIN,
        train_features=_OF_TRAIN,
        neighbours=15,
        min_dist=0.1,
        most=50,
    )
    METHODS["ProjectImages"](request, context)
    projection = context.result("projection")
    assert projection.array("coordinates.npy").shape == (150, 2)
    assert projection.json("projection.json")["shown"] == {"real": 50, "accepted": 50, "rejected": 50}


def _refusal(inputs, **fields):
    with pytest.raises(UserError) as caught:
        _filter(inputs, **fields)
    return str(caught.value)


def test_features_are_there_where_the_encoder_was_fitted_to_features_and_there_alone(given, inputs):
    rule = "features stand for images where the encoder was fitted to features, and there alone"
    assert _refusal(given) == f"features: {rule}; received none. Extract them with the encoder's network."
    assert _refusal(given, features=_OF_IMAGES).startswith(f"train_features: {rule}; received none.")
    both = inputs | {key: given[key] for key in ((_OF_TRAIN.key, "features"), (_OF_IMAGES.key, "features"))}
    assert _refusal(both, **_GIVEN) == f"features: {rule}; received features. Leave them out."


def test_features_of_another_network_than_the_encoders_are_refused(given):
    images = given[_IMAGES.key, "images"]
    other = _features(images, network=_NETWORK | {"pretraining": {"kind": "file", "digest": "sha256:1"}})
    said = _refusal(given | {(_OF_IMAGES.key, "features"): other}, **_GIVEN)
    assert said.startswith("features: features are of the network that is fitted to them; received another pretr")


def test_features_of_other_images_are_damage(given):
    with pytest.raises(DataLoss, match="features of 80 images are float32"):
        _filter(given, features=_OF_TRAIN, train_features=_OF_TRAIN)


def test_an_encoder_that_is_fitted_to_features_is_not_trained_in_steps(given):
    request = TrainEncoderRequest(train=_TRAIN, features=_OF_TRAIN, steps=5)
    with pytest.raises(UserError, match=r"encoder\.steps: is of a network that is trained here.*received 5"):
        METHODS["TrainEncoder"](request, FakeContext(given))
