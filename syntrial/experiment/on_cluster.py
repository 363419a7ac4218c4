"""What an experiment must say to run on a cluster, beside what it must say anywhere.

Called where one is sent there, and by the controller.
"""

from syntrial.errors import UserError, Violation
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.model import Experiment


def check_on_cluster(experiment: Experiment) -> None:
    """Raises UserError where a program is to run of which no image is named."""
    violations = [
        Violation(
            field=f"spec.synthetic[{number}].generator.external.image",
            rule="a cluster runs an image",
            received="a command alone",
            remedy="Build an image whose entrypoint is the program, and name it by its digest: NAME@sha256:….",
        )
        for number, item in enumerate(experiment.spec.synthetic)
        if item.generator is not None and item.generator.kind == EXTERNAL and item.generator.chosen.image is None
    ]
    if violations:
        raise UserError(violations=violations)
