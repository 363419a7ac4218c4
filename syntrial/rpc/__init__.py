"""A stage server's life: requests, operations, progress, errors, health, shutdown."""


def threads(stage: str, /) -> int:
    """Threads that the stage of this name computes with: a constant, since sums depend on it in their last bits."""
    # Here and not above, so that a server's main module decides on threads before anything is imported.
    from syntrial.stages import STAGES

    return STAGES[stage].footprint.threads
