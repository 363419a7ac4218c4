"""Generates syntrial/v1 from protos/ (``make protos``); with ``--check``, fails on a difference (``make verify``).

Clients and servers are built from the descriptors (`syntrial.rpc`), so only messages are generated here.
"""

import filecmp
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
OUTPUT = PROTOS.parent / "syntrial" / "v1"


def generate(target: Path) -> None:
    """Writes the generated modules of all protos into `target`/syntrial/v1."""
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("syntrial/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        # The package that ships this proto names its file operations_proto.proto, but its descriptor operations.proto.
        longrunning = Path(folder, "google", "longrunning")
        longrunning.mkdir(parents=True)
        installed = resources.files("google.longrunning") / "operations_proto.proto"
        (longrunning / "operations.proto").write_bytes(installed.read_bytes())
        site = Path(str(installed)).parents[2]
        well_known = resources.files("grpc_tools") / "_proto"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{folder}", f"-I{site}", f"-I{well_known}"]
        status = protoc.main([*arguments, f"--python_out={target}", f"--pyi_out={target}", *files])
    if status != 0:
        raise SystemExit(status)


def main() -> None:
    """Generates, or compares what stands in the tree with what would be generated."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = Path(folder, "syntrial", "v1")
        names = sorted({p.name for p in fresh.iterdir()} | {p.name for p in OUTPUT.glob("*_pb2.py*")})
        _, different, missing = filecmp.cmpfiles(fresh, OUTPUT, names, shallow=False)
        if "--check" not in sys.argv[1:]:
            for name in names:
                if (fresh / name).exists():
                    shutil.copy(fresh / name, OUTPUT / name)
                else:
                    (OUTPUT / name).unlink()
        elif different or missing:
            raise SystemExit(f"syntrial/v1 differs from protos/: {', '.join(different + missing)}. Run `make protos`.")


if __name__ == "__main__":
    main()
