"""The one decoder of picture files: from an open binary file to samples. docs/reading.md says what is read how."""

import io
import warnings
from typing import BinaryIO

from syntrial.imagesets.pictures import is_dicom_head, is_tiff_head
from syntrial_data_prep import dicom, plain_png, tiff
from syntrial_data_prep.samples import LARGE_PIXELS, Samples, has_all_rows, of_pillow


def decode(file: BinaryIO) -> Samples:
    """The first page of a picture, upright.

    Raises one of `filetypes.UNREADABLE` for damage, SourceError for what is whole and can't be read, with what to do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = file.read(132)
        file.seek(0)
        if is_dicom_head(head):
            return dicom.decode(file)
        if is_tiff_head(head):
            return tiff.decode(file)
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            data = file.read()
            fast = plain_png.decoded(data, most_pixels=LARGE_PIXELS)
            if fast is not None:
                return Samples(values=fast)
            found = of_pillow(io.BytesIO(data))
            if not found.values[-1].any() and not has_all_rows(data):
                raise ValueError("a PNG with fewer rows than its header says")
            return found
        return of_pillow(file)
