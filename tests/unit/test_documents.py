"""Documents that name modules name those that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = ROOT / "syntrial"


def rooms_in_document() -> dict[str, str]:
    """What docs/architecture.md says of each room of the platform, by the room's name."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text[text.index("    syntrial/ ") : text.index("    services/ ")]
    entries = re.split(r"^ {6}(?=\S)", tree, flags=re.MULTILINE)[1:]
    return {entry.split()[0].rstrip("/,"): entry for entry in entries}


def test_the_tree_in_the_architecture_names_every_module_and_no_other() -> None:
    said = rooms_in_document()
    rooms = {path.name for path in PLATFORM.iterdir() if (path / "__init__.py").exists()}
    assert said.keys() - {"stages"} == rooms
    for room in rooms - {"v1"}:
        words = set(re.findall(r"\w+", said[room]))
        modules = {path.stem for path in (PLATFORM / room).rglob("*.py") if not path.stem.startswith("__")}
        assert modules <= words, f"docs/architecture.md does not name {sorted(modules - words)} of {room}/"
        parts = {path.parent.name for path in (PLATFORM / room).glob("*/__init__.py")}
        assert set(re.findall(r"(\w+)/:", said[room])) == parts


def test_files_of_the_platform_that_documents_name_exist() -> None:
    for document in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("services/*/README.md")]:
        if document.name == "CHANGELOG.md":
            continue
        text = document.read_text(encoding="utf-8")
        for name in re.findall(r"`(syntrial/[a-z_/]+\.py)", text):
            assert (ROOT / name).exists(), f"{document.relative_to(ROOT)} names {name}"
        for name in re.findall(r"`(syntrial(?:\.(?!dev)[a-z_]+)+)`", text):
            path = ROOT / name.replace(".", "/")
            parent = path.parent
            exists = path.is_dir() or path.with_suffix(".py").exists() or parent.with_suffix(".py").exists()
            assert exists, f"{document.relative_to(ROOT)} names {name}"
