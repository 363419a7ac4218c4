"""What a trial could detect, said before anything is trained (`syntrial plan`)."""

from syntrial.analysis.decidable import undecidable_before
from syntrial.analysis.metrics import METRICS
from syntrial.analysis.power import PlanningAssumptions, detectable_effect_before
from syntrial.experiment.model import Experiment
from syntrial.sources.medmnist import MEDMNIST
from syntrial.v1.data_preparation_pb2 import PhantomSource, Source


def detectable_words(experiment: Experiment, source: Source) -> str:
    """A sentence on the effect that this trial could detect, with its assumptions.

    `source` is the data set's. Where the size of the test split is not known before preparation, the sentence says so.
    """
    spec = experiment.spec
    counts = patients_of(source)
    if counts is None:
        return "The effect that this trial could detect is known once the data set is prepared: it depends on its size."
    patients, training = counts
    metric, assumptions = METRICS[spec.endpoint.metric], PlanningAssumptions()
    effect = detectable_effect_before(
        patients, replicates=spec.replicates, metric=metric.name, training_cases=training, assumptions=assumptions
    )
    if effect is None:
        reasons = undecidable_before(patients, replicates=spec.replicates, by_class=metric.by_class)
        return f"This trial can end in no outcome but inconclusive: {'; '.join(reasons)}."
    smallest = spec.endpoint.smallest_effect
    warning = "" if effect <= smallest else f" That is more than the smallest effect of interest, {smallest:g}."
    return (
        f"With {sum(patients)} test patients and {spec.replicates} replicates this trial detects differences in "
        f"{metric.words} of about {effect:.3f} or more (80% power), {assumptions.words(metric)}.{warning}"
    )


def patients_of(source: Source) -> tuple[list[int], int] | None:
    """Test patients of each class, and training images, where they are known before the data is read.

    Of a MedMNIST set each image is a patient, and classes are taken as equally frequent.
    """
    match source.WhichOneof("kind"):
        case "medmnist":
            row = MEDMNIST[source.medmnist.name]
            classes = 2 if row.task == "multi-label" else len(row.classes)
            return _shared(row.images[2], [1 / classes] * classes), row.images[0]
        case "phantom":
            phantom = source.phantom
            chest = phantom.variant == PhantomSource.VARIANT_CHEST
            shares = [1 - phantom.prevalence, phantom.prevalence] if chest else [1 / 9] * 9
            return _shared(phantom.test_patients, shares), phantom.train_patients * phantom.images_per_patient
    return None


def _shared(count: int, shares: list[float]) -> list[int]:
    return [max(1, round(count * share)) for share in shares]
