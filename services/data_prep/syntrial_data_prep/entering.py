"""How other images than the data set's enter a trial: read from their source, on its scale, and in its form.

Called by `importing` and `pooling`, which say what becomes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from syntrial.documents import document
from syntrial.documents import scale as scale_document
from syntrial.documents.scale import Scale
from syntrial.errors import UserError
from syntrial.imagesets.classes import Classes
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial.v1.data_preparation_pb2 import ImportImagesRequest, Intensity, PreparePoolRequest
from syntrial_data_prep import scales, sources
from syntrial_data_prep.form import Formed, form_all
from syntrial_data_prep.resample import Form
from syntrial_data_prep.shards import Shards
from syntrial_data_prep.sources.raw import Raw


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Entered:
    """Images in the trial's form."""

    raw: Raw
    """Where they come from."""
    parts: tuple[Formed, ...]
    """One for each split of the source."""
    shape: Form
    scale: Scale
    """By which their deep pixels became grey levels."""
    real_scale: Scale
    """That of the data set."""

    def warnings(self, *, clipped: scales.Clipped, what: str, intensity: Intensity) -> list[str]:
        """What their grey levels lost, and where theirs are not the data set's."""
        saturated = scales.saturation(clipped, self.scale, what=what, shares=scales.asked(intensity))
        return [*saturated, *scales.apart(self.scale, real=self.real_scale)]


def enter(
    request: ImportImagesRequest | PreparePoolRequest,
    context: StepContext,
    *,
    train: ImageSet,
    size_rule: str,
    classes: Callable[[Raw], Classes],
    only: Callable[[Raw], Raw] = lambda raw: raw,
) -> Entered:
    """Reads the request's source. `size_rule` is the rule that another size breaks; `only` chooses of the source.

    Raises UserError for another size than that of the data set's images, SourceError for what cannot be read.
    """
    _, height, _, channels = train.images_NHWC.shape
    if request.format.size not in {0, height}:
        raise UserError(
            field="format.size",
            rule=size_rule,
            received=request.format.size,
            remedy=f"Use {height}.",
        )
    raw = only(
        sources.read(
            request.source,
            context.source_path(request.source.digest) if request.source.digest else None,
            scratch=context.scratch,
            on_progress=lambda _: context.check_cancelled(),
        )
    )
    mapped = classes(raw)
    real_scale = (
        document.read(Scale, context.open(request.scale), scale_document.NAME) if request.HasField("scale") else Scale()
    )
    shards = Shards(context)
    scale = shards.scale() or scales.find_scale(
        raw,
        intensity=request.format.intensity,
        training=dict,
        on_progress=lambda _: context.check_cancelled(),
        real=real_scale,
    )
    shards.keep_scale(scale)
    shape = Form.of(request.format, size=height, channels=channels)
    parts = form_all(raw, classes=mapped, shape=shape, scale=scale, shards=shards, context=context)
    return Entered(raw=raw, parts=tuple(parts.values()), shape=shape, scale=scale, real_scale=real_scale)
