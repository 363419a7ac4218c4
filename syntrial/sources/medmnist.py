"""The MedMNIST data sets, as data: what `resolve` and the experiment model must know before any file is at hand.

The rows repeat the `medmnist` package's `INFO` (a test compares the two), since the platform may not import that
package: it brings torch with it. Volumes (the "3d" sets) are left out: Syntrial works on images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

SIZES: Final = (28, 64, 128, 224)
"""Sides, in pixels, in which every set is published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MedMnist:
    """One data set of MedMNIST v2 (Yang et al., Scientific Data 2023), or MedMNIST+ for the larger sizes."""

    name: str
    """The package's flag."""
    licence: str
    task: Literal["multi-class", "multi-label"]
    """Binary and ordinal sets are multi-class here."""
    channels: int
    classes: tuple[str, ...]
    """Names in the order of the labels."""
    images: tuple[int, int, int]
    """How many images train, validation and test hold."""
    md5: Mapping[int, str]
    """The official checksum of the .npz file of each size."""

    def filename(self, size: int) -> str:
        """The official file's name: the size is left out at 28 pixels."""
        return f"{self.name}.npz" if size == SIZES[0] else f"{self.name}_{size}.npz"


MEDMNIST: Final[dict[str, MedMnist]] = {
    row.name: row
    for row in (
        MedMnist(
            name="pathmnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=3,
            classes=(
                "adipose",
                "background",
                "debris",
                "lymphocytes",
                "mucus",
                "smooth muscle",
                "normal colon mucosa",
                "cancer-associated stroma",
                "colorectal adenocarcinoma epithelium",
            ),
            images=(89996, 10004, 7180),
            md5={
                28: "a8b06965200029087d5bd730944a56c1",
                64: "55aa9c1e0525abe5a6b9d8343a507616",
                128: "ac42d08fb904d92c244187169d1fd1d9",
                224: "2c51a510bcdc9cf8ddb2af93af1eadec",
            },
        ),
        MedMnist(
            name="chestmnist",
            licence="CC BY 4.0",
            task="multi-label",
            channels=1,
            classes=(
                "atelectasis",
                "cardiomegaly",
                "effusion",
                "infiltration",
                "mass",
                "nodule",
                "pneumonia",
                "pneumothorax",
                "consolidation",
                "edema",
                "emphysema",
                "fibrosis",
                "pleural",
                "hernia",
            ),
            images=(78468, 11219, 22433),
            md5={
                28: "02c8a6516a18b556561a56cbdd36c4a8",
                64: "9de6cd0b934ebb5b7426cfba5efbae16",
                128: "db107e5590b27930b62dbaf558aebee3",
                224: "45bd33e6f06c3e8cdb481c74a89152aa",
            },
        ),
        MedMnist(
            name="dermamnist",
            licence="CC BY-NC 4.0",
            task="multi-class",
            channels=3,
            classes=(
                "actinic keratoses and intraepithelial carcinoma",
                "basal cell carcinoma",
                "benign keratosis-like lesions",
                "dermatofibroma",
                "melanoma",
                "melanocytic nevi",
                "vascular lesions",
            ),
            images=(7007, 1003, 2005),
            md5={
                28: "0744692d530f8e62ec473284d019b0c7",
                64: "b70a2f5635c6199aeaa28c31d7202e1f",
                128: "2defd784463fa5243564e855ed717de1",
                224: "8974907d8e169bef5f5b96bc506ae45d",
            },
        ),
        MedMnist(
            name="octmnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "choroidal neovascularization",
                "diabetic macular edema",
                "drusen",
                "normal",
            ),
            images=(97477, 10832, 1000),
            md5={
                28: "c68d92d5b585d8d81f7112f81e2d0842",
                64: "e229e9440236b774d9f0dfef9d07bdaf",
                128: "0a97e76651ace45c5d943ee3f65b63ae",
                224: "abc493b6d529d5de7569faaef2773ba3",
            },
        ),
        MedMnist(
            name="pneumoniamnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "normal",
                "pneumonia",
            ),
            images=(4708, 524, 624),
            md5={
                28: "28209eda62fecd6e6a2d98b1501bb15f",
                64: "8f4eceb4ccffa70c672198ea285246c6",
                128: "05b46931834c231683c68f40c47b2971",
                224: "d6a3c71de1b945ea11211b03746c1fe1",
            },
        ),
        MedMnist(
            name="retinamnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=3,
            classes=(
                "0",
                "1",
                "2",
                "3",
                "4",
            ),
            images=(1080, 120, 400),
            md5={
                28: "bd4c0672f1bba3e3a89f0e4e876791e4",
                64: "afda852cc34dcda56f86ad2b2457dbcc",
                128: "e48e916a24454daf90583d4e6efb1a18",
                224: "eae7e3b6f3fcbda4ae613ebdcbe35348",
            },
        ),
        MedMnist(
            name="breastmnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "malignant",
                "normal, benign",
            ),
            images=(546, 78, 156),
            md5={
                28: "750601b1f35ba3300ea97c75c52ff8f6",
                64: "742edef2a1fd1524b2efff4bd7ba9364",
                128: "363e4b3f8d712e9b5de15470a2aaadf1",
                224: "b56378a6eefa9fed602bb16d192d4c8b",
            },
        ),
        MedMnist(
            name="bloodmnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=3,
            classes=(
                "basophil",
                "eosinophil",
                "erythroblast",
                "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
                "lymphocyte",
                "monocyte",
                "neutrophil",
                "platelet",
            ),
            images=(11959, 1712, 3421),
            md5={
                28: "7053d0359d879ad8a5505303e11de1dc",
                64: "2b94928a2ae4916078ca51e05b6b800b",
                128: "adace1e0ed228fccda1f39692059dd4c",
                224: "b718ff6835fcbdb22ba9eacccd7b2601",
            },
        ),
        MedMnist(
            name="tissuemnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "Collecting Duct, Connecting Tubule",
                "Distal Convoluted Tubule",
                "Glomerular endothelial cells",
                "Interstitial endothelial cells",
                "Leukocytes",
                "Podocytes",
                "Proximal Tubule Segments",
                "Thick Ascending Limb",
            ),
            images=(165466, 23640, 47280),
            md5={
                28: "ebe78ee8b05294063de985d821c1c34b",
                64: "123ece2eba09d0aa5d698fda57103344",
                128: "61b955355d7425a89687b06cca3ce0c2",
                224: "b077128c4a949f0a4eb01517f9037b9c",
            },
        ),
        MedMnist(
            name="organamnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "bladder",
                "femur-left",
                "femur-right",
                "heart",
                "kidney-left",
                "kidney-right",
                "liver",
                "lung-left",
                "lung-right",
                "pancreas",
                "spleen",
            ),
            images=(34561, 6491, 17778),
            md5={
                28: "68e3f8846a6bd62f0c9bf841c0d9eacc",
                64: "2dcccc29b88e6da5a01161ef20cda288",
                128: "eeae80d0a227a8d099027e1b3cfd3b60",
                224: "50747347e05c87dd3aaf92c49f9f3170",
            },
        ),
        MedMnist(
            name="organcmnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "bladder",
                "femur-left",
                "femur-right",
                "heart",
                "kidney-left",
                "kidney-right",
                "liver",
                "lung-left",
                "lung-right",
                "pancreas",
                "spleen",
            ),
            images=(12975, 2392, 8216),
            md5={
                28: "b9ceb9546e10131b32923c5bbeaea2b1",
                64: "3ce34a8724ea6f548e6db4744d03b6a9",
                128: "773c1f009daa3fe5d9a2a201b2a7ed94",
                224: "050f5e875dc056f6768abf94ec9995d1",
            },
        ),
        MedMnist(
            name="organsmnist",
            licence="CC BY 4.0",
            task="multi-class",
            channels=1,
            classes=(
                "bladder",
                "femur-left",
                "femur-right",
                "heart",
                "kidney-left",
                "kidney-right",
                "liver",
                "lung-left",
                "lung-right",
                "pancreas",
                "spleen",
            ),
            images=(13932, 2452, 8827),
            md5={
                28: "9ab87b696fb54e2a387ebe992d6ed5f1",
                64: "53a6d115339d874c25e309a994ff46d3",
                128: "ded0c5fa01a95dc4978b956f613e9b8e",
                224: "b354719e553fbbb2513d5533f52a4cb1",
            },
        ),
    )
}
"""The two-dimensional sets by name."""
