"""What files are, whatever they are called."""

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from syntrial.imagesets import filetypes
from syntrial.imagesets.filetypes import is_picture, kind_of, tell_apart


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, form)
    return buffer.getvalue()


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(4))
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "a photograph of a telephone": (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(200), "a HEIC picture"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a Git LFS pointer",
    ),
    "a pointer of git-annex": (b"/annex/objects/SHA256E-s1--0.png\n", "a git-annex pointer"),
    "an error page": (b"\n<!DOCTYPE HTML><html>not found</html>", "a web page"),
    "DICOM": (bytes(128) + b"DICM" + bytes(100), "a DICOM file"),
    "an array": (array(), "a single NumPy array (.npy)"),
    "gzip": (gzip.compress(b"volume"), "a gzip file"),
    "a pickle": (pickle.dumps({"weights": [1.0]}), "a PyTorch file (torch.save), a pickle"),
    "weights of torch.save": (archive("model/data.pkl", "model/data/0"), "a PyTorch file (torch.save), a pickle"),
    "an .npz": (archive("train_images.npy"), "an .npz file of arrays"),
    "zipped pictures": (archive("set/ill/1.png", "set/well/1.png"), "a zip archive of pictures"),
    "another zip archive": (archive("word/document.xml"), "a zip archive"),
    "half a zip archive": (archive("a", "b")[:40], "a zip archive that is cut short"),
    "nothing": (b"", "an empty file"),
    "zeros": (bytes(4096), "a file of zeros"),
    "text": ("Größe: 12 mm, ".encode() * 40, "a text file"),
    "noise": (bytes(range(255, 0, -1)), "a file of no known type"),
    "a PNG": (picture("PNG"), "a PNG picture"),
    "a JPEG": (picture("JPEG"), "a JPEG picture"),
    "a TIFF": (picture("TIFF"), "a TIFF picture"),
    "a WebP": (picture("WEBP"), "a WebP picture"),
    "a GIF": (picture("GIF"), "a GIF picture"),
    "a BMP": (picture("BMP"), "a BMP picture"),
    "a PGM": (picture("PPM"), "a PNM picture"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    content, expected = FILES[name]
    (tmp_path / "image.png").write_bytes(content)
    kind = kind_of(tmp_path / "image.png")
    assert kind.one == expected
    assert kind.remedy


def test_what_is_read_as_a_picture_is_known_by_its_first_bytes_too(tmp_path: Path) -> None:
    """A suffix that is read and a form that is told as damaged belong together."""
    for form in ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM"):
        (tmp_path / "x").write_bytes(picture(form))
        assert kind_of(tmp_path / "x").is_readable
    assert all(is_picture(f"a/b{suffix.upper()}") for suffix in filetypes.PICTURE_SUFFIXES)


def test_several_files_are_counted_by_what_they_are(tmp_path: Path) -> None:
    paths = []
    for number, content in enumerate((FILES["a pointer of Git LFS"][0],) * 2 + (picture("PNG")[:30],)):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(content)
    words, remedy = tell_apart(map(str, paths), opened=lambda name: io.BytesIO(Path(name).read_bytes()))
    assert words == "2 Git LFS pointers, 1 damaged PNG picture"
    assert remedy == "Fetch the files themselves: `git lfs pull`. Copy or download it again."


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM"])
def test_pictures_are_opened_whatever_their_suffix_says(form: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(picture(form))
    with path.open("rb") as file, filetypes.open_picture(file) as opened:
        assert opened.size == (8, 8)


@pytest.mark.parametrize("form", ["EPS", "PCX", "TGA", "SGI", "DDS", "JPEG2000", "PDF"])
def test_no_decoder_is_tried_but_those_of_pictures(form: str, tmp_path: Path) -> None:
    """PostScript under another suffix would have Ghostscript started; few have looked at most other decoders."""
    path = tmp_path / "picture.png"
    path.write_bytes(picture(form))
    with path.open("rb") as file, pytest.raises(UnidentifiedImageError):
        filetypes.open_picture(file)
