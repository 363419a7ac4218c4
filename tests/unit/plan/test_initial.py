"""Generators that begin with an earlier one: their steps and keys, their lineage, and what the model refuses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from syntrial.artifacts.gc import collect
from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import SourceError, UserError
from syntrial.experiment.file import to_yaml, validate
from syntrial.plan.planner import plan
from syntrial.plan.size import size_of
from syntrial.plan.steps import Plan, Step
from syntrial.rpc.testing import run_step
from syntrial.sources.named import science_of
from syntrial.sources.resolve import resolve_recorded, resolve_sources
from syntrial.trial.run import draft, register
from tests.unit.plan.deciding import plan_whole

KEY = "9f3c" * 16
DRAWN = {"phantom": {"trainPatients": 8, "validationPatients": 4, "testPatients": 8}, "size": 16}


def experiment(generator: Mapping[str, Any], dataset: Mapping[str, Any] | None = None, **item: Any) -> Any:
    return validate(
        {
            "apiVersion": "syntrial.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": "x"},
            "spec": {
                "dataset": dataset or DRAWN,
                "synthetic": [{"name": "edm", "generator": generator, **item}],
                "arms": ["synthetic"],
                "controls": "none",
            },
        }
    )


def exported(folder: Path, family: str = "gan") -> Path:
    folder.mkdir()
    subject = {"classes": ["a", "b"], "task": "multi-class", "shape": [16, 16, 1]}
    description = {"family": family, "subject": subject, "settings": {}}
    (folder / "generator.json").write_text(json.dumps(description))
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def planned(item: Any, base: Path = Path(), earlier: Mapping[str, str] | None = None) -> Plan:
    store = ArtifactStore(MemoryBackend())
    by_name = {} if earlier is None else resolve_sources(experiment({"pca": {}}), base=base).by_name
    sources = by_name or resolve_sources(item, base=base, store=store).by_name
    found = plan_whole(item, sources, earlier=earlier)
    assert len(found.steps) == size_of(item.spec).steps
    return found


def steps(found: Plan, method: str) -> list[Any]:
    return [step.request for step in found.steps if step.method.endswith(f"/{method}")]


def test_a_folder_is_imported_once_and_each_replicate_begins_with_it(tmp_path: Path) -> None:
    exported(tmp_path / "earlier")
    item = experiment({"gan": {"initial": {"folder": "earlier"}, "freeze": ["discriminator.levels.0"]}}, replicates=2)
    found = planned(item, tmp_path)
    (imported,) = steps(found, "ImportGenerator")
    trainings = steps(found, "TrainGenerator")
    assert len(trainings) == 2
    assert {(one.initial.key, one.initial.member) for one in trainings} == {(imported.header.key, "generator")}
    assert all(list(one.freeze) == ["discriminator.levels.0"] for one in trainings)
    assert imported.digest.startswith("sha256:")
    assert found.given == frozenset()


def test_where_a_folder_lies_enters_no_key_and_what_is_in_it_does(tmp_path: Path) -> None:
    exported(tmp_path / "one")
    exported(tmp_path / "two")
    keys, texts = [], []
    for name in ("one", "two"):
        item = experiment({"gan": {"initial": {"folder": name}}})
        keys.append([step.key for step in planned(item, tmp_path).steps])
        texts.append(to_yaml(science_of(item, resolve_sources(item, base=tmp_path).by_name)))
    assert keys[0] == keys[1]
    assert texts[0] == texts[1]
    assert "sha256:" in texts[0]
    (tmp_path / "two" / "weights.safetensors").write_bytes(b"others")
    other = [step.key for step in planned(experiment({"gan": {"initial": {"folder": "two"}}}), tmp_path).steps]
    assert other != keys[1]


def test_a_generator_in_latents_begins_with_the_autoencoder_of_the_earlier_one() -> None:
    item = experiment({"latentDiffusion": {"preset": "pico", "initial": {"key": KEY}}})
    found = planned(item, earlier={})
    assert not steps(found, "TrainAutoencoder")
    (training,) = steps(found, "TrainGenerator")
    (encoding,) = steps(found, "EncodeImages")
    assert training.initial == training.latent.autoencoder == encoding.autoencoder
    assert (training.initial.key, training.initial.member) == (KEY, "generator")
    assert found.given == {KEY}


@pytest.mark.parametrize("of", ["this", "another", "nobody"])
def test_lineage_is_proven_where_the_key_is_of_a_training_on_this_trials_own_split(of: str) -> None:
    item = experiment({"gan": {"initial": {"key": KEY}}})
    dataset = planned(item, earlier={}).dataset
    earlier = {"this": {KEY: dataset}, "another": {KEY: "0" * 64}, "nobody": {KEY: ""}}[of]
    (report,) = steps(planned(item, earlier=earlier), "WriteReport")
    assert report.synthetic[0].proven_lineage == (of == "this")


def test_lineage_of_a_folder_is_never_proven(tmp_path: Path) -> None:
    exported(tmp_path / "earlier")
    item = experiment({"gan": {"initial": {"folder": "earlier"}}})
    (report,) = steps(planned(item, tmp_path), "WriteReport")
    assert not report.synthetic[0].proven_lineage


@pytest.mark.parametrize(
    ("generator", "expected"),
    [
        ({"gan": {"freeze": ["generator.basis"]}}, r"generator\.gan\.freeze: .*weights of `initial`.*Name a generator"),
        ({"gan": {"initial": {}}}, r"gan\.initial.*needs exactly one of folder and key"),
        ({"gan": {"initial": {"folder": "a", "key": KEY}}}, r"gan\.initial.*exactly one of folder and key"),
        ({"gan": {"initial": {"key": "9f3c"}}}, r"gan\.initial\.key"),
        ({"pca": {"initial": {"key": KEY}}}, r"pca\.initial"),
        (
            {"latentDiffusion": {"initial": {"key": KEY}, "autoencoder": {"factor": 4}}},
            r"latentDiffusion\.autoencoder: is that of the generator in `initial`; received it beside",
        ),
    ],
)
def test_what_is_said_of_no_start_or_of_two_is_refused(generator: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        experiment(generator)


def test_a_search_tries_neither_starts_nor_generators_that_have_their_own() -> None:
    tuned = {"gan": {"initial": {"key": KEY}}}
    for tune in (
        {"over": {"initial.key": {"choice": [KEY]}}, "trials": 2},
        {"over": {}, "among": [{"diffusion": {"initial": {"key": KEY}}}], "trials": 2},
    ):
        with pytest.raises(UserError, match="initial"):
            experiment(tuned, tune=tune)


def test_a_folder_of_another_family_or_of_none_is_refused(tmp_path: Path) -> None:
    exported(tmp_path / "earlier", family="diffusion")
    item = experiment({"gan": {"initial": {"folder": "earlier"}}})
    field = r"spec\.synthetic\[0\]\.generator\.gan\.initial\.folder"
    with pytest.raises(UserError, match=rf"{field} \(generator\.json\): .*family \(gan\).*diffusion"):
        resolve_sources(item, base=tmp_path)
    (tmp_path / "earlier" / "weights.safetensors").unlink()
    with pytest.raises(SourceError, match=rf"{field}: .*without weights\.safetensors"):
        resolve_sources(item, base=tmp_path)


def stored(store: ArtifactStore, *chain: Step) -> None:
    """Steps as done, with what each reads."""
    for step in chain:

        def verb(request: Any, context: Any) -> None:
            names = (
                ("train", "validation", "test")
                if request.DESCRIPTOR.name == "PrepareDatasetRequest"
                else ("generator",)
            )
            for field in ("train", "initial"):
                if request.DESCRIPTOR.fields_by_name.get(field) and request.HasField(field):
                    context.open(getattr(request, field)).read("data")
            for name in names:
                context.output.write(name, "data", name.encode())

        run_step(verb, step.request, store)


def test_a_key_is_looked_up_before_anything_runs_and_what_it_was_made_from_is_followed() -> None:
    store = ArtifactStore(MemoryBackend())
    field = r"spec\.synthetic\[0\]\.generator\.gan\.initial\.key"
    missing = experiment({"gan": {"initial": {"key": KEY}}})
    for resolve in (
        lambda item: resolve_sources(item, base=Path(), store=store),
        lambda item: resolve_recorded(item, store=store, uid="uid"),
    ):
        with pytest.raises(UserError, match=rf"{field}: .*received 9f3c9f3c9f3c…, which is no finished step"):
            resolve(missing)
    first = planned(experiment({"gan": {}}))
    data, training = (
        next(step for step in first.steps if step.method.endswith(f"/{name}"))
        for name in ("PrepareDataset", "TrainGenerator")
    )
    stored(store, data, training)
    for key, family, expected in (
        (data.key, "gan", "a finished PrepareDataset"),
        (training.key, "diffusion", "a training of another family"),
    ):
        with pytest.raises(UserError, match=expected):
            resolve_sources(experiment({family: {"initial": {"key": key}}}), base=Path(), store=store)
    second = experiment({"gan": {"initial": {"key": training.key}}})
    sources = resolve_sources(second, base=Path(), store=store)
    assert sources.earlier == {training.key: data.key}
    # The experiment that trained it may be gone.
    register(draft(second, sources), store=store)
    assert set(collect(store, older_than=-1.0).kept) == {training.key, data.key}
    # A chain of starts descends from the same split; without one of its links nobody can show that.
    again = plan(second, sources.by_name, earlier=sources.earlier)
    (further,) = (step for step in again.steps if step.method.endswith("/TrainGenerator"))
    stored(store, further)
    third = experiment({"gan": {"initial": {"key": further.key}}})
    assert resolve_sources(third, base=Path(), store=store).earlier == {further.key: data.key}
    store.backend.delete(f"artifacts/{training.key}/manifest.json")
    assert resolve_sources(third, base=Path(), store=store).earlier == {further.key: ""}
