"""The controller's command line: `python -m syntrial.controller` serves until it is told to stop.

`python -m syntrial.controller gc` collects garbage once, in the stores of the namespaces that are served, and
`python -m syntrial.controller track` shows their trials in MLflow until it is told to stop.
"""

import functools
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import structlog
import typer

from syntrial import __version__
from syntrial.errors import SyntrialError, UserError
from syntrial.rpc.logs import configure_logging

if TYPE_CHECKING:
    from syntrial.artifacts.store import ArtifactStore

METRICS_PORT: Final = 9090
LIVENESS_PORT: Final = 8080

CACHE_LIMIT: Final = "512MiB"
"""Of the stores of all namespaces together, where `SYNTRIAL_CACHE_LIMIT` says nothing: reports, no images."""

_STORE_SETTINGS: Final = ("SSL_CERT_FILE", "SYNTRIAL_CACHE_LIMIT")

_log = structlog.stdlib.get_logger(__name__)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Namespaces = Annotated[
    str | None, typer.Option(help="Namespaces that are served, with commas between; default: the current one.")
]
ClusterWide = Annotated[bool, typer.Option("--cluster-wide", help="Serve all namespaces.")]
StoreSecret = Annotated[str, typer.Option(help="Name of the Secret of the store in each namespace.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig; in a pod none is needed.")]


@app.callback(invoke_without_command=True)
def serve(  # noqa: PLR0917 - options of a command
    context: typer.Context,
    namespaces: Namespaces = None,
    cluster_wide: ClusterWide = False,
    image_repository: Annotated[
        str, typer.Option(envvar="IMAGE_REPOSITORY", help="What stands before /syntrial-generation.")
    ] = "localhost/syntrial",
    image_tag: Annotated[str, typer.Option(help="Tag of the stages' images.")] = __version__,
    image_digest: Annotated[
        list[str] | None, typer.Option(help="STAGE=sha256:…: that stage's image is named by its digest.")
    ] = None,
    image_pull_policy: Annotated[str, typer.Option(help="Always, IfNotPresent or Never.")] = "IfNotPresent",
    store_secret: StoreSecret = "syntrial-store",  # noqa: S107 - the name of a Secret
    step_limit: Annotated[
        int, typer.Option(min=1, max=25_000, help="Steps that a trial may have; one with more is not valid.")
    ] = 20_000,
    allowed: Annotated[
        str, typer.Option(help="What experiments may ask of the cluster: `admission.allowed` of the chart, as JSON.")
    ] = "{}",
    jobs_per_experiment: Annotated[int, typer.Option(min=1, help="Live Jobs of one experiment.")] = 64,
    jobs_per_namespace: Annotated[int, typer.Option(min=1, help="Live Jobs of a namespace.")] = 512,
    pods: Annotated[
        str, typer.Option(help="Requests and limits of pods whose experiment gives none: `pods` of the chart, as JSON.")
    ] = "{}",
    gpu_hours: Annotated[
        str, typer.Option(help="GPU-hours of a month by namespace: `controller.gpuHours` of the chart, as JSON.")
    ] = "{}",
    gpu_ledger: Annotated[
        str, typer.Option(help="NAMESPACE/NAME of the ConfigMap in which GPU-hours are counted.")
    ] = "",
    threads: Annotated[int, typer.Option(min=1, help="Experiments that are looked at at a time.")] = 16,
    resync: Annotated[float, typer.Option(min=1, help="Seconds between two times that all is read anew.")] = 300.0,
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics; 0: none.")] = METRICS_PORT,
    liveness_port: Annotated[int, typer.Option(help="Port of /healthz.")] = LIVENESS_PORT,
    kube_context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
) -> None:
    """Turns Experiments into Jobs, and their results into a verdict and a status."""
    if context.invoked_subcommand is not None:
        return
    from prometheus_client import REGISTRY, start_http_server

    from syntrial.artifacts.cache import CacheBudget, parse_size
    from syntrial.cluster.client import connect
    from syntrial.cluster.manifests import Images
    from syntrial.cluster.pod_resources import defaults_from
    from syntrial.controller.controller import Controller
    from syntrial.controller.gpu_hours import budget_from
    from syntrial.controller.metered import metered_api
    from syntrial.controller.serving import serve as serve_until_stopped
    from syntrial.controller.settings import Settings
    from syntrial.controller.stores import open_from_secret
    from syntrial.experiment.allowed import allowed_from

    cluster = connect(context=kube_context)
    settings = Settings(
        namespaces=_namespaces(namespaces, cluster_wide=cluster_wide, default=cluster.namespace),
        images=Images(
            repository=image_repository,
            tag=image_tag,
            digests=dict(_digest(item) for item in image_digest or ()),
            pull_policy=_pull_policy(image_pull_policy),
        ),
        allowed=allowed_from(allowed),
        store_secret=store_secret,
        step_limit=step_limit,
        jobs_per_experiment=jobs_per_experiment,
        jobs_per_namespace=jobs_per_namespace,
        pods=defaults_from(pods),
        gpu_hours=budget_from(gpu_hours),
        gpu_ledger=gpu_ledger,
        threads=threads,
        resync_seconds=resync,
    )
    controller = Controller(
        metered_api(cluster),
        settings,
        open_store=functools.partial(
            open_from_secret,
            environment=_store_environment(),
            cache_folder=os.environ.get("SYNTRIAL_CACHE_DIR", ""),
            budget=CacheBudget(
                parse_size(os.environ.get("SYNTRIAL_CACHE_LIMIT") or CACHE_LIMIT, setting="SYNTRIAL_CACHE_LIMIT")
            ),
        ),
    )
    REGISTRY.register(controller.metrics)
    if metrics_port:
        start_http_server(metrics_port)
    serve_until_stopped(controller, cluster, settings, liveness_port=liveness_port)


@app.command()
def gc(  # noqa: PLR0917 - options of a command
    namespaces: Namespaces = None,
    cluster_wide: ClusterWide = False,
    store_secret: StoreSecret = "syntrial-store",  # noqa: S107 - the name of a Secret
    older_than_days: Annotated[float, typer.Option(min=0, help="Days that unreachable artifacts are kept.")] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where no Experiment exists, or over a fifth of the bytes would go.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over stores that another cluster was the owner of.")
    ] = False,
    kube_context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
) -> None:
    """Collect garbage: what no Experiment reaches that exists, existed lately, or asked to be retained."""
    from syntrial.cluster.client import connect
    from syntrial.controller.collection import collect_namespace, uids_on_record
    from syntrial.controller.stores import open_from_secret

    cluster = connect(context=kube_context)
    served = _namespaces(namespaces, cluster_wide=cluster_wide, default=cluster.namespace)
    errors: list[Exception] = []

    def collect(namespace: str) -> None:
        store = open_from_secret(
            cluster.read_secret(namespace, store_secret),
            namespace,
            environment=_store_environment(),
            cache_folder=os.environ.get("SYNTRIAL_CACHE_DIR", ""),
        )

        def living() -> set[str]:
            return uids_on_record(cluster.list("Experiment", namespace))

        found = collect_namespace(
            store,
            living=living,
            owner=_uid_of(cluster.get("Namespace", None, namespace), namespace),
            older_than=older_than_days * 86400.0,
            dry_run=dry_run,
            adopt=adopt,
            force=force,
        )
        _log.info(
            "would collect" if dry_run else "collected",
            namespace=namespace,
            objects=found.objects,
            bytes=found.bytes,
            held_bytes=found.held,
            artifacts=len(found.removed),
            deleted_experiments=len(found.forgotten),
            kept_artifacts=len(found.kept),
            lately_deleted_experiments=len(found.waiting),
        )

    for namespace in served or [item["metadata"]["name"] for item in cluster.list("Namespace")]:
        if not served and cluster.get("Secret", namespace, store_secret) is None:
            continue
        try:
            collect(namespace)
        except SyntrialError as error:
            # One namespace's trouble must not keep the others' stores full.
            _log.error("not collected", namespace=namespace, error=str(error))
            errors.append(error)
        except Exception as error:  # noqa: BLE001 - nor what nobody thought of
            _log.exception("not collected, by a fault of Syntrial's", namespace=namespace)
            errors.append(error)
    if errors:
        _log.error("namespaces not collected", count=len(errors))
        raise typer.Exit(2 if all(isinstance(error, UserError) for error in errors) else 1)


@app.command()
def track(  # noqa: PLR0917 - options of a command
    servers: Annotated[str, typer.Option(help="MLflow servers that experiments may name: a JSON list.")],
    namespaces: Namespaces = None,
    cluster_wide: ClusterWide = False,
    store_secret: StoreSecret = "syntrial-store",  # noqa: S107 - the name of a Secret
    liveness_port: Annotated[int, typer.Option(help="Port of /healthz.")] = LIVENESS_PORT,
    kube_context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
) -> None:
    """Show trials in the MLflow servers that their experiments name."""
    from syntrial.artifacts.cache import CacheBudget, parse_size
    from syntrial.cluster.client import connect
    from syntrial.controller.serving import health, stopped_by_signals
    from syntrial.controller.stores import open_from_secret
    from syntrial.controller.tracker import Tracker, targets_from

    cluster = connect(context=kube_context)
    limit = parse_size(os.environ.get("SYNTRIAL_CACHE_LIMIT") or CACHE_LIMIT, setting="SYNTRIAL_CACHE_LIMIT")
    budget = CacheBudget(limit)

    def open_store(namespace: str) -> "ArtifactStore":
        return open_from_secret(
            cluster.read_secret(namespace, store_secret),
            namespace,
            environment=_store_environment(),
            cache_folder=os.environ.get("SYNTRIAL_CACHE_DIR", ""),
            budget=budget,
        )

    tracker = Tracker(
        cluster,
        targets_from(servers),
        namespaces=_namespaces(namespaces, cluster_wide=cluster_wide, default=cluster.namespace),
        open_store=open_store,
    )
    with health(tracker.hung, port=liveness_port):
        tracker.serve(stopped_by_signals())


def main() -> None:
    """Runs the command line; exit code 2 for a user's error, 1 for another."""
    configure_logging()
    try:
        app()
    except SyntrialError as error:
        _log.error("ended", error=str(error))
        sys.exit(2 if isinstance(error, UserError) else 1)


def _uid_of(namespace: Mapping[str, Any] | None, name: str) -> str:
    if namespace is None:
        raise UserError(field="--namespaces", rule="each exists", received=name, remedy="Name those that do.")
    return str(namespace["metadata"]["uid"])


def _namespaces(given: str | None, *, cluster_wide: bool, default: str) -> tuple[str, ...]:
    if cluster_wide:
        return ()
    return tuple(name.strip() for name in (given or default).split(",") if name.strip())


def _digest(item: str) -> tuple[str, str]:
    stage, separator, digest = item.partition("=")
    if not separator or not digest.startswith("sha256:"):
        raise UserError(
            field="--image-digest",
            rule="is STAGE=sha256:…",
            received=item,
            remedy="Give the digest of a stage's image.",
        )
    return stage, digest


def _pull_policy(given: str) -> Literal["Always", "IfNotPresent", "Never"]:
    if given not in ("Always", "IfNotPresent", "Never"):
        raise UserError(
            field="--image-pull-policy", rule="is Always, IfNotPresent or Never", received=given, remedy="Name one."
        )
    return cast(Literal["Always", "IfNotPresent", "Never"], given)


def _store_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _STORE_SETTINGS if name in os.environ}


if __name__ == "__main__":
    main()
