"""What crosses the fields of an Experiment, for the API server: CEL rules by the model that they stand on.

Each says what a `model_validator` of `syntrial.experiment.model` says, in the same words. `has` is false for a null.
What CEL cannot see is left to the controller, which says it as `Valid=False`: regular expressions, and the arms of the
whole trial, whose items are names or objects and therefore have no type that CEL knows.
"""

from typing import Any, Final

from pydantic.alias_generators import to_camel

from syntrial.cluster.crd.rule import Rule, one_of_rules
from syntrial.cluster.crd.synthetic_rules import SYNTHETIC_RULES
from syntrial.experiment.classifiers import (
    BALANCED_TWICE,
    FORM,
    NAMED_BEFORE_ITS_MODEL,
    NO_EPOCHS,
    OF_A_PROBE,
    PRUNES_NO_PROBE,
    Recipe,
    of_a_probe,
)
from syntrial.experiment.dataset import NO_LABELS, NOTHING_TO_DRAW, OF_LABELS, Intensity, Pool
from syntrial.experiment.encoder import OF_A_MODEL, OWN_ALONE, OWN_TRAINING, RANDOM_FEATURES
from syntrial.experiment.endpoint import ITSELF, NO_SUCH_PART, UNDECIDED
from syntrial.experiment.model import EQUAL_PODS, MOST_STEPS, Budget, Dataset, SourceFields
from syntrial.experiment.pods import (
    CLUSTERS_CLASSES,
    CLUSTERS_NODES,
    KEEPS_OFF,
    NO_CLASS_OF_THE_CLUSTERS,
    RESOURCE_RULES,
)
from syntrial.experiment.tasks import TaskFields

# The name of a classifier in cells: `Classifier.title`.
_TITLE: Final = (
    """(has(c.name) ? c.name : has(c.pretraining) && c.pretraining != 'none' ? c.model + '-hub' : c.model)"""
)
_SEEDS: Final = "(has(self.replicates) ? self.replicates : 5)"
_UNUSED_BY_A_PROBE: Final = " || ".join(
    f"has(self.recipe.{to_camel(name)})" for name in Recipe.model_fields if name not in OF_A_PROBE
)


def _parts(tune: str) -> str:
    """Parts of the trainings of a search's trials, at most, in CEL: `SearchFields.most_parts`."""
    return f"""(has({tune}.trials) ? {tune}.trials : 12)
    * (1 + (has({tune}.prune) ? (has({tune}.prune.after) ? {tune}.prune.after.size() : 1) : 0))"""


def _most_parts(tune: str) -> str:
    """Likewise of a generator's search: `TuneFields.most_parts`."""
    return f"""[{_parts(tune)},
    (has({tune}.trials) ? {tune}.trials : 12) * (has({tune}.snapshots) ? {tune}.snapshots : 1)].max()"""


# One arm of each set: the others are not seen from here. `Spec._countable`.
_STEPS: Final = f"""(has(self.classifiers) ? self.classifiers.map(c, has(c.tune)
    ? (has(c.tune.replicates) ? c.tune.replicates : 2) * {_parts("c.tune")} : 0).sum() : 0)
    + (has(self.synthetic) ? self.synthetic.map(s, (has(s.tune) ? 3 * {_most_parts("s.tune")} : 0)
    + (has(s.replicates) ? s.replicates : 1) * (3 + 2
    * (has(self.classifiers) ? self.classifiers.size() : 1)
    * [{_SEEDS}, has(self.exploratoryReplicates) ? self.exploratoryReplicates : {_SEEDS}].min())).sum() : 0)"""
_NO_SETS: Final = "(!has(self.synthetic) || self.synthetic.size() == 0)"
_PRIMARY: Final = "has(self.endpoint) && has(self.endpoint.primary)"
_AGAINST: Final = f"({_PRIMARY} && has(self.endpoint.primary.against))"
_ARM: Final = f"({_PRIMARY} && has(self.endpoint.primary.arm))"


def _named_parts(given: str, place: str) -> tuple[Rule, ...]:
    """That the synthetic set and the classifier of one side of the primary comparison, given where `given`, exist."""
    return (
        Rule(
            rule=f"""!({given} && has(self{place}.synthetic)) || (has(self.synthetic)
            && self.synthetic.exists(s, s.name == self{place}.synthetic))""",
            message=NO_SUCH_PART,
            with_received=f"""'{NO_SUCH_PART}; received ' + self{place}.synthetic
            + '. Name a set of spec.synthetic.'""",
            field=f"{place}.synthetic",
        ),
        Rule(
            rule=f"""!({given} && has(self{place}.classifier)) || (has(self.classifiers)
            ? self.classifiers.exists(c, {_TITLE} == self{place}.classifier)
            : self{place}.classifier == 'small-cnn')""",
            message=NO_SUCH_PART,
            with_received=f"""'{NO_SUCH_PART}; received ' + self{place}.classifier
            + '. Name a classifier of spec.classifiers.'""",
            field=f"{place}.classifier",
        ),
    )


def _redraws(dataset: str) -> str:
    """Whether a data set's limit is drawn for each epoch, in CEL."""
    return f"(has({dataset}.capDrawn) && {dataset}.capDrawn == 'each-epoch')"


def _evenly(training: str) -> str:
    """Whether a training repeats images of rarer classes, in CEL."""
    return f"(has({training}.recipe) && has({training}.recipe.sampling) && {training}.recipe.sampling == 'balanced')"


_PLACEMENT: Final = (
    Rule(
        rule=f"!has(self.priorityClassName) || !self.priorityClassName.startsWith('{CLUSTERS_CLASSES}')",
        message=NO_CLASS_OF_THE_CLUSTERS,
        field=".priorityClassName",
    ),
    Rule(
        rule=f"!has(self.nodeSelector) || !self.nodeSelector.exists(key, key in {[*CLUSTERS_NODES]})",
        message=KEEPS_OFF,
        field=".nodeSelector",
    ),
)

_TRAINING: Final = (
    Rule(
        rule="""!has(self.stages) || self.stages.size() == 0 || !has(self.stages[0].begin)
        || self.stages[0].begin != 'best'""",
        message="the first stage has none before it",
        field=".stages",
    ),
    Rule(
        rule="""!has(self.recipe) || !has(self.recipe.schedule) || self.recipe.schedule != 'decay'
        || has(self.recipe.decayEpochs)""",
        message="the schedule `decay` says after how many epochs the learning rate falls",
        field=".recipe",
    ),
)

RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "Dataset": (
        *one_of_rules(Dataset),
        Rule(
            rule="!has(self.trainCount) || !has(self.trainFraction) || self.trainFraction == 1.0",
            message="stands in place of `trainFraction`",
            field=".trainCount",
        ),
        Rule(
            rule="!has(self.capDrawn) || self.capDrawn != 'each-epoch' || has(self.capPerLabel)",
            message=NOTHING_TO_DRAW,
            field=".capDrawn",
        ),
    ),
    "SourceFields": one_of_rules(SourceFields),
    "Pool": (
        *one_of_rules(Pool),
        *(
            Rule(rule=f"!has(self.{to_camel(name)})", message=NO_LABELS, field=f".{to_camel(name)}")
            for name in OF_LABELS
        ),
    ),
    "TaskFields": one_of_rules(TaskFields),
    "Table": (Rule(rule="!has(self.file) || !has(self.files)", message="a table is one file, or one for each split"),),
    "LabelColumns": (
        Rule(
            rule="!has(self.columns) || (!has(self.column) && !has(self.separator))",
            message="labels are in one column or in several",
            field=".columns",
        ),
    ),
    "TableSplits": (
        Rule(
            rule="""!has(self.column)
            || !(has(self.train) || has(self.validation) || has(self.test) || has(self.trainval))""",
            message="splits are in a column or in lists",
            field=".column",
        ),
        Rule(
            rule="!has(self.trainval) || !(has(self.train) || has(self.validation))",
            message="holds both training and validation",
            field=".trainval",
        ),
        Rule(
            rule="""!has(self.ignore) || !self.ignore || !(has(self.column) || has(self.train) || has(self.validation)
            || has(self.test) || has(self.trainval))""",
            message="splits that are named are not ignored",
            field=".ignore",
        ),
    ),
    **SYNTHETIC_RULES,
    "Classifier": (
        Rule(
            rule="""has(self.name) || !has(self.pretraining) || self.pretraining in ['none', 'hub']
            || self.pretraining.startsWith('hub://')""",
            message="a classifier that begins with a file of weights needs a `name`",
        ),
        Rule(
            rule="""!has(self.stem) || self.stem != 'small' || !has(self.pretraining)
            || !(self.pretraining == 'hub' || self.pretraining.startsWith('hub://'))""",
            message="published weights have the standard stem: leave `stem` at auto",
        ),
        Rule(
            rule="!has(self.chain) || self.chain.size() == 0 || has(self.name)",
            message="a classifier with a `chain` of pretraining needs a `name`",
        ),
        *_TRAINING,
        Rule(
            rule="""!has(self.probe) || (has(self.pretraining) && self.pretraining != 'none')
            || (has(self.chain) && self.chain.size() > 0)""",
            message="a probe is fitted to the features of a network that was trained",
            field=".pretraining",
        ),
        Rule(
            rule="!has(self.probe) || !((has(self.stages) && self.stages.size() > 0) || has(self.learningRate))",
            message="a probe fits the last layer in one go, without optimiser steps",
        ),
        Rule(
            rule=f"!has(self.probe) || !has(self.recipe) || !({_UNUSED_BY_A_PROBE})",
            message=of_a_probe(),
            field=".recipe",
        ),
        Rule(
            rule="""!has(self.probe) || !has(self.chain)
            || self.chain.all(link, !has(link.replicates) || link.replicates == 'shared')""",
            message="a probe's features are extracted once, of one network",
            field=".chain",
        ),
        Rule(
            rule="!has(self.tune) || !has(self.tune.prune) || !has(self.probe)",
            message=PRUNES_NO_PROBE,
            field=".tune.prune",
        ),
        Rule(rule="!has(self.tune) || has(self.name) || !('model' in self.tune.over)", message=NAMED_BEFORE_ITS_MODEL),
    ),
    "Link": (
        *(
            Rule(
                rule=f"!has(self.dataset.{to_camel(name)})",
                message="a data set of a chain takes the form of the trial's images",
                field=".dataset",
            )
            for name in FORM
        ),
        Rule(rule=f"!({_redraws('self.dataset')} && {_evenly('self')})", message=BALANCED_TWICE, field=".recipe"),
        *_TRAINING,
    ),
    "Stage": (
        Rule(
            rule="!has(self.steps) || !has(self.epochs)",
            message="a stage's length is given in steps or in epochs, not both",
        ),
    ),
    "Intensity": (
        *one_of_rules(Intensity),
        Rule(
            rule="""(!has(self.window) || self.window[0] < self.window[1])
            && (!has(self.percentiles) || self.percentiles[0] < self.percentiles[1])""",
            message="`intensity` goes from a lower to a higher value",
        ),
        Rule(
            rule="!has(self.percentiles) || (self.percentiles[0] >= 0.0 && self.percentiles[1] <= 100.0)",
            message="`intensity.percentiles` are from 0 to 100",
        ),
    ),
    "Budget": one_of_rules(Budget),
    "Encoder": (
        Rule(
            rule="has(self.model) || !(has(self.pretraining) || has(self.size))",
            message=OF_A_MODEL,
            field=".model",
        ),
        Rule(
            rule="!has(self.model) || (has(self.pretraining) && self.pretraining != 'none')",
            message=RANDOM_FEATURES,
            field=".pretraining",
        ),
        Rule(
            rule="!has(self.model) || !(" + " || ".join(f"has(self.{to_camel(name)})" for name in OWN_TRAINING) + ")",
            message=OWN_ALONE,
        ),
    ),
    "Primary": (
        Rule(
            rule="!has(self.against) || "
            + " || ".join(
                f"(has(self.against.{name}) && (!has(self.{name}) || self.against.{name} != self.{name}))"
                for name in ("arm", "synthetic", "classifier")
            ),
            message=ITSELF,
            field=".against",
        ),
    ),
    "Sharing": (
        Rule(
            rule="!has(self.devicesPerPod) || (has(self.devices) ? self.devices : 1) % self.devicesPerPod == 0",
            message=EQUAL_PODS,
            field=".devicesPerPod",
        ),
    ),
    "Resources": tuple(Rule(rule=rule.cel, message=rule.words, field=f".{rule.field}") for rule in RESOURCE_RULES),
    "Placement": _PLACEMENT,
    "Cluster": _PLACEMENT,
    "Toleration": (
        Rule(rule=f"!(self.key in {[*CLUSTERS_NODES]})", message=KEEPS_OFF, field=".key"),
        Rule(
            rule="""!has(self.value) || self.value == '' || !has(self.operator) || self.operator != 'Exists'""",
            message="operator Exists takes no `value`",
        ),
        Rule(
            rule="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="`tolerationSeconds` needs effect NoExecute",
        ),
    ),
    "Spec": (
        Rule(
            rule=f"{_STEPS} <= {MOST_STEPS}",
            message=f"a trial has at most {MOST_STEPS} steps",
        ),
        Rule(
            rule=f"""!has(self.classifiers) || [self.classifiers.map(c, {_TITLE})].all(titles,
            titles.all(title, titles.exists_one(other, other == title)))""",
            message="names must differ",
            field=".classifiers",
        ),
        *(
            Rule(
                rule=f"!{_redraws('self.dataset')} || !has(self.classifiers) || self.classifiers.all(c, !{unfit})",
                message=message,
                field=".classifiers",
            )
            for message, unfit in ((NO_EPOCHS, "has(c.probe)"), (BALANCED_TWICE, _evenly("c")))
        ),
        *_named_parts(_PRIMARY, ".endpoint.primary"),
        *_named_parts(_AGAINST, ".endpoint.primary.against"),
        Rule(
            rule=f"""!{_NO_SETS} || {_AGAINST} || ({_ARM} && self.endpoint.primary.arm != 'real')
            || !has(self.classifiers) || self.classifiers.size() <= 2""",
            message=UNDECIDED,
            field=".endpoint.primary.against",
        ),
        Rule(
            rule=f"""!{_ARM} || {_AGAINST} || {_NO_SETS} || self.endpoint.primary.arm != 'real'""",
            message="must be an arm of",
            with_received="'must be an arm of the primary synthetic set beside the control; received real'",
            field=".endpoint.primary.arm",
        ),
        Rule(
            rule=f"""!{_ARM} || {_AGAINST} || {_NO_SETS} || [has(self.endpoint.primary.synthetic)
            ? self.endpoint.primary.synthetic : self.synthetic[0].name].all(name,
            self.synthetic.all(s, s.name != name || !has(s.arms) || self.endpoint.primary.arm in s.arms))""",
            message="must be an arm of",
            with_received="""'must be an arm of ' + (has(self.endpoint.primary.synthetic)
            ? self.endpoint.primary.synthetic : self.synthetic[0].name) + '; received ' + self.endpoint.primary.arm""",
            field=".endpoint.primary.arm",
        ),
    ),
}

ARM_PATTERN: Final = r"^(real|synthetic|finetune|augment-0{0,4}[1-9][0-9]{0,4}|(replace|real)-0{0,4}[1-9][0-9]?)$"
"""The names that `syntrial.experiment.arms.arm_preset` knows, and a few with more zeros in front than it does."""
# Arms have no type that CEL knows: the same in what a schema can say (the API server's words are poorer for it).
PHASE_RULES: Final[dict[str, Any]] = {
    # A phase needs images.
    "anyOf": [
        {"required": [name], "properties": {name: {"minimum": 0, "exclusiveMinimum": True}}}
        for name in ("real", "synthetic")
    ],
    # Its length is given in steps or in epochs.
    "not": {"required": ["steps", "epochs"]},
}
ARM_NAME_RULES: Final[dict[str, Any]] = {"not": {"pattern": "^real(-twice|-as-.*)?$"}}
