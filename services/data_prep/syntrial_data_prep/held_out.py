"""What a data set that a classifier is pretrained with must not hold: the trial's validation and test images; nor a
pool of unlabelled images.

Called by `prepare` where a request names them, and by `pooling`; `leak_search` looks for leaks within the data set
itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.imagesets.near.likeness import coefficients, evened
from syntrial.imagesets.near.neighbours import Codes
from syntrial.v1.data_preparation_pb2 import LeakPolicy
from syntrial_data_prep import duplicates, leaks
from syntrial_data_prep.form import Formed
from syntrial_data_prep.leak_search import Searched, Side, copies_between


def trained_on(whole: Iterable[str]) -> list[str]:
    """The splits, of these, that networks are trained with or chosen by."""
    return [name for name in whole if name != "test"]


def title_of(split: str) -> str:
    """What leaks call a split of the trial, beside those of the data set itself."""
    return f"the trial's {split}"


def search_held_out(
    whole: Mapping[str, Formed],
    held: Mapping[str, ImageSet],
    *,
    digests: Mapping[str, Sequence[str]],
    searched: Searched,
    policy: LeakPolicy,
    same_source: bool,
    on_progress: Callable[[int, int], None],
) -> list[leaks.Leak]:
    """Leaks between the parts of `whole` that are trained on and the trial's splits, `held` by their titles.

    Patients are compared where both are made of one source; else the same word may be of two people. What near means is
    calibrated on the data set's training images, as within it. `on_progress` gets pairs done, and of how many.
    """
    exact = leaks.action_of(policy.exact_duplicates, default=LeakPolicy.ACTION_DROP)
    shared = leaks.action_of(policy.shared_patients, default=LeakPolicy.ACTION_DROP)
    close = leaks.action_of(policy.near_duplicates, default=LeakPolicy.ACTION_WAIVE)
    losers = trained_on(whole)
    total, done = sum(len(whole[loser]) for loser in losers) * len(held), 0
    found: list[leaks.Leak] = []
    for title, images in held.items():
        keeper = Side(
            title=title,
            names=[f"{title}/{file}" for file in images.origins.get("file", range(len(images)))],
            digests=duplicates.hashes(images.images_NHWC),
            likeness=evened(coefficients(images.images_NHWC), searched.scale),
        )
        owners = [str(patient) for patient in images.origins.get("patient", ())] if same_source else []
        for name in losers:
            part = whole[name]
            named = list(part.patients or ()) if owners else []
            if named:
                leak = leaks.of_patients(named, owners, between=(name, title), action=shared, names=part.names)
                found += [leak] if leak is not None else []
            found += copies_between(
                Side(title=name, names=part.names, digests=digests[name], likeness=searched.likeness[name]),
                keeper,
                calibration=searched.calibration,
                # Images of one patient are no near duplicates, but that patient's.
                apart=_codes(named, owners) if named else None,
                exact=exact,
                near=close,
                on_progress=lambda count, done=done: on_progress(done + count, total),  # type: ignore[misc]
            )
            done += len(part)
    return found


def require_others(whole: Mapping[str, Formed], found: Sequence[leaks.Leak], *, title: str) -> None:
    """Raises UserError where what the trial holds out is all that a split of the data set has."""
    for name in trained_on(whole):
        kept: NDArray[np.bool_] = leaks.keep_mask(len(whole[name]), found, split=name)
        if len(kept) and not kept.any():
            raise UserError(
                field=title,
                rule="a network is pretrained with other images than the trial's validation and test images",
                received=f"{len(kept)} images for {name}, of which each is one of these or of their patients",
                remedy="Take this data set out of the classifier's `chain`: it would leak into the verdict.",
            )


def _codes(first: Sequence[str], second: Sequence[str]) -> tuple[Codes, Codes]:
    """A number for each patient, the same on both sides."""
    numbers: dict[str, int] = {}
    one, other = ([numbers.setdefault(name, len(numbers)) for name in side] for side in (first, second))
    return np.array(one, np.int64), np.array(other, np.int64)
