"""The trials of a search for a classifier's fields, as steps: trainings on real images alone. Pure.

Called by the planner; `syntrial.plan.search` says which trials there are. What is chosen is what all arms train, so it
is chosen where none of them is favoured: on the control's images. The trainings' seeds are none that a cell has, since
of several trials the best by its own seeds is flattered by these.
"""

from typing import Any, Final

from syntrial.experiment.arms import REAL
from syntrial.experiment.classifiers import Classifier
from syntrial.experiment.model import Spec
from syntrial.experiment.presets.classifiers import default_learning_rate
from syntrial.plan import requests
from syntrial.plan.classifiers import Classifiers
from syntrial.plan.networks import FIRST_OF_SEARCHES, Add
from syntrial.plan.search import Searched, Trial, field_value, plain_value, steps_that_decide
from syntrial.plan.steps import member_of
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.classification_pb2 import ClassifierPart

_SPLITS: Final = 2
"""Of which a probe is given features in a trial."""
_OF_THE_NETWORK: Final = frozenset({"model", "stem", "chain"})
_OF_FEATURES: Final = frozenset({"recipe", "recipe.normalisation"})


class ClassifierTrials(Searched[Classifier]):
    """The trials of a classifier's search."""

    def __init__(self, spec: Spec, classifier: Classifier, *, classifiers: Classifiers, add_of_trial: Add) -> None:
        """`add_of_trial` adds a step without which the search goes on; it raises Spoiled where that has failed."""
        assert classifier.tune is not None
        # A set has no blank in its name, so that no search of one is called so.
        self.name = f"classifier {classifier.title}"
        self.tune, self.written = classifier.tune, classifier.untuned
        self.objective = classifier.tune.objective or spec.endpoint.metric
        self.replicates = classifier.tune.replicates
        self._classifiers, self._add_of_trial = classifiers, add_of_trial
        self._networks_differ = varies_network(classifier)
        self._shares = (*classifier.tune.shares, 0.0)
        self._begun: dict[tuple[int, int], str] = {}
        """The last part of a trial's training by number and replicate."""

    def check(self, name: str, value: Any) -> None:
        """All values that a field takes can be planned."""

    def value(self, name: str) -> Any:
        """What a field has as it is written, the recipe of the model's family filled in; None where that is none."""
        tree = self.written.model_dump(mode="json", by_alias=True, exclude_none=True)
        value = plain_value(tree, name)
        # What is not written is null, where that is tried.
        if value is not None or None in (self.tune.over[name].choice or ()):
            return value
        if name == "learningRate":
            return default_learning_rate(self.written.model)
        head, _, last = name.partition(".")
        return field_value(requests.training_recipe(self.written), last) if head == "recipe" else None

    def add_part(self, trial: Trial[Classifier], made: Classifier, *, part: int, about: str) -> list[MemberRef]:
        """Adds a training for each replicate, or a part of one."""
        judged = []
        for number in range(self.replicates):
            place = (trial.number, number)
            begun = member_of(self._begun[place], "state") if part > 0 else None
            message = ClassifierPart(until=self._shares[part], begun=begun) if len(self._shares) > 1 else None
            trained = self._classifiers.train(
                made,
                REAL,
                replicate=FIRST_OF_SEARCHES + number,
                shown=None,
                about=f"{about} {number + 1}/{self.replicates}",
                add=self._add_of_trial,
                network=f"{self.name} trial {trial.number}" if self._networks_differ else None,
                part=message,
            )
            self._begun[place] = trained
            judged.append(member_of(trained, "validation"))
        return judged

    def reference(self) -> MemberRef | None:
        """Trial 0 is the reference."""
        return None


def varies_network(classifier: Classifier) -> bool:
    """Whether the trials of a classifier's search begin with networks, or are given features, of their own."""
    over = classifier.tune.over if classifier.tune else ()
    return any(name.partition(".")[0] in _OF_THE_NETWORK or name in _OF_FEATURES for name in over)


def steps_of_search(classifier: Classifier) -> int:
    """Steps of a classifier's search at most; 0 where there is none."""
    if classifier.tune is None:
        return 0
    count, deciding = steps_that_decide(classifier.tune)
    replicates = classifier.tune.replicates
    if varies_network(classifier):
        begins = count * (len(classifier.chain) * replicates + (_SPLITS if classifier.probe else 0))
    else:
        begins = replicates * sum(link.replicates == "each" for link in classifier.chain)
    return count * classifier.tune.parts * replicates + begins + deciding
