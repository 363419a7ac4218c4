"""A number with its noun: every sentence that counts things takes both from here, so that one is never several."""


def counted(number: int, one: str, several: str | None = None) -> str:
    """ "1 image", "0 images", "1,234 images"; `several` is the plural where that is more than an s at the end."""
    noun = one if number == 1 else several or f"{one}s"
    return f"{number:,} {noun}"
