from collections.abc import Iterator
from typing import Any

import pytest

from syntrial.rpc.testing import FakeContext


@pytest.fixture(autouse=True)
def _no_scratch_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Removes each context's scratch with its test, before the interpreter finds it and warns."""
    made: list[FakeContext] = []
    begin = FakeContext.__init__

    def remembered(self: FakeContext, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(FakeContext, "__init__", remembered)
    yield
    for context in made:
        scratch = getattr(context, "_scratch", None)
        if hasattr(scratch, "cleanup"):
            scratch.cleanup()
