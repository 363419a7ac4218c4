"""One scale for all deep pixels of a data set, real and synthetic: which values become black and white.

By the experiment's `intensity`, or by what the pixels themselves tell: the bits that they use, the same for all
images, so that exposure stays comparable. The training split's percentiles are exact: a radix selection over the 32
bits of each value in single precision, in two passes of a histogram each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from syntrial.counting import counted
from syntrial.documents.scale import Scale
from syntrial.errors import SourceError
from syntrial.imagesets.filetypes import UNREADABLE
from syntrial.imagesets.headers import EIGHT, FLOATING, WINDOWED
from syntrial.imagesets.pictures import check_scalable
from syntrial.v1.data_preparation_pb2 import Intensity
from syntrial.workers import in_order
from syntrial_data_prep.samples import Samples, by_bands, over_black
from syntrial_data_prep.sources.raw import Deferred, Raw

BITS: Final = (8, 10, 12, 14, 16)
MOST_CLIPPED: Final = 0.001
"""Share of pixels at one end above which a warning says so, beyond what percentiles ask for."""
FIELD: Final = "format.intensity"


@dataclass(frozen=True, kw_only=True, slots=True)
class Clipped:
    """Deep pixels that lay outside the scale."""

    below: int = 0
    above: int = 0
    total: int = 0
    """Deep pixels in all."""

    def __add__(self, other: "Clipped") -> "Clipped":
        return Clipped(below=self.below + other.below, above=self.above + other.above, total=self.total + other.total)


def bits_of(highest: float) -> int:
    """The smallest usual depth, in bits, that holds `highest`."""
    return next(bits for bits in BITS if highest < 2**bits or bits == BITS[-1])


def find_scale(
    raw: Raw,
    *,
    intensity: Intensity,
    training: Callable[[], Mapping[str, NDArray[np.bool_]]],
    on_progress: Callable[[int], None],
    real: Scale | None = None,
) -> Scale:
    """The scale of a source's deep pixels.

    `training` says, where it is asked, which rows of each split percentiles are taken over; `real` is the scale of the
    real data where the source is a synthetic set. `on_progress` is called now and then and may raise to stop. Raises
    SourceError where the range is not known, and for an intensity where there is nothing that it could apply to.
    """
    deep = raw.numbers - {EIGHT, WINDOWED}
    rule = intensity.WhichOneof("rule")
    if real is None and rule is not None and raw.numbers == {EIGHT}:
        raise SourceError(
            field=FIELD,
            rule="belongs to pixels with more than 8 bits, and to DICOM",
            received=f"`{rule}` for {raw.title}, whose pixels all have 8 bits",
            remedy="Leave `intensity` out.",
        )
    if real is not None and real.by in {"window", "percentiles"}:
        return real
    if rule == "window":
        return Scale(by="window", low=intensity.window.low, high=intensity.window.high, opaque=65535)
    if rule == "percentiles" and real is None:
        shares = (intensity.percentiles.low, intensity.percentiles.high)
        low, high = _percentiles(raw, shares, training=training(), on_progress=on_progress)
        return Scale(by="percentiles", low=low, high=high, opaque=65535)
    if not deep:
        return Scale() if real is None else real
    if real is not None and real.by != "depth" and (FLOATING not in deep or real.is_floating):
        return real
    check_scalable(deep, is_told=False, title=raw.title, field=FIELD)
    return _by_values(raw, deep, on_progress=on_progress)


def levels(samples: Samples, scale: Scale) -> tuple[NDArray[np.uint8], Clipped]:
    """The picture in grey levels, uint8 (H, W) or (H, W, 3), and how many of its deep pixels were clipped.

    Raises ValueError for deep samples where the scale is of 8 bits, as a damaged header can make it.
    """
    if not samples.is_deep:
        return samples.values, Clipped()
    if samples.presented is not None and scale.by not in {"window", "percentiles"}:
        return samples.presented, Clipped()
    if scale.by == "depth":
        raise ValueError(f"{samples.values.dtype} pixels, where the header said 8 bits")
    values = samples.values
    clipped = Clipped(
        # What is no number becomes black.
        below=int(np.count_nonzero(~(values >= scale.low))),
        above=int(np.count_nonzero(values > scale.high)),
        total=values.size,
    )
    scaled = _scaled(values, low=scale.low, high=scale.high)
    if samples.inverted:
        scaled = 255 - scaled
    if samples.alpha is not None:
        alpha = _scaled(samples.alpha, low=0, high=scale.opaque)
        colors = scaled if scaled.ndim == 3 else np.repeat(scaled[:, :, None], 3, axis=2)
        laid = over_black(np.concatenate([colors, alpha[:, :, None]], axis=2))
        scaled = laid if scaled.ndim == 3 else laid[:, :, 0]
    return scaled, clipped


def saturation(clipped: Clipped, scale: Scale, *, what: str, shares: tuple[float, float] = (0.0, 0.0)) -> list[str]:
    """Warnings about what the scale cut off of `what`; `shares` are those that its percentiles ask for."""
    if not clipped.total:
        return []
    found = []
    for count, asked, end, color in (
        (clipped.below, shares[0], f"below {scale.low:g}", "black"),
        (clipped.above, shares[1], f"above {scale.high:g}", "white"),
    ):
        share = count / clipped.total
        # Other splits than training, and equal values, move what percentiles ask for.
        if share > 2 * asked + MOST_CLIPPED:
            found.append(f"{share:.1%} of the pixels of {what} lie {end} and became {color} (saturation).")
    return found


def asked(intensity: Intensity) -> tuple[float, float]:
    """The shares of pixels below and above the scale that an experiment asks for by percentiles."""
    if intensity.WhichOneof("rule") != "percentiles":
        return 0.0, 0.0
    return intensity.percentiles.low / 100, 1 - intensity.percentiles.high / 100


def apart(scale: Scale, *, real: Scale) -> list[str]:
    """A warning where a synthetic set has a scale of its own."""
    if scale == real or scale.by == "unit":
        return []
    return [
        f"The imported images have deep pixels where the real ones have none: those from {scale.low:g} to "
        f"{scale.high:g} became grey levels, by the bits that they use."
    ]


def told(scale: Scale, *, what: str = "images") -> list[str]:
    """What the audit says of a scale, as sentences."""
    if scale.by == "bits" and scale.high == 65535:
        return []
    if scale.by == "bits":
        return [f"The 16-bit {what} use {int(scale.high + 1).bit_length() - 1} bits and were scaled by that."]
    if scale.by in {"window", "percentiles"}:
        return [f"Pixels from {scale.low:g} to {scale.high:g} became grey levels from 0 to 255."]
    return []


def _scaled(values: NDArray[Any], *, low: float, high: float) -> NDArray[np.uint8]:
    factor = 255 / (high - low)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 2:
        # One table for all values of 16 bits.
        every = np.arange(65536, dtype=np.uint16).view(values.dtype).astype(np.float64)
        table = np.rint(((every - low) * factor).clip(0, 255)).astype(np.uint8)
        found: NDArray[np.uint8] = table[values.view(np.uint16)]
        return found

    def band(top: int, end: int) -> NDArray[np.uint8]:
        shares = (values[top:end].astype(np.float64) - low) * factor
        finite = np.nan_to_num(shares, nan=0.0, posinf=255, neginf=0)
        scaled: NDArray[np.uint8] = np.rint(finite.clip(0, 255)).astype(np.uint8)
        return scaled

    return by_bands(values.shape[0], values.shape[1], band)


def _by_values(raw: Raw, deep: frozenset[str], *, on_progress: Callable[[int], None]) -> Scale:
    lowest, highest, opaque, odd = np.inf, -np.inf, 0.0, 0
    for found in _each(raw, None, _range, on_progress=on_progress):
        lowest, highest, opaque = min(lowest, found[0]), max(highest, found[1]), max(opaque, found[2])
        odd += found[3]
    is_floating = FLOATING in deep
    if is_floating and not (len(deep) == 1 and lowest >= 0 and highest <= 1 and not odd):
        span = f"go from {lowest:g} to {highest:g}" if lowest <= highest else "hold no number"
        without = f"; {counted(odd, 'image')} with values that are no numbers or infinite, which become black or white"
        raise SourceError(
            field=FIELD,
            rule="says which values are black and white where pixels in floating point are not from 0 to 1",
            received=f"nothing for {raw.title}, whose pixels {span}{without if odd else ''}",
            remedy="Write `intensity: {window: [LOW, HIGH]}` with the values that become black and white, or "
            "`intensity: {percentiles: [0.5, 99.5]}` of the training split's pixels.",
        )
    if lowest < 0:
        raise SourceError(
            field=FIELD,
            rule="says which values are black and white where some are below 0",
            received=f"nothing for {raw.title}, whose pixels go from {lowest:g} to {highest:g}",
            remedy="Write `intensity: {window: [LOW, HIGH]}` with the values that become black and white.",
        )
    top = 2.0 ** bits_of(opaque) - 1
    if is_floating:
        return Scale(by="unit", low=0, high=1, opaque=1 if opaque <= 1 else top, is_floating=True)
    return Scale(by="bits", low=0, high=2.0 ** bits_of(highest) - 1, opaque=top)


def _each(
    raw: Raw,
    rows: Mapping[str, NDArray[np.bool_]] | None,
    measure: Callable[[Samples], Any],
    *,
    on_progress: Callable[[int], None],
) -> Iterator[Any]:
    """What `measure` gives of each deep picture, of the rows that are true."""

    def work(read: Deferred) -> Callable[[], Any]:
        def one() -> Any:
            try:
                samples = read()
            except UNREADABLE:
                return None
            return None if samples is None or not samples.is_deep else measure(samples)

        return one

    def pieces() -> Iterator[Callable[[], Any]]:
        for name, split in raw.splits.items():
            chosen = None if rows is None else rows.get(name)
            if rows is not None and chosen is None:
                continue
            for row, read in enumerate(split.pictures()):
                if chosen is None or chosen[row]:
                    yield work(read)

    for done, found in enumerate(in_order(pieces())):
        if done % 64 == 0:
            on_progress(done)
        if found is not None:
            yield found


def _range(samples: Samples) -> tuple[float, float, float, int]:
    """The lowest and the highest value, that of what is opaque, and 1 where some are no numbers or infinite, else 0."""
    values, odd = samples.values, 0
    if samples.presented is not None:
        return np.inf, -np.inf, 0.0, 0
    opaque = float(samples.alpha.max()) if samples.alpha is not None else 0.0
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        values, odd = values[finite], 1
    if not values.size:
        return np.inf, -np.inf, opaque, odd
    return float(values.min()), float(values.max()), opaque, odd


def _percentiles(
    raw: Raw,
    shares: tuple[float, float],
    *,
    training: Mapping[str, NDArray[np.bool_]],
    on_progress: Callable[[int], None],
) -> tuple[float, float]:
    """The values below which these shares of the training split's deep pixels lie (in percent)."""
    upper = np.zeros(1 << 16, np.int64)
    for counts in _each(raw, training, lambda samples: _counts(_keys(samples.values) >> 16), on_progress=on_progress):
        upper += counts
    total = int(upper.sum())
    if not total:
        raise SourceError(
            field=FIELD,
            rule="percentiles are taken over the training split's deep pixels",
            received=f"none in {raw.title}",
            remedy="Give a `window`, or leave `intensity` out.",
        )
    ranks = [min(total - 1, int(share / 100 * total)) for share in shares]
    bins = [int(np.searchsorted(np.cumsum(upper), rank, side="right")) for rank in ranks]

    def lower_halves(samples: Samples) -> NDArray[np.int64]:
        keys = _keys(samples.values)
        return np.stack([_counts(keys[keys >> 16 == chosen] & 0xFFFF) for chosen in bins])

    lower = np.zeros((2, 1 << 16), np.int64)
    for counts in _each(raw, training, lower_halves, on_progress=on_progress):
        lower += counts
    before = [int(upper[:chosen].sum()) for chosen in bins]
    low, high = (
        _value(chosen << 16 | int(np.searchsorted(np.cumsum(counts), rank - start, side="right")))
        for chosen, counts, rank, start in zip(bins, lower, ranks, before, strict=True)
    )
    if not low < high:
        raise SourceError(
            field=FIELD,
            rule="percentiles give a lower and a higher value",
            received=f"{low:g} and {high:g} for {raw.title}",
            remedy="Take percentiles that lie further apart, or give a `window`.",
        )
    return low, high


def _keys(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Numbers in the order of the values in single precision; what is no number is left out."""
    flat = values.astype(np.float32).reshape(-1)
    flat = flat[np.isfinite(flat)] + np.float32(0)
    bits = flat.view(np.uint32)
    negative = bits >> 31 == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31))


def _value(key: int) -> float:
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array([bits], np.uint32).view(np.float32)[0])


def _counts(keys: NDArray[Any]) -> NDArray[np.int64]:
    return np.bincount(keys, minlength=1 << 16).astype(np.int64)
