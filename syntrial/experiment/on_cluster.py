"""What an experiment must say to run on a cluster, beside what it must say anywhere.

Called where one is sent there, and by the controller.
"""

from syntrial.errors import UserError, Violation
from syntrial.experiment.external import EXTERNAL
from syntrial.experiment.model import Experiment


def check_on_cluster(experiment: Experiment, *, store_secret: str | None = None) -> None:
    """Raises UserError where a program is to run of which no image is named, and where the store's key is asked for.

    `store_secret` is the Secret with the store's credentials, where that is known.
    """
    spec = experiment.spec
    violations = [
        Violation(
            field=f"spec.synthetic[{number}].generator.external.image",
            rule="a cluster runs an image",
            received="code alone" if item.generator.chosen.code else "a command alone",
            remedy="Make the image of the code's environment (`make images push GENERATOR=FOLDER`), or one whose "
            "entrypoint is the program, and name it by its digest: NAME@sha256:….",
        )
        for number, item in enumerate(spec.synthetic)
        if item.generator is not None and item.generator.kind == EXTERNAL and item.generator.chosen.image is None
    ]
    images = {f"spec.synthetic[{number}].images": item.images for number, item in enumerate(spec.synthetic)}
    violations += [
        Violation(
            field=f"{field}.secret",
            rule="a source is read with credentials of its own, not with the store's, which open more than that source",
            received=fields.secret,
            remedy="Make a Secret whose credentials may read this source and nothing else, and name it here.",
        )
        for field, fields in {"spec.dataset": spec.dataset, **images}.items()
        if fields is not None and fields.secret is not None and fields.secret == store_secret
    ]
    if violations:
        raise UserError(violations=violations)
