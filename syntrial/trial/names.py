"""What pseudonyms stand for: for whoever holds the data, or may read the store where its names lie."""

from pathlib import Path

from syntrial.artifacts.content import folder_listing
from syntrial.artifacts.store import ArtifactStore
from syntrial.documents import document
from syntrial.documents.names import MEMBER, Names
from syntrial.errors import ArtifactMissing
from syntrial.imagesets.pseudonyms import file_words, secret_of_file, secret_of_listing
from syntrial.imagesets.trees import tree_at
from syntrial.trial.record import read_trial_record
from syntrial.v1.artifacts_pb2 import MemberRef


def names_of_trial(store: ArtifactStore, *, uid: str) -> dict[str, str]:
    """Names by pseudonym, of all sources of the trial that are prepared.

    Raises ArtifactMissing where the store knows no such trial, or none of its sources has names.
    """
    trial = read_trial_record(store, uid=uid)
    found: dict[str, str] = {}
    for key, manifest in trial.manifests.items():
        if MEMBER in manifest.members:
            names = document.read(Names, store.open(MemberRef(key=key, member=MEMBER)), "names.json")
            found |= names.files | names.patients
    if not found:
        raise ArtifactMissing(
            "no prepared source of this trial has names; where preparation failed, give the folder of images"
        )
    return found


def names_in_folder(folder: Path) -> dict[str, str]:
    """Names by the last part of each file's pseudonym, of a folder or an archive on this machine.

    Raises OSError, and SourceError for what is neither.
    """
    secret = secret_of_listing(folder_listing(folder)) if folder.is_dir() else secret_of_file(folder)
    words = file_words(tree_at(folder).names(), secret=secret)
    return {word: name for name, word in words.items()}
