"""Public data sets as they are downloaded: what `table: {preset: NAME}` stands for, in the fields of a table.

What a user gives beside the preset counts in place of it, of `labels` field by field.

    nih-chestxray14   Wang et al. 2017. `images/` or `images_001/images/` …; 14 findings; an image with 'No Finding' has
                      none of them (`labels: {none: ""}` makes it a label of its own). train_val_list.txt is cut by
                      patient into training and validation; test_list.txt is the test split.
    chexpert          Irvin et al. 2019. The folder that holds train.csv and valid.csv. 13 observations ('No Finding' is
                      none of them); a label that is not mentioned counts as absent, one that is not certain too
                      (`labels: {uncertain: ones}` or ignore: U-Ones, U-Ignore of the paper, there per label). A test
                      split is cut from training.
    isic2019          Combalia et al. 2019; one class of eight. Images of one lesion stay together; where none is named,
                      an image stands alone.
    ham10000          Tschandl et al. 2018; one class of seven. Images of one lesion stay together.
"""

from collections.abc import Mapping
from typing import Any, Final

TABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "nih-chestxray14": {
        "file": tuple(
            f"Data_Entry_{name}.csv{packed}" for name in ("2017", "2017_v2020", "sample") for packed in ("", ".gz")
        ),
        "images": ("images", "images_*"),
        "path": "Image Index",
        "labels": {"column": "Finding Labels", "separator": "|", "none": "No Finding"},
        "patient": "Patient ID",
        "splits": {"trainval": "train_val_list.txt", "test": "test_list.txt"},
    },
    "chexpert": {
        "files": {"train": "train.csv", "validation": "valid.csv"},
        "images": ("train", "valid"),
        "path": "Path",
        "patient_pattern": r"(patient\d+)",
        "labels": {
            "columns": (
                *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
                *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
                *("Fracture", "Support Devices"),
            ),
            "several": True,
            "uncertain": "zeros",
            "blank": "zeros",
        },
    },
    "isic2019": {
        "file": ("ISIC_2019_Training_GroundTruth.csv",),
        "metadata": ("ISIC_2019_Training_Metadata.csv",),
        "images": ("ISIC_2019_Training_Input*",),
        "path": "image",
        "labels": {"columns": ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")},
        "patient": "lesion_id",
        "empty_patients": "own",
    },
    "ham10000": {
        "file": ("HAM10000_metadata.csv", "HAM10000_metadata"),
        "images": ("HAM10000_images_part_*", "images"),
        "path": "image_id",
        "labels": {"column": "dx"},
        "patient": "lesion_id",
    },
}
"""By the names that users write."""
