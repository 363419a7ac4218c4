"""Earlier generators in a store whose weights a training begins with: that each is there, and what it was made from.

Called by `syntrial.sources.resolve`, before anything is planned.
"""

from collections.abc import Mapping

from pydantic.alias_generators import to_camel

from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import DataLoss, UserError, Violation
from syntrial.experiment.model import Experiment
from syntrial.sources.named import initial_of

_TRAINING = "/TrainGenerator"
_PREPARES = "syntrial.v1.DataPreparationService/"
_DATA_SET = f"{_PREPARES}PrepareDataset"
_HELD_OUT = frozenset({"validation", "test"})


def earlier_generators(experiment: Experiment, *, store: ArtifactStore | None) -> Mapping[str, str]:
    """What `Sources.earlier` holds. Raises UserError, with all that is wrong, for a key that the store has not, and for
    one that is no generator or one of another family.
    """
    found: dict[str, str] = {}
    violations: list[Violation] = []
    for number, item in enumerate(experiment.spec.synthetic):
        initial = initial_of(item.generator)
        if item.generator is None or initial is None or initial.key is None:
            continue
        key, family = initial.key, item.generator.kind
        manifest = _manifest(store, key)
        received = _what_is_wrong(manifest, family=family)
        if received:
            violations.append(
                Violation(
                    field=f"spec.synthetic[{number}].generator.{to_camel(family)}.initial.key",
                    rule=f"is the key of a finished training of {to_camel(family)} in the trial's store",
                    received=f"{key[:12]}…, {received}" + ("" if store is None else f" of {store.url}"),
                    remedy="steps.csv of its experiment's export has its key; from another store, export it with "
                    "`--include generators` and name the folder.",
                )
            )
        elif store is not None:
            found[key] = _made_from(store, key)
    if violations:
        raise UserError(violations=violations)
    return found


def _what_is_wrong(manifest: Manifest | None, *, family: str) -> str:
    if manifest is None:
        return "which is no finished step"
    if not manifest.method.endswith(_TRAINING) or "generator" not in manifest.members:
        return f"a finished {manifest.method.partition('/')[2]}"
    if family not in manifest.request:
        return "a training of another family"
    return ""


def _made_from(store: ArtifactStore, key: str) -> str:
    """The key of the one data set that all of it descends from, by its training split; "" where that is not so.

    Pools of unlabelled images count as of the data set beside whose held-out images they were prepared: they were
    searched for these.
    """
    roots: set[str] = set()
    seen, todo = {key}, [key]
    while todo:
        manifest = _manifest(store, todo.pop())
        if manifest is None:
            return ""
        prepares = manifest.method.startswith(_PREPARES)
        if not prepares and any(ref.partition("#")[2] in _HELD_OUT for ref in manifest.inputs):
            return ""
        if not manifest.inputs:
            if manifest.method != _DATA_SET:
                return ""
            roots.add(manifest.key)
        new = manifest.input_keys - seen
        seen |= new
        todo += new
    return roots.pop() if len(roots) == 1 else ""


def _manifest(store: ArtifactStore | None, key: str) -> Manifest | None:
    try:
        return store.manifest(key) if store is not None else None
    except DataLoss:
        return None
