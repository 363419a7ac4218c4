"""Trials as a store knows them: what it files under an experiment's identifier, on a laptop its name.

`syntrial.trial.run` files a trial when it registers it; here its record is read, and what its classifiers were shown
besides is filed with it. Called by export, by `shown`, by the client side of a cluster, and by scripts that speak to
stages.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from rapidfuzz import process

from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.keys import canonical_digest, canonical_json
from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import ArtifactMissing, UserError
from syntrial.experiment.base import NAME_PATTERN
from syntrial.rpc.calls import asked
from syntrial.v1.generation_pb2 import SampleImagesRequest

SAMPLE_METHOD: Final = "syntrial.v1.GenerationService/SampleImages"
REPORT_METHOD: Final = "syntrial.v1.AnalysisService/WriteReport"

_NAME: Final = NAME_PATTERN.strip("^$")
_FEWEST_DIGITS: Final = 6
"""Of a key, so that a word such as "edm" is not taken for the beginning of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """A trial's plan, and which of its steps are done."""

    uid: str
    labels: Mapping[str, str]
    """Label of each step by key, in the plan's order."""
    about: Mapping[str, str]
    """What each step's result is called among those of its method, for example "edm", by key."""
    manifests: Mapping[str, Manifest]
    """Of the steps that are done."""

    def keys_of(self, method: str) -> list[str]:
        """Keys of the finished steps of a method, in the plan's order."""
        return [key for key in self.labels if key in self.manifests and self.manifests[key].method == method]

    @property
    def report(self) -> str | None:
        """The key of the report, where there is one."""
        return next(iter(self.keys_of(REPORT_METHOD)), None)


def read_step_labels(store: ArtifactStore, *, uid: str) -> dict[str, str]:
    """The label of each step by key, in the plan's order; raises ArtifactMissing where nothing is filed yet."""
    plan = _read_plan(store, uid=uid)
    return {key: plan["labels"].get(key, key) for key in plan["keys"]}


def read_trial_record(store: ArtifactStore, *, uid: str) -> TrialRecord:
    """The trial that the store files under `uid`; raises ArtifactMissing where it has none."""
    plan = _read_plan(store, uid=uid)
    labels = {key: plan["labels"].get(key, key) for key in plan["keys"]}
    # A plan that was filed by an earlier version has labels alone.
    about = {key: plan.get("about", {}).get(key) or label for key, label in labels.items()}
    done = store.done(labels)
    keys = [key for key in labels if key in done]
    found = zip(keys, store.each(store.manifest, keys), strict=True)
    manifests = {key: m for key, m in found if m is not None}
    return TrialRecord(uid=uid, labels=labels, about=about, manifests=manifests)


def sources_on_record(store: ArtifactStore, *, uid: str) -> list[str]:
    """Digests of the data of the trial that the store files under `uid`; raises ArtifactMissing where it has none."""
    return list(_read_plan(store, uid=uid).get("sources", ()))


def _read_plan(store: ArtifactStore, *, uid: str) -> dict[str, Any]:
    data = store.experiment_file(uid, PLAN)
    if data is None:
        raise ArtifactMissing(f"the store {store.url} has no plan of experiment {uid} yet")
    plan: dict[str, Any] = json.loads(data)
    return plan


def find_report(store: ArtifactStore, *, uid: str) -> str | None:
    """The key of the report of the trial filed under `uid`, or None where it has none yet."""
    try:
        labels = read_step_labels(store, uid=uid)
    except ArtifactMissing:
        return None
    # The report is planned last; one small object is read for it and not the manifest of each step.
    key = next(reversed(labels), None)
    manifest = store.manifest(key) if key is not None else None
    return key if manifest is not None and manifest.method == REPORT_METHOD else None


def find_step(store: ArtifactStore, step: str, /, *, experiment: str | None = None) -> str:
    """The key of the step that a user names: by its label ("sample edm") or the first digits of its key.

    Looks in all trials of the store, or in the one filed as `experiment`. Raises UserError where none or several have
    it, with the nearest labels.
    """
    named: dict[str, str] = {}
    for uid in [experiment] if experiment else store.experiments():
        try:
            named |= read_step_labels(store, uid=uid)
        except ArtifactMissing:
            continue
    by_key = [key for key in named if len(step) >= _FEWEST_DIGITS and key.startswith(step)]
    found = by_key or [key for key, label in named.items() if label == step]
    if len(found) == 1:
        return found[0]
    nearest = [label for label, *_ in process.extract(step, sorted(set(named.values())), limit=3)]
    raise UserError(
        field="STEP",
        rule="is the label of one step, or the first digits of its key",
        received=f"{step}, which {len(found) or 'no'} steps of {store.url} have",
        remedy=f"Name one of their keys: {', '.join(key[:12] for key in found)}."
        if found
        else f"Nearest labels: {', '.join(nearest) or 'none'}.",
    )


def find_trained(
    store: ArtifactStore, word: str, /, *, verb: str, field: str, rule: str, example: str
) -> tuple[str, Manifest | None]:
    """The key of a trial's training that a user names, and its manifest where it is done.

    Raises as `find_step`, and UserError for a step of another verb; `field`, `rule` and an `example` are for its words.
    """
    key = find_step(store, word)
    manifest = store.manifest(key)
    if manifest is not None and not manifest.method.endswith(f"/{verb}"):
        raise UserError(
            field=field,
            rule=rule,
            received=f"{word}, a step of {manifest.method.partition('/')[2]}",
            remedy=f"Name it by its label in `syntrial plan`, such as `{example}`.",
        )
    return key, manifest


def find_drawn(store: ArtifactStore, word: str, /) -> tuple[str, SampleImagesRequest] | None:
    """The key of the generator of a trial's set, EXPERIMENT/SET, and how the trial draws from it.

    Of a set with a search it is the generator that this chose. None for a word of another form.

    Raises UserError for a trial or a set that the store does not know, ArtifactMissing before its images are drawn.
    """
    if re.fullmatch(f"{_NAME}/{_NAME}", word) is None:
        return None
    known: dict[str, list[str]] = {}
    for uid in store.experiments():
        try:
            drawn = _read_plan(store, uid=uid).get("drawn", {})
        except ArtifactMissing:
            continue
        title = _title(store, uid=uid)
        for one, key in drawn.items():
            known.setdefault(f"{title}/{one}", []).append(key)
    found = list(dict.fromkeys(known.get(word, ())))
    if len(found) != 1:
        nearest = [one for one, *_ in process.extract(word, sorted(known), limit=3)]
        raise UserError(
            field="GENERATOR",
            rule="is EXPERIMENT/SET, a synthetic set whose generator is trained, and chosen where it is searched for",
            received=f"{word}, which {len(found) or 'no'} trials of {store.url} have",
            remedy="Name the key of its training: `syntrial plan` shows it."
            if found
            else f"Nearest: {', '.join(nearest) or 'none'}. `syntrial status` says how far a search is.",
        )
    sampling = asked(store, found[0], SampleImagesRequest)
    return sampling.generator.key, _sampler(sampling)


def _title(store: ArtifactStore, *, uid: str) -> str:
    """What a trial's file calls it: on a laptop that is its identifier, on a cluster another word."""
    text = store.experiment_file(uid, "experiment.yaml")
    tree = yaml.safe_load(text) if text is not None else {}
    return str(tree.get("metadata", {}).get("name", uid))


def _sampler(sampling: SampleImagesRequest) -> SampleImagesRequest:
    """Sampler, micro-batches and guide alone."""
    for name in ("generator", "train", "ratio", "oversample", "balance", "seed", "drawn"):
        sampling.ClearField(name)
    return sampling


def sampling_of(store: ArtifactStore, generator: str, /) -> SampleImagesRequest | None:
    """How a trial of the store draws from the generator of this key: sampler, micro-batches and guide alone.

    None where no trial has drawn from it yet.
    """
    for uid in store.experiments():
        try:
            record = read_trial_record(store, uid=uid)
        except ArtifactMissing:
            continue
        for key in record.keys_of(SAMPLE_METHOD) if generator in record.labels else ():
            if record.manifests[key].request.get("generator", {}).get("key") == generator:
                return _sampler(asked(store, key, SampleImagesRequest))
    return None


def file_shown(store: ArtifactStore, classifier: str, *, keys: Sequence[str]) -> None:
    """Keeps the steps `keys`, which show images to the classifier of the step `classifier`, as long as its trials.

    A trial that is deleted leaves them to garbage collection. Nothing is filed for a classifier of no trial.
    """
    name = f"shown-{canonical_digest([*keys])[:16]}.json"
    for uid in store.experiments():
        try:
            labels = read_step_labels(store, uid=uid)
        except ArtifactMissing:
            continue
        if classifier in labels:
            store.put_experiment_file(uid, name, canonical_json({"keys": [*keys]}))
