"""A data set for pretraining does not keep what the trial's verdict is read from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from syntrial_data_prep.prepare import prepare_dataset

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.testing import FakeContext, fake_key
from syntrial.sources.digests import resolve
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import (
    HeldOut,
    ImageFormat,
    LeakPolicy,
    NpzSource,
    PrepareDatasetRequest,
    Source,
)
from tests.unit.data_prep.drawn_images import altered, as_split, chests

TRIAL = fake_key("the trial's data set")
DRAWN = chests(240, side=32, seed=3)
OWN, LINK = DRAWN[:80], DRAWN[80:]


def prepared(
    folder: Path,
    train: Any,
    *,
    policy: LeakPolicy | None = None,
    patients: Any = None,
    same_source: bool = False,
    trial: tuple[ImageSet, ImageSet] | None = None,
    size: int = 32,
) -> FakeContext:
    """Prepares a link of `train` and other images beside a trial of OWN, 40 images for validation and test each."""
    validation, test = trial or (as_split(OWN[:40]), as_split(OWN[40:]))
    path = folder / "link.npz"
    arrays = {"train": train, "val": LINK[100:130], "test": LINK[130:]}
    named = {f"{name}_images": images for name, images in arrays.items()}
    named |= {f"{name}_labels": np.arange(len(images)) % 2 for name, images in arrays.items()}
    if patients is not None:
        named |= {"train_patients": patients, "val_patients": np.arange(900, 930), "test_patients": np.arange(930, 960)}
    np.savez(path, **named)
    found = resolve(Source(npz=NpzSource()), path, cache=folder / "cache")
    assert found.path is not None
    inputs: dict[Any, Any] = {(TRIAL, "validation"): validation, (TRIAL, "test"): test}
    context = FakeContext(inputs, sources={found.source.digest: found.path})
    request = PrepareDatasetRequest(
        source=found.source,
        format=ImageFormat(size=size, resize=ImageFormat.RESIZE_BICUBIC, color_mode=ImageFormat.COLOR_MODE_SOURCE),
        leaks=policy,
        held_out=HeldOut(
            validation=MemberRef(key=TRIAL, member="validation"),
            test=MemberRef(key=TRIAL, member="test"),
            same_source=same_source,
        ),
    )
    prepare_dataset(request, context)
    return context


def leaks_of(context: FakeContext) -> list[tuple[str, list[str], int, int]]:
    audit = context.result("audit").json("audit.json")
    return [(leak["kind"], leak["between"], leak["count"], leak["dropped"]) for leak in audit["leaks"]]


def test_images_of_the_trials_splits_are_left_out_and_counted(tmp_path: Path) -> None:
    context = prepared(tmp_path, np.concatenate([LINK[:100], OWN[40:46], OWN[:3]]))
    assert leaks_of(context) == [
        ("exact-duplicate", ["train", "the trial's validation"], 3, 3),
        ("exact-duplicate", ["train", "the trial's test"], 6, 6),
    ]
    assert len(read_image_set(context.result("train"))) == 100


def test_of_a_clean_set_nothing_is_left_out(tmp_path: Path) -> None:
    assert leaks_of(prepared(tmp_path, LINK[:100])) == []


def test_altered_images_of_the_trial_are_told_and_go_where_the_policy_says_so(tmp_path: Path) -> None:
    train = np.concatenate([LINK[:100], altered(OWN[40:44], "mirrored")])
    expected = ("near-duplicate", ["train", "the trial's test"], 4)
    assert leaks_of(prepared(tmp_path, train)) == [(*expected, 0)]
    dropping = prepared(tmp_path, train, policy=LeakPolicy(near_duplicates=LeakPolicy.ACTION_DROP))
    assert leaks_of(dropping) == [(*expected, 4)]
    assert len(read_image_set(dropping.result("train"))) == 100


def test_a_policy_of_stopping_ends_the_step_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no exact duplicate stands in train and in the trial's test .* the trial's test/f0"
    ):
        prepared(
            tmp_path,
            np.concatenate([LINK[:100], OWN[40:42]]),
            policy=LeakPolicy(exact_duplicates=LeakPolicy.ACTION_STOP),
        )


def test_a_chain_that_ends_in_the_trials_own_test_set_is_stopped_as_a_leak(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other images than the trial's .* Take this data set out of the .*`chain`"):
        prepared(tmp_path, OWN[40:])


def test_patients_are_compared_where_the_source_is_the_trials_own_and_only_there(tmp_path: Path) -> None:
    # Pseudonyms follow from the content: those of the link's own file, for the first five of its patients.
    patients = np.arange(100)
    first = prepared(tmp_path, LINK[:100], patients=patients)
    own = [str(name) for name in read_image_set(first.result("train")).origins["patient"]][:5]
    trial = as_split(OWN[:40], patients=[f"v{n}" for n in range(40)]), as_split(OWN[40:], patients=own * 8)
    same = prepared(tmp_path, LINK[:100], patients=patients, same_source=True, trial=trial)
    assert leaks_of(same) == [("shared-patient", ["train", "the trial's test"], 5, 5)]
    assert leaks_of(prepared(tmp_path, LINK[:100], patients=patients, trial=trial)) == []


def test_images_take_the_channels_of_the_trials(tmp_path: Path) -> None:
    colour = np.repeat(OWN, 3, axis=3)
    context = prepared(tmp_path, LINK[:100], trial=(as_split(colour[:40]), as_split(colour[40:])))
    assert read_image_set(context.result("train")).images_NHWC.shape == (100, 32, 32, 3)


def test_another_size_than_the_trials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"format\.size: a data set for pretraining has the size of the trial's images"):
        prepared(tmp_path, LINK[:100], size=28)
