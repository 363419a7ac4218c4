"""A generator of somebody else's: code that the generation stage runs, or a program that serves the stage.

The plan gives all that is written here to the steps, and their keys are of it (ADR 13 and 17). What code has to be says
docs/own-generators.md, and what a program is given and has to give docs/extending.md.
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
    """A generator of your own: `code`, two functions in an environment; or a program, by `command` or `image`."""

    code: str | None = Field(
        None,
        min_length=1,
        max_length=2048,
        description="A folder with generator.py, which has the functions train and sample, and requirements.lock, the "
        "packages of its environment with their hashes. Its content is what it is known by. Default: a program.",
    )
    image: str | None = Field(
        None,
        pattern=IMAGE_PATTERN,
        max_length=600,
        description="For a cluster: an image by its digest, whose entrypoint is the program, or the stage with the "
        "environment of the code. Default: a laptop alone.",
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
        if self.image is None and self.command is None and self.code is None:
            raise ValueError("needs `code`, or a program's `image`, `command` or both")
        if self.code is not None and self.command is not None:
            raise ValueError("`code` is run by Syntrial and `command` is a program: give one of them")
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
