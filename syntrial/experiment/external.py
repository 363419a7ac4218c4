"""A generator of somebody else's: which program serves the generation stage in place of Syntrial's own.

The plan gives all that is written here to the program's steps, and their keys are of it (ADR 13). docs/extending.md
says what the program is given and has to give.
"""

import re
from typing import Annotated, Final, Self

from pydantic import Field, JsonValue, model_validator

from syntrial.artifacts.keys import canonical_json
from syntrial.experiment.base import Model, wrong

EXTERNAL: Final = "external"
"""What the experiment and the requests call it, beside the families."""

IMAGE_PATTERN: Final = r"^[^\s@]{1,500}@sha256:[0-9a-f]{64}$"


class ExternalGenerator(Model):
    """A program of your own that serves the generation stage: a laptop starts `command`, a cluster runs `image`."""

    image: str | None = Field(
        None,
        pattern=IMAGE_PATTERN,
        max_length=600,
        description="For a cluster: an image by its digest, whose entrypoint is the program. Default: a laptop alone.",
    )
    command: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="For a laptop: the program, by a name on the PATH or an absolute path, and its first arguments. No "
        "shell reads it. It runs with your own rights, and may do what you may. Default: a cluster alone.",
    )
    version: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Your word for what the program is: another one trains and samples anew. Needed with `command`.",
    )
    options: dict[str, JsonValue] = Field(
        {}, description="What the program is told, in its own terms; part of what it is asked."
    )

    @model_validator(mode="after")
    def _identified(self) -> Self:
        if self.image is None and self.command is None:
            raise ValueError("needs an `image`, a `command` or both")
        if self.command is not None and self.version is None:
            raise ValueError("a `command` needs a `version`: what it starts is not known by its content")
        if self.command is not None and re.match("[^/].*/", self.command[0]):
            raise ValueError("the program of `command` is a name on the PATH or an absolute path")
        try:
            canonical_json(self.options)
        except ValueError as error:
            rule = "options are what JSON can say, with whole numbers up to 2^53"
            raise wrong("options", rule, str(error), "Write such a number as text.") from None
        return self

    @property
    def image_digest(self) -> str:
        """ "sha256:…", or "" where there is no image: the same in whichever registry it lies."""
        return self.image.partition("@")[2] if self.image else ""
