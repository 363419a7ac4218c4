"""Rules of synthetic sets: their generators, filters and searches."""

from typing import Final

from pydantic.alias_generators import to_camel

from syntrial.cluster.crd.rule import Rule, models_of, one_of_rules
from syntrial.experiment.filters import CentroidFilter, Filter, RealismFilter
from syntrial.experiment.model import Generator, Synthetic
from syntrial.experiment.synthetic import (
    AUTOENCODER_OF_INITIAL,
    DRAWS_IN_ROUNDS,
    KEEPS_WEIGHTS,
    LIMIT_OF_ALL,
    NO_SOURCES,
    OVERFITTING_ALONE,
    PRUNES_STEPS,
    SNAPSHOTS_OF_ONE,
    SNAPSHOTS_OF_STEPS,
    TUNES_A_GENERATOR,
    TWO_LENGTHS,
    UNLABELLED_FIRST,
    Initial,
)
from syntrial.experiment.tuning import FINITE_AND_RISING, LOG_ABOVE_ZERO, NOTHING_TO_TRY, RISING_PARTS, Dimension


def _in_one_go(generator: str) -> str:
    """Whether a generator's training has no steps: `syntrial.experiment.synthetic.in_steps`, in CEL."""
    return " || ".join(
        f"has({generator}.{to_camel(name)})"
        for name in Generator.KINDS
        if not any("images" in kind.model_fields for kind in models_of(Generator, name))
    )


_ONE_LENGTH: Final = Rule(rule="!has(self.kimg) || !has(self.images)", message=TWO_LENGTHS, field=".kimg")

_OF_STEPS: Final = (
    _ONE_LENGTH,
    Rule(
        rule="!has(self.freeze) || self.freeze.size() == 0 || has(self.initial)", message=KEEPS_WEIGHTS, field=".freeze"
    ),
)

SYNTHETIC_RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "Dimension": (
        # CEL sees no list of any JSON: that there is exactly one of both stands in the schema, `definition.UNSEEN`.
        *one_of_rules(Dimension)[1:],
        Rule(
            rule="!has(self.range) || self.range.size() != 2 || self.range[0] < self.range[1]",
            message=FINITE_AND_RISING,
            field=".range",
        ),
        Rule(
            rule="!has(self.range) || self.range.size() == 0 || !has(self.log) || !self.log || self.range[0] > 0.0",
            message=LOG_ABOVE_ZERO,
            field=".range",
        ),
    ),
    "Prune": (
        Rule(
            rule="""!has(self.after) || self.after.isSorted() && self.after.all(a, self.after.filter(b, a == b).size()
            == 1)""",
            message=RISING_PARTS,
            field=".after",
        ),
    ),
    "Tune": (
        Rule(
            rule="""(has(self.over) && self.over.size() > 0) || (has(self.among) && self.among.size() > 0)
            || has(self.snapshots)""",
            message=NOTHING_TO_TRY,
        ),
    ),
    "Filter": one_of_rules(Filter),
    "CentroidFilter": one_of_rules(CentroidFilter),
    "RealismFilter": one_of_rules(RealismFilter),
    "Generator": one_of_rules(Generator),
    "Initial": one_of_rules(Initial),
    "DiffusionGenerator": _OF_STEPS,
    "LatentDiffusionGenerator": (
        *_OF_STEPS,
        Rule(
            rule="!has(self.autoencoder) || !has(self.initial)",
            message=AUTOENCODER_OF_INITIAL,
            field=".autoencoder",
        ),
        Rule(
            rule="!has(self.fineTune) || (has(self.unlabelled) && self.unlabelled.size() > 0)",
            message=UNLABELLED_FIRST,
            field=".fineTune",
        ),
    ),
    "GanGenerator": (
        *_OF_STEPS,
        Rule(
            rule="""!has(self.augmentPipeline) || self.augmentPipeline == 'diffaugment'
            || (has(self.augmentTarget) && self.augmentTarget > 0.0)""",
            message=OVERFITTING_ALONE,
            field=".augmentPipeline",
        ),
    ),
    "ExternalGenerator": (
        Rule(
            rule="has(self.image) || has(self.command) || has(self.code)",
            message="needs `code`, or a program's `image`, `command` or both",
        ),
        Rule(
            rule="!has(self.code) || !has(self.command)",
            message="`code` is run by Syntrial and `command` is a program: give one of them",
        ),
        Rule(
            rule="!has(self.command) || has(self.version)",
            message="a `command` needs a `version`: what it starts is not known by its content",
        ),
        Rule(
            rule="!has(self.command) || self.command[0].startsWith('/') || !self.command[0].contains('/')",
            message="the program of `command` is a name on the PATH or an absolute path",
        ),
    ),
    "Synthetic": (
        *one_of_rules(Synthetic),
        Rule(
            rule="!has(self.images) || !has(self.replicates) || self.replicates == 1",
            message="a ready-made set has one replicate; `replicates` repeats a generator's training",
        ),
        Rule(
            rule="!has(self.accept) || self.accept != 'best' || (has(self.filters) && size(self.filters) > 0)",
            message="takes the best by the last of `filters`",
            field=".accept",
        ),
        Rule(
            rule="""!has(self.oversampleLimit) || (has(self.generator) && (!has(self.generator.external)
            || (has(self.tune) && has(self.tune.among) && self.tune.among.exists(g, !has(g.external)))))""",
            message=DRAWS_IN_ROUNDS,
            field=".oversampleLimit",
        ),
        Rule(
            rule="!has(self.oversampleLimit) || !has(self.oversample) || self.oversample <= self.oversampleLimit",
            message=LIMIT_OF_ALL,
            field=".oversampleLimit",
        ),
        Rule(rule="!has(self.tune) || has(self.generator)", message=TUNES_A_GENERATOR, field=".tune"),
        *(
            Rule(
                rule=f"""!has(self.tune) || !has(self.tune.{field}) || !has(self.generator)
            || !({_in_one_go("self.generator")}
            || (has(self.tune.among) && self.tune.among.exists(g, {_in_one_go("g")})))""",
                message=message,
                field=f".tune.{field}",
            )
            for field, message in (("prune", PRUNES_STEPS), ("snapshots", SNAPSHOTS_OF_STEPS))
        ),
        Rule(
            rule="""!has(self.tune) || !has(self.tune.snapshots) || !has(self.generator)
            || !has(self.generator.latentDiffusion) || !has(self.generator.latentDiffusion.fineTune)""",
            message=SNAPSHOTS_OF_ONE,
            field=".tune.snapshots",
        ),
        Rule(
            rule="""!has(self.tune) || !has(self.tune.among) || !self.tune.among.exists(g, (has(g.external)
            && has(g.external.code)) || (has(g.diffusion) && has(g.diffusion.initial)) || (has(g.gan)
            && has(g.gan.initial)) || (has(g.latentDiffusion) && (has(g.latentDiffusion.initial)
            || (has(g.latentDiffusion.unlabelled) && size(g.latentDiffusion.unlabelled) > 0)
            || (has(g.latentDiffusion.autoencoder) && has(g.latentDiffusion.autoencoder.perceptual)))))""",
            message=NO_SOURCES,
            field=".tune.among",
        ),
        Rule(
            rule="!has(self.arms) || self.arms.exists(arm, arm != 'real')",
            message="needs an arm beside the control `real`",
            field=".arms",
        ),
    ),
}
