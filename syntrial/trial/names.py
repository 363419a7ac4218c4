"""What pseudonyms stand for: for whoever holds the data, or may read the store where its names lie."""

from pathlib import Path

from syntrial.artifacts.content import folder_listing
from syntrial.artifacts.store import ArtifactStore
from syntrial.documents import document
from syntrial.documents.names import MEMBER, Names
from syntrial.errors import ArtifactMissing
from syntrial.imagesets.pseudonyms import file_words, secret_of_file, secret_of_listing
from syntrial.imagesets.tables import reads
from syntrial.imagesets.trees import below_top, tree_at, with_archives
from syntrial.trial.record import read_trial_record
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.data_preparation_pb2 import Source, TableSource


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

    Archives within a folder count as folders. A table numbers the files that it names, so of its pseudonyms the hash
    alone is the same here (`is_called`); the key of one that names `images` or lists is of those files alone, and not
    known here. Raises OSError, and SourceError for what is neither folder nor archive.
    """
    tree = tree_at(folder)
    if folder.is_dir():
        of_table = reads(Source(table=TableSource()))
        secrets = [secret_of_listing(folder_listing(folder)), secret_of_listing(folder_listing(folder, reads=of_table))]
        trees = [tree, with_archives(tree, lambda _: True, title=folder.name)]
    else:
        secrets, trees = [secret_of_file(folder)], [tree, below_top(tree)]
    found: dict[str, str] = {}
    for secret in secrets:
        for part in trees:
            found |= {word: name for name, word in file_words(part.names(), secret=secret).items()}
    return found


def is_called(word: str, asked: str) -> bool:
    """Whether a pseudonym is the one that is asked for, whatever stands before its hash: a split, a class, a number."""
    return word.rpartition("-")[2] == asked.rpartition("-")[2]
