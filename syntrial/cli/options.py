"""The application, its two consoles, and the options that commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

app = typer.Typer(
    name="syntrial",
    help="Honest trials of synthetic medical images: does this synthetic data help this classifier?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

HERE: Final = "On this machine"
CLUSTER: Final = "On a cluster"
CLASSIFIERS: Final = "Of one classifier, on this machine"
ANYWHERE: Final = "Of a trial here (its file) or on a cluster (its name)"

DEFAULT_STORE: Final = "runs/.store"
STORE_SECRET: Final = "syntrial-store"  # noqa: S105 - its name, not its content

File = Annotated[Path, typer.Argument(help="An experiment in YAML.", show_default=False)]
Trial = Annotated[
    str,
    typer.Argument(metavar="FILE|NAME", help="An experiment's file, or its name on the cluster.", show_default=False),
]
Name = Annotated[str, typer.Argument(help="An Experiment's name on the cluster.", show_default=False)]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="SYNTRIAL_STORE", help="A folder, or s3://bucket/prefix: where artifacts lie.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(envvar="SYNTRIAL_DATA_ROOT", help="The folder that holds MedMNIST's files; default: download them."),
]
PictureFormat = Annotated[
    str, typer.Option("--format", help="Of images: png, npz, medmnist, zip (StyleGAN's) or imagefolder.")
]
Out = Annotated[Path | None, typer.Option(help="Where the report goes; default: runs/NAME.", show_default=False)]
Cores = Annotated[int | None, typer.Option(min=1, help="Cores to use; default: all of this machine's.")]
Devices = Annotated[
    int | None,
    typer.Option(min=1, help="Devices that share a generator's training; default: the file's.", show_default=False),
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Show the trial in MLflow too: http://… or https://… of its server.", show_default=False
    ),
]
Context = Annotated[
    str | None, typer.Option(help="The kubeconfig's context; default: its current one.", rich_help_panel="Cluster")
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Default: the context's namespace.", rich_help_panel="Cluster"),
]
Secret = Annotated[
    str, typer.Option("--store-secret", help="The Secret that says where the store is.", rich_help_panel="Cluster")
]


Endpoint = Annotated[
    str | None,
    typer.Option(
        "--store-endpoint",
        envvar="SYNTRIAL_STORE_ENDPOINT",
        help="Where this machine reaches the store's S3 server; default: as the Secret says, by port-forward where "
        "that is a Service of the cluster.",
        rich_help_panel="Cluster",
    ),
]
