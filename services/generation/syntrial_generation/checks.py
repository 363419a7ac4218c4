"""What must hold of requests and their inputs, told to users field by field; each family checks its own."""

from syntrial.errors import UserError, Violation


class Checks:
    """Collects violations, so that a user sees all of them at once."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._found: list[Violation] = []

    def need(self, holds: bool, field: str, rule: str, received: object, remedy: str) -> None:
        """Notes a violation unless the rule holds."""
        if not holds:
            name = f"{self._prefix}.{field}" if self._prefix else field
            self._found.append(Violation(field=name, rule=rule, received=str(received), remedy=remedy))

    def positive(self, field: str, value: float) -> None:
        """The field must be above 0."""
        self.need(value > 0, field, "must be above 0", value, "Leave it out for the preset's value.")

    def share(self, field: str, value: float) -> None:
        """The field must lie in [0, 1)."""
        self.need(0 <= value < 1, field, "must lie in [0, 1)", value, "Give a share, for example 0.1.")

    def at_least_zero(self, field: str, value: float) -> None:
        """The field must not be negative."""
        self.need(value >= 0, field, "must be at least 0", value, "Leave it out for the preset's value.")

    def length(self, *, images: int, batch_size: int, learning_rate: float) -> None:
        """A training shows images, in batches, at a learning rate."""
        self.positive("images", images)
        self.positive("batch_size", batch_size)
        self.positive("learning_rate", learning_rate)

    def finish(self) -> None:
        """Raises UserError with all that was found."""
        if self._found:
            raise UserError(violations=self._found)
