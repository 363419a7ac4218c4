"""The plan of a trial that has its verdict, read back from the store: a later version does not run it again.

A plan follows the code that makes it, so that a release with another version of a stage would plan, and run, every
finished trial anew. What was registered and finished stands instead, until the specification changes or the user asks
for it (`syntrial retry`). Called by the controller.
"""

from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from syntrial.artifacts.manifest import Manifest
from syntrial.artifacts.store import ArtifactStore
from syntrial.errors import UserError
from syntrial.experiment.file import parse_experiment
from syntrial.experiment.model import Experiment
from syntrial.plan.steps import Plan, Step
from syntrial.stages import STAGES
from syntrial.trial.record import REPORT_METHOD, find_report, read_trial_record
from syntrial.trial.run import BESIDE_THE_RESULT

EVALUATION_METHOD: Final = "syntrial.v1.ClassificationService/EvaluateClassifier"
DATASET_METHOD: Final = "syntrial.v1.DataPreparationService/PrepareDataset"

_SERVICES: Final = frozenset(stage.service for stage in STAGES.values())


def kept_plan(experiment: Experiment, *, uid: str, store: ArtifactStore) -> Plan | None:
    """The plan on record under `uid`, where all its steps stand and it is of what `experiment` asks; else None.

    Its steps are done, so their requests are left out.
    """
    asked = store.experiment_file(uid, "experiment.yaml")
    if asked is None or not _asks_the_same(asked, experiment) or find_report(store, uid=uid) is None:
        return None
    record = read_trial_record(store, uid=uid)
    if record.report is None or len(record.manifests) < len(record.labels):
        return None
    if not all(found.method.partition("/")[0] in _SERVICES for found in record.manifests.values()):
        return None
    steps = [
        Step(
            key=key,
            method=record.manifests[key].method,
            request=Empty(),
            label=label,
            about=record.about[key],
            after=_inputs(record.manifests[key]),
        )
        for key, label in record.labels.items()
    ]
    late = (EVALUATION_METHOD, REPORT_METHOD)
    return Plan(
        training=tuple(step for step in steps if step.method not in late),
        evaluation=tuple(step for step in steps if step.method == EVALUATION_METHOD),
        report=tuple(step for step in steps if step.method == REPORT_METHOD),
        dataset=next((step.key for step in steps if step.method == DATASET_METHOD), ""),
    )


def _inputs(manifest: Manifest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(manifest.input_keys))


def _asks_the_same(text: bytes, experiment: Experiment) -> bool:
    try:
        before = parse_experiment(text.decode())
    except (UserError, UnicodeDecodeError):
        return False
    return _science(before) == _science(experiment)


def _science(experiment: Experiment) -> dict[str, Any]:
    tree: dict[str, Any] = experiment.spec.model_dump(mode="json", exclude=set(BESIDE_THE_RESULT))
    return tree
