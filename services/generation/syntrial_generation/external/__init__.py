"""Generators of the user's own: code in an environment of its own, driven over a pipe and confined (ADR 17).

`verbs` are the stage's methods for it, `host` holds the process, `environments` builds what it runs in, `confine` takes
from it what it was not given, and `runner` is our half inside of it.
"""

from typing import Final

EXTERNAL: Final = "external"
"""What requests call it, beside the families."""
