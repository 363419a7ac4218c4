"""Makes the corpus anew: `python -m tests.fuzz.seeds`. Drawn and written here, so nothing of anybody's is in it."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import tifffile
from PIL import Image
from pyarrow import parquet
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from syntrial.artifacts.store import open_store
from syntrial.imagesets.filetypes import DECODERS
from syntrial.stages import METHODS
from tests.fuzz.targets import KEY

CORPUS = Path(__file__).parent / "corpus"


def seeds() -> dict[str, bytes]:
    """Small sound inputs of each target by "target/name"."""
    found: dict[str, bytes] = {}
    for kind in DECODERS:
        for mode in ("L", "RGB"):
            file = io.BytesIO()
            Image.linear_gradient("L").resize((12, 9)).convert(mode).save(file, kind)
            found[f"image/{kind.lower()}-{mode.lower()}"] = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(file, "PNG")
    found["image/png-16"] = file.getvalue()
    for kind in ("int16", "uint16", "float32"):
        file = io.BytesIO()
        tifffile.imwrite(file, np.arange(64).reshape(8, 8).astype(kind), photometric="miniswhite")
        found[f"image/tiff-{kind}"] = file.getvalue()
    for name in ("plain", "windowed"):
        found[f"image/dicom-{name}"] = dicom(is_windowed=name == "windowed")
    images, labels = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2
    for name, given in {
        "plain": {"images": images, "labels": labels},
        "patients": {"images": images, "labels": labels, "patients": np.array(list("aabbcc"))},
        "columns": {"images": np.asfortranarray(images.astype(np.float32)), "labels": np.eye(6, dtype=np.uint8)},
    }.items():
        for save, packed in ((np.savez, "stored"), (np.savez_compressed, "deflated")):
            file = io.BytesIO()
            save(file, **given)
            found[f"arrays/{name}-{packed}"] = file.getvalue()
    found["archive/npz"] = found["arrays/plain-deflated"]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed_file:
        packed_file.writestr("a/b.png", b"x")
    found["archive/zip"] = file.getvalue()
    files = {"set/a/1.png": b"one" * 40, "set/b/ü.png": b"two" * 30, "set/a/empty": b"", "__MACOSX/x": b"x"}
    for method in ("STORED", "DEFLATED", "BZIP2", "LZMA"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", getattr(zipfile, f"ZIP_{method}")) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        found[f"packed/zip-{method.lower()}"] = file.getvalue()
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            for name, kind in (("set/link", tarfile.SYMTYPE), ("set/hard", tarfile.LNKTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "set/a/1.png" if kind == tarfile.LNKTYPE else "a/1.png"
                archive.addfile(info)
        found[f"packed/tar-{mode.partition(':')[2] or 'plain'}"] = file.getvalue()
    plain = "path,label,patient,split,age\na/1.png,x,p1,train,40\na/2.png,y,p2,test,50\nb/3.png,x,p3,train,60\n"
    tables = {
        "comma": plain,
        "tab": plain.replace(",", "\t"),
        "several": "Image Index;Finding Labels\n1.png;Mass|Edema\n2.png;No Finding\n3.png;Edema\n",
        "one-hot": "image,MEL,NV\n1,1.0,0.0\n2,0.0,1.0\n3,1,0\n",
        "uncertain": 'Path,"Edema, sure",Pneumonia\n"a/1.png",1.0,-1.0\nb/3.png,,0.0\n',
        "list": "a/1.png 0\nb/3.png 1\n",
    }
    for name, text in tables.items():
        found[f"table/{name}"] = text.encode()
    found["table/utf-16"] = plain.encode("utf-16")
    found["table/windows"] = plain.replace("x", "ö").encode("cp1252")
    found["table/gzipped"] = gzip.compress(plain.encode(), mtime=0)
    file = io.BytesIO()
    parquet.write_table(
        pyarrow.table({"path": ["a/1.png", "b/3.png"], "label": ["x", "y"], "age": [1.0, None], "n": [1, 2]}), file
    )
    found["table/parquet"] = file.getvalue()
    header = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    found["safetensors/one"] = len(header).to_bytes(8, "little") + header + b"abcd"
    subject = {"classes": ["ill", "well"], "task": "multi-class", "shape": [16, 16, 1]}
    networks = {"latent_size": 8, "channels": [16, 16], "blocks_per_level": 1, "fold": 1}
    for name, family, settings in (
        ("gan", "gan", {"networks": networks}),
        ("pca", "pca", {}),
        ("own", "external", {"files": {"file-00000": "fitted.npz", "file-00001": "more/weights.bin"}}),
    ):
        tree = {"family": family, "subject": subject, "settings": settings}
        found[f"generator/{name}"] = json.dumps(tree).encode()
    store = open_store("memory://")
    writer = store.writer(KEY, method="test/Write", stage_version=1, request={})
    writer.write("train", "a", b"x")
    found["manifest/one"] = store.commit(writer).to_bytes()
    entry = {"name": "a.png", "sha256": "b" * 64, "size": 3}
    found["upload/folder"] = json.dumps({"kind": "folder", "name": "set", "files": [entry]}).encode()
    examples = Path(__file__).resolve().parents[2] / "examples"
    for path in sorted(examples.glob("*.yaml"))[:4]:
        found[f"experiment/{path.stem}"] = path.read_bytes()
    found["experiment/alias"] = b"a: &a [1, 2020-01-01]\nb: {<<: {c: *a}}\n"
    found["pattern/plain"] = rb"^(?:x|[^\W_]+)_(\d{,3})" + b"\nab_12.png"
    found["pattern/class"] = rb"([\w.\]-]+?)\Z" + b"\nx-1.png"
    for number, (method, kind) in enumerate(METHODS.items()):
        message = kind()
        message.header.key = KEY  # type: ignore[attr-defined]
        found[f"request/{method.rpartition('/')[2]}"] = bytes([number]) + message.SerializeToString()
    return found


def dicom(*, is_windowed: bool) -> bytes:
    """A grey picture of 8 by 8 pixels."""
    drawn = Dataset()
    drawn.SOPClassUID, drawn.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    drawn.PatientID, drawn.Modality, drawn.PhotometricInterpretation = "drawn", "OT", "MONOCHROME2"
    drawn.Rows = drawn.Columns = 8
    drawn.SamplesPerPixel, drawn.BitsAllocated, drawn.BitsStored, drawn.HighBit = 1, 16, 12, 11
    drawn.PixelRepresentation = 0
    if is_windowed:
        drawn.RescaleSlope, drawn.RescaleIntercept = 2, -10
        drawn.WindowCenter, drawn.WindowWidth = 20, 40
    drawn.PixelData = np.arange(64, dtype=np.uint16).tobytes()
    drawn.file_meta = FileMetaDataset()
    drawn.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    drawn.save_as(file, enforce_file_format=True)
    return file.getvalue()


def main() -> None:
    """Writes the seeds that are not there."""
    for name, data in seeds().items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)


if __name__ == "__main__":
    main()
