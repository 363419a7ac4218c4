"""What laptop and API server both refuse, each with a good twin: one table for the unit and the cluster tests."""

from dataclasses import dataclass
from typing import Any

API = "syntrial.dev/v1alpha1"
EDM: dict[str, Any] = {"name": "edm", "generator": {"diffusion": {}}}
IMPORTED: dict[str, Any] = {"name": "made", "images": {"phantom": {}}}
TWO_CLASSIFIERS: list[dict[str, Any]] = [{"model": "resnet18"}, {"model": "resnet18", "pretraining": "hub"}]
PROBE: dict[str, Any] = {"model": "resnet18", "name": "probe", "pretraining": "hub", "probe": {}}
PROBED: dict[str, Any] = {"model": "resnet18", "name": "c", "probe": {}}
PHASE: dict[str, Any] = {"real": 1, "synthetic": 1}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Fields of a spec that break one rule, and those that keep it."""

    bad: dict[str, Any]
    good: dict[str, Any]
    message: str = ""
    """What both say; "" where the API server has other words."""
    server: str = ""
    """What the API server says, where it has other words."""
    field: str
    """The field that the API server names."""


def arm(*phases: dict[str, Any], name: str = "mine", **fields: Any) -> dict[str, Any]:
    return {"arms": ["augment-50", {"name": name, "phases": list(phases), **fields}]}


def primary(**fields: Any) -> dict[str, Any]:
    return {"endpoint": {"primary": {"arm": "augment-100", **fields}}}


ROLE = "node-role.kubernetes.io"
IMAGE = f"ghcr.io/lab/generator@sha256:{'a' * 64}"


def program(**fields: Any) -> dict[str, Any]:
    return {"synthetic": [{"name": "own", "generator": {"external": fields}}]}


def pooled(pool: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "edm", "generator": {"latentDiffusion": {"unlabelled": [pool], **fields}}}


def tuned(**fields: Any) -> dict[str, Any]:
    return {"synthetic": [{"name": "gan", "generator": {"gan": {}}, **fields}]}


def tuned_classifier(over: dict[str, Any], tune: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"classifiers": [{"model": "resnet18", **fields, "tune": {"over": over, **(tune or {})}}]}


RATE = {"learningRate": {"choice": [0.1, 1]}}
MANY_MOMENTS = {"over": RATE, "trials": 200, "snapshots": 20}

CASES: dict[str, Case] = {
    "no source": Case(
        bad={"dataset": {"size": 28}},
        good={"dataset": {"size": 28, "medmnist": "breastmnist"}},
        message="needs exactly one of medmnist, npz, folder, table and phantom",
        field="spec.dataset",
    ),
    "two sources": Case(
        bad={"dataset": {"phantom": {}, "npz": "s3://b/a.npz"}},
        good={"dataset": {"npz": "s3://b/a.npz"}},
        message="needs exactly one of medmnist, npz, folder, table and phantom",
        field="spec.dataset",
    ),
    "a source that is null, and no other": Case(
        bad={"dataset": {"phantom": None}},
        good={"dataset": {"phantom": {}, "npz": None}},
        message="needs exactly one of medmnist, npz, folder, table and phantom",
        field="spec.dataset",
    ),
    "a count and a share of the training images": Case(
        bad={"dataset": {"phantom": {}, "trainCount": 100, "trainFraction": 0.5}},
        good={"dataset": {"phantom": {}, "trainCount": 100}},
        message="stands in place of `trainFraction`",
        field="spec.dataset.trainCount",
    ),
    "a limit that each epoch draws, and no limit": Case(
        bad={"dataset": {"phantom": {}, "capDrawn": "each-epoch"}},
        good={"dataset": {"phantom": {}, "capDrawn": "each-epoch", "capPerLabel": 10}},
        message="each epoch draws the images of `capPerLabel`",
        field="spec.dataset.capDrawn",
    ),
    "a probe of images that each epoch draws": Case(
        bad={"dataset": {"phantom": {}, "capDrawn": "each-epoch", "capPerLabel": 10}, "classifiers": [PROBE]},
        good={"dataset": {"phantom": {}, "capDrawn": "once", "capPerLabel": 10}, "classifiers": [PROBE]},
        message="a probe has no epochs for which `capDrawn: each-epoch` could draw",
        field="spec.classifiers",
    ),
    "images that each epoch draws, and balanced sampling": Case(
        bad={
            "dataset": {"phantom": {}, "capDrawn": "each-epoch", "capPerLabel": 10},
            "classifiers": [{"model": "resnet18", "recipe": {"sampling": "balanced"}}],
        },
        good={
            "dataset": {"phantom": {}, "capPerLabel": 10},
            "classifiers": [{"model": "resnet18", "recipe": {"sampling": "balanced"}}],
        },
        message="`sampling: balanced` repeats what `capDrawn: each-epoch` leaves out",
        field="spec.classifiers",
    ),
    "images that each epoch of a link draws, and balanced sampling": Case(
        bad={
            "classifiers": [
                {
                    "model": "resnet18",
                    "name": "c",
                    "chain": [
                        {
                            "dataset": {"phantom": {}, "capDrawn": "each-epoch", "capPerLabel": 10},
                            "recipe": {"sampling": "balanced"},
                        }
                    ],
                }
            ]
        },
        good={
            "classifiers": [
                {
                    "model": "resnet18",
                    "name": "c",
                    "chain": [{"dataset": {"phantom": {}, "capDrawn": "each-epoch", "capPerLabel": 10}}],
                }
            ]
        },
        message="`sampling: balanced` repeats what `capDrawn: each-epoch` leaves out",
        field="spec.classifiers[0].chain[0].recipe",
    ),
    "two tasks": Case(
        bad={"dataset": {"phantom": {}, "task": {"multiLabel": ["a", "b"], "ordinal": ["a", "b"]}}},
        good={"dataset": {"phantom": {}, "task": {"ordinal": ["opacity", "normal"]}}},
        message="needs exactly one of binary, multiLabel and ordinal",
        field="spec.dataset.task",
    ),
    "a table of one file and of several": Case(
        bad={"dataset": {"table": {"folder": "s3://b/a", "file": "a.csv", "files": {"train": "b.csv"}}}},
        good={"dataset": {"table": {"folder": "s3://b/a", "file": "a.csv"}}},
        message="a table is one file, or one for each split",
        field="spec.dataset.table",
    ),
    "labels in one column and in several": Case(
        bad={"dataset": {"table": {"folder": "s3://b/a", "labels": {"column": "a", "columns": ["b", "c"]}}}},
        good={"dataset": {"table": {"folder": "s3://b/a", "labels": {"columns": ["b", "c"]}}}},
        message="labels are in one column or in several",
        field="spec.dataset.table.labels.columns",
    ),
    "splits in a column and in a list": Case(
        bad={"dataset": {"table": {"folder": "s3://b/a", "splits": {"column": "a", "test": "b.txt"}}}},
        good={"dataset": {"table": {"folder": "s3://b/a", "splits": {"test": "b.txt"}}}},
        message="splits are in a column or in lists",
        field="spec.dataset.table.splits.column",
    ),
    "splits that are named and ignored": Case(
        bad={"dataset": {"table": {"folder": "s3://b/a", "splits": {"ignore": True, "test": "b.txt"}}}},
        good={"dataset": {"table": {"folder": "s3://b/a", "splits": {"ignore": True}}}},
        message="splits that are named are not ignored",
        field="spec.dataset.table.splits.ignore",
    ),
    "a list for training and validation beside one for training": Case(
        bad={"dataset": {"table": {"folder": "s3://b/a", "splits": {"trainval": "a.txt", "train": "b.txt"}}}},
        good={"dataset": {"table": {"folder": "s3://b/a", "splits": {"trainval": "a.txt"}}}},
        message="holds both training and validation",
        field="spec.dataset.table.splits.trainval",
    ),
    "an imported set of two sources": Case(
        bad={"synthetic": [{"name": "made", "images": {"folder": "s3://b/a", "npz": "s3://b/a"}}]},
        good={"synthetic": [{"name": "made", "images": {"folder": "s3://b/a"}}]},
        message="needs exactly one of medmnist, npz, folder, table and phantom",
        field="spec.synthetic[0].images",
    ),
    "classes of a source that names its own": Case(
        bad={"dataset": {"phantom": {}, "classes": ["a", "b"]}},
        good={"dataset": {"npz": "claim://data/a.npz", "classes": ["a", "b"]}},
        message="`classes` names the labels of an .npz file; other sources name their own (see classMap)",
        field="spec.dataset",
    ),
    "several labels of a source that says so itself": Case(
        bad={"dataset": {"phantom": {}, "severalLabels": True}},
        good={"dataset": {"npz": "claim://data/a.npz", "severalLabels": True}},
        message="`severalLabels` says of an .npz file what its labels are",
        field="spec.dataset",
    ),
    "two rules for pixels": Case(
        bad={"dataset": {"folder": "claim://data/a", "intensity": {"window": [0, 9], "percentiles": [1, 99]}}},
        good={"dataset": {"folder": "claim://data/a", "intensity": {"window": [0, 9]}}},
        message="needs exactly one of window and percentiles",
        field="spec.dataset.intensity",
    ),
    "a window that is upside down": Case(
        bad={"dataset": {"folder": "claim://data/a", "intensity": {"window": [9, -9.5]}}},
        good={"dataset": {"folder": "claim://data/a", "intensity": {"window": [-9.5, 9]}}},
        message="`intensity` goes from a lower to a higher value",
        field="spec.dataset.intensity",
    ),
    "percentiles beyond all": Case(
        bad={"dataset": {"folder": "claim://data/a", "intensity": {"percentiles": [1, 101]}}},
        good={"dataset": {"folder": "claim://data/a", "intensity": {"percentiles": [0, 100]}}},
        message="`intensity.percentiles` are from 0 to 100",
        field="spec.dataset.intensity",
    ),
    "a secret without a bucket": Case(
        bad={"dataset": {"npz": "claim://data/a.npz", "secret": "key"}},
        good={"dataset": {"npz": "s3://data/a.npz", "secret": "key"}},
        message="`secret` belongs to an s3:// address",
        field="spec.dataset",
    ),
    "a secret of a folder that is no bucket": Case(
        bad={"dataset": {"folder": "chest/s3://", "secret": "key"}},
        good={"dataset": {"folder": "s3://data/chest", "secret": "key"}},
        message="`secret` belongs to an s3:// address",
        field="spec.dataset",
    ),
    "patients of no folder": Case(
        bad={"dataset": {"npz": "s3://b/a.npz", "patientPattern": "(a)"}},
        good={"dataset": {"folder": "s3://b/a", "patientPattern": "(a)"}},
        message="`patientPattern` belongs to a folder",
        field="spec.dataset",
    ),
    "a filter of two kinds": Case(
        bad={"synthetic": [EDM | {"filters": [{"centroid": {"keep": 0.5}, "confidence": {"minimum": 0.5}}]}]},
        good={"synthetic": [EDM | {"filters": [{"centroid": {"keep": 0.5}}, {"confidence": {"minimum": 0.5}}]}]},
        message="needs exactly one of centroid, confidence and realism",
        field="spec.synthetic[0].filters[0]",
    ),
    "a filter that keeps a share and a number": Case(
        bad={"synthetic": [EDM | {"filters": [{"centroid": {"keep": 0.5, "top": 300}}]}]},
        good={"synthetic": [EDM | {"filters": [{"centroid": {"top": 300, "own": True}}]}]},
        message="needs exactly one of keep and top",
        field="spec.synthetic[0].filters[0].centroid",
    ),
    "a filter that keeps nothing in particular": Case(
        bad={"synthetic": [EDM | {"filters": [{"realism": {"neighbours": 5}}]}]},
        good={"synthetic": [EDM | {"filters": [{"realism": {"minimum": 1, "neighbours": 5}}]}]},
        message="needs exactly one of keep and minimum",
        field="spec.synthetic[0].filters[0].realism",
    ),
    "the best by no filter": Case(
        bad={"synthetic": [EDM | {"accept": "best"}]},
        good={"synthetic": [EDM | {"accept": "best", "filters": [{"confidence": {"minimum": 0.5}}]}]},
        message="takes the best by the last of `filters`",
        field="spec.synthetic[0].accept",
    ),
    "a filter of no kind": Case(
        bad={"synthetic": [EDM | {"filters": [{}]}]},
        good={"synthetic": [EDM | {"filters": []}]},
        message="needs exactly one of centroid, confidence and realism",
        field="spec.synthetic[0].filters[0]",
    ),
    "a generator of two families": Case(
        bad={"synthetic": [{"name": "x", "generator": {"gan": {}, "pca": {}}}]},
        good={"synthetic": [{"name": "x", "generator": {"gan": {}}}, {"name": "y", "generator": {"pca": {}}}]},
        message="needs exactly one of diffusion, gan, latentDiffusion, pca and external",
        field="spec.synthetic[0].generator",
    ),
    "a training of two lengths": Case(
        bad={"synthetic": [{"name": "x", "generator": {"gan": {"kimg": 5, "images": 5_000}}}]},
        good={"synthetic": [{"name": "x", "generator": {"gan": {"kimg": 2.5}}}]},
        message="stands in place of `images`",
        field="spec.synthetic[0].generator.gan.kimg",
    ),
    "a diffusion model of two lengths": Case(
        bad={"synthetic": [{"name": "x", "generator": {"diffusion": {"kimg": 5, "images": 5_000}}}]},
        good={"synthetic": [{"name": "x", "generator": {"diffusion": {"kimg": 0.5}}}]},
        message="stands in place of `images`",
        field="spec.synthetic[0].generator.diffusion.kimg",
    ),
    "a pipeline of augmentations that is applied to every image": Case(
        bad={"synthetic": [{"name": "x", "generator": {"gan": {"augmentPipeline": "bgc"}}}]},
        good={"synthetic": [{"name": "x", "generator": {"gan": {"augmentPipeline": "bgc", "augmentTarget": 0.6}}}]},
        message="the pipelines b, bg and bgc need `augmentTarget` above 0",
        field="spec.synthetic[0].generator.gan.augmentPipeline",
    ),
    "a generator of no family": Case(
        bad={"synthetic": [{"name": "x", "generator": {}}]},
        good={"synthetic": [{"name": "x", "generator": {"pca": {"preset": "default"}}}]},
        message="needs exactly one of diffusion, gan, latentDiffusion, pca and external",
        field="spec.synthetic[0].generator",
    ),
    "a program that is named nowhere": Case(
        bad=program(options={"steps": 3}),
        good=program(image=IMAGE, options={"steps": 3, "inner": {"rates": [0.1, "fast"], "ema": None}}),
        message="needs `code`, or a program's `image`, `command` or both",
        field="spec.synthetic[0].generator.external",
    ),
    "code and a program": Case(
        bad=program(code="toy", command=["generator"], version="1"),
        good=program(code="toy", image=IMAGE),
        message="`code` is run by Syntrial and `command` is a program: give one of them",
        field="spec.synthetic[0].generator.external",
    ),
    "a program without a version": Case(
        bad=program(command=["generator"]),
        good=program(command=["generator", "--fast"], version="1.0"),
        message="a `command` needs a `version`: what it starts is not known by its content",
        field="spec.synthetic[0].generator.external",
    ),
    "a program at a relative path": Case(
        bad=program(command=["bin/generator"], version="1"),
        good=program(command=["/opt/bin/generator"], version="1"),
        message="the program of `command` is a name on the PATH or an absolute path",
        field="spec.synthetic[0].generator.external",
    ),
    "a synthetic set of no origin": Case(
        bad={"synthetic": [{"name": "x"}]},
        good={"synthetic": [IMPORTED]},
        message="needs exactly one of generator and images",
        field="spec.synthetic[0]",
    ),
    "a synthetic set of two origins": Case(
        bad={"synthetic": [EDM, EDM | IMPORTED]},
        good={"synthetic": [EDM, IMPORTED]},
        message="needs exactly one of generator and images",
        field="spec.synthetic[1]",
    ),
    "replicates of ready-made images": Case(
        bad={"synthetic": [IMPORTED | {"replicates": 3}]},
        good={"synthetic": [IMPORTED | {"replicates": 1}, EDM | {"replicates": 3}]},
        message="a ready-made set has one replicate; `replicates` repeats a generator's training",
        field="spec.synthetic[0]",
    ),
    "a set with the control as its only arm": Case(
        bad={"synthetic": [EDM | {"arms": ["real"]}]},
        good={"synthetic": [EDM | {"arms": ["real", "finetune"]}]},
        message="needs an arm beside the control `real`",
        field="spec.synthetic[0].arms",
    ),
    "a set without arms": Case(
        bad={"synthetic": [EDM | {"arms": []}]},
        good={"synthetic": [EDM | {"arms": ["synthetic"]}]},
        server="should have at least 1 items",
        field="spec.synthetic[0].arms",
    ),
    "a budget of nothing": Case(
        bad={"budget": {}},
        good={"budget": {"steps": 100}},
        message="needs exactly one of steps and epochs",
        field="spec.budget",
    ),
    "a budget of two units": Case(
        bad={"budget": {"steps": 100, "epochs": 2.5}},
        good={"budget": {"epochs": 2.5}},
        message="needs exactly one of steps and epochs",
        field="spec.budget",
    ),
    "two sets of one name": Case(
        bad={"synthetic": [EDM, EDM]},
        good={"synthetic": [EDM, EDM | {"name": "edm-2"}]},
        server="Duplicate value",
        field="spec.synthetic[1]",
    ),
    "more steps than any setting allows": Case(
        bad={
            "synthetic": [{"name": f"s{n}", "generator": {"pca": {}}, "replicates": 20} for n in range(3)],
            "classifiers": [{"model": "small-cnn", "name": f"c{n}"} for n in range(30)],
            "replicates": 100,
            "exploratoryReplicates": 10,
        },
        good={
            "synthetic": [{"name": f"s{n}", "generator": {"pca": {}}, "replicates": 20} for n in range(3)],
            "classifiers": [{"model": "small-cnn", "name": f"c{n}"} for n in range(20)],
            "replicates": 100,
            "exploratoryReplicates": 10,
        },
        message="a trial has at most 25000 steps",
        field="spec",
    ),
    "two classifiers of one name": Case(
        bad={"classifiers": [{"model": "resnet18"}, {"model": "small-cnn", "name": "resnet18"}]},
        good={"classifiers": TWO_CLASSIFIERS},
        message="names must differ",
        field="spec.classifiers",
    ),
    "two classifiers of one model and the same weights": Case(
        bad={"classifiers": [*TWO_CLASSIFIERS, {"model": "resnet18", "pretraining": "hub", "learningRate": 0.01}]},
        good={"classifiers": [*TWO_CLASSIFIERS, {"model": "resnet18", "name": "x", "pretraining": "hub"}]},
        message="names must differ",
        field="spec.classifiers",
    ),
    "weights of one's own without a name": Case(
        bad={"classifiers": [{"model": "resnet18", "pretraining": "s3://b/w.safetensors"}]},
        good={"classifiers": [{"model": "resnet18", "name": "ours", "pretraining": "s3://b/w.safetensors"}]},
        message="a classifier that begins with a file of weights needs a `name`",
        field="spec.classifiers[0]",
    ),
    "weights of one's own on a claim, and of the hub, without a name": Case(
        bad={"classifiers": [{"model": "resnet18", "pretraining": "claim://v/hub.safetensors"}]},
        good={"classifiers": [{"model": "resnet18", "pretraining": "hub://timm/resnet18.a1_in1k@main"}]},
        message="a classifier that begins with a file of weights needs a `name`",
        field="spec.classifiers[0]",
    ),
    "weights of the hub with the small stem": Case(
        bad={"classifiers": [{"model": "resnet18", "pretraining": "hub", "stem": "small"}]},
        good={"classifiers": [{"model": "resnet18", "pretraining": "hub", "stem": "standard"}]},
        message="published weights have the standard stem: leave `stem` at auto",
        field="spec.classifiers[0]",
    ),
    "weights of a repository with the small stem": Case(
        bad={"classifiers": [{"model": "resnet18", "pretraining": "hub://timm/resnet18.a1_in1k", "stem": "small"}]},
        good={"classifiers": [{"model": "resnet18", "pretraining": "none", "stem": "small"}]},
        message="published weights have the standard stem: leave `stem` at auto",
        field="spec.classifiers[0]",
    ),
    "a pool with a class map": Case(
        bad={"synthetic": [pooled({"folder": "claim://pool/tiles", "classMap": {"a": "b"}})]},
        good={"synthetic": [pooled({"folder": "claim://pool/tiles", "weight": 2, "leaks": "drop"})]},
        message="a pool of unlabelled images has no labels",
        field="spec.synthetic[0].generator.latentDiffusion.unlabelled[0].classMap",
    ),
    "a pool of two kinds": Case(
        bad={"synthetic": [pooled({"folder": "claim://pool/tiles", "medmnist": "pathmnist"})]},
        good={"synthetic": [pooled({"medmnist": "pathmnist"})]},
        message="needs exactly one of medmnist, npz, folder, table and phantom",
        field="spec.synthetic[0].generator.latentDiffusion.unlabelled[0]",
    ),
    "parts that stay of no earlier generator": Case(
        bad={"synthetic": [{"name": "x", "generator": {"gan": {"freeze": ["generator.basis"]}}}]},
        good={
            "synthetic": [
                {"name": "x", "generator": {"gan": {"freeze": ["generator.basis"], "initial": {"key": "9f3c" * 16}}}}
            ]
        },
        message="names parts that keep the weights of `initial`",
        field="spec.synthetic[0].generator.gan.freeze",
    ),
    "an earlier generator named twice": Case(
        bad={
            "synthetic": [
                {
                    "name": "x",
                    "generator": {"diffusion": {"initial": {"folder": "sha256:" + "0" * 64, "key": "0" * 64}}},
                }
            ]
        },
        good={"synthetic": [{"name": "x", "generator": {"diffusion": {"initial": {"folder": "sha256:" + "0" * 64}}}}]},
        message="needs exactly one of folder and key",
        field="spec.synthetic[0].generator.diffusion.initial",
    ),
    "an autoencoder beside that of an earlier generator": Case(
        bad={
            "synthetic": [
                {
                    "name": "x",
                    "generator": {"latentDiffusion": {"initial": {"key": "0" * 64}, "autoencoder": {"klWeight": 0.1}}},
                }
            ]
        },
        good={"synthetic": [{"name": "x", "generator": {"latentDiffusion": {"initial": {"key": "0" * 64}}}}]},
        message="is that of the generator in `initial`",
        field="spec.synthetic[0].generator.latentDiffusion.autoencoder",
    ),
    "a limit of drawing for images that are there": Case(
        bad={"synthetic": [IMPORTED | {"oversampleLimit": 4}]},
        good={"synthetic": [EDM | {"oversampleLimit": 4}]},
        message="belongs to a generator of Syntrial's own, of which more images can be drawn",
        field="spec.synthetic[0].oversampleLimit",
    ),
    "a limit of drawing for a program": Case(
        bad={"synthetic": [{"name": "own", "generator": {"external": {"image": IMAGE}}, "oversampleLimit": 4}]},
        good={
            "synthetic": [
                {
                    "name": "own",
                    "generator": {"external": {"image": IMAGE}},
                    "tune": {"among": [{"pca": {}}]},
                    "oversampleLimit": 4,
                }
            ]
        },
        message="belongs to a generator of Syntrial's own, of which more images can be drawn",
        field="spec.synthetic[0].oversampleLimit",
    ),
    "a limit of drawing below what is drawn at first": Case(
        bad={"synthetic": [EDM | {"oversample": 3, "oversampleLimit": 2}]},
        good={"synthetic": [EDM | {"oversample": 3, "oversampleLimit": 3}]},
        message="is at least `oversample`",
        field="spec.synthetic[0].oversampleLimit",
    ),
    "fine-tuning without a pool": Case(
        bad={"synthetic": [{"name": "edm", "generator": {"latentDiffusion": {"fineTune": {"images": 9}}}}]},
        good={"synthetic": [pooled({"phantom": {}}, fineTune={"images": 9})]},
        message="goes on from a training with `unlabelled` images",
        field="spec.synthetic[0].generator.latentDiffusion.fineTune",
    ),
    "a chain of pretraining without a name": Case(
        bad={"classifiers": [{"model": "resnet18", "chain": [{"dataset": {"phantom": {}}}]}]},
        good={"classifiers": [{"model": "resnet18", "name": "c", "chain": [{"dataset": {"phantom": {}}}]}]},
        message="a classifier with a `chain` of pretraining needs a `name`",
        field="spec.classifiers[0]",
    ),
    "a probe of a network for each replicate": Case(
        bad={"classifiers": [PROBED | {"chain": [{"dataset": {"phantom": {}}, "replicates": "each"}]}]},
        good={"classifiers": [PROBED | {"chain": [{"dataset": {"phantom": {}}, "replicates": "shared"}]}]},
        message="a probe's features are extracted once, of one network",
        field="spec.classifiers[0].chain",
    ),
    "a link in a form of its own": Case(
        bad={"classifiers": [{"model": "resnet18", "name": "c", "chain": [{"dataset": {"phantom": {}, "size": 64}}]}]},
        good={"classifiers": [{"model": "resnet18", "name": "c", "chain": [{"dataset": {"phantom": {}}}]}]},
        message="a data set of a chain takes the form of the trial's images",
        field="spec.classifiers[0].chain[0].dataset",
    ),
    "a stage with two lengths": Case(
        bad={"classifiers": [{"model": "resnet18", "stages": [{"train": ["fc"], "steps": 5, "epochs": 1}]}]},
        good={"classifiers": [{"model": "resnet18", "stages": [{"train": ["fc"], "steps": 5}, {"epochs": 1}]}]},
        message="a stage's length is given in steps or in epochs, not both",
        field="spec.classifiers[0].stages[0]",
    ),
    "a first stage that begins with the best": Case(
        bad={"classifiers": [{"model": "resnet18", "stages": [{"begin": "best"}]}]},
        good={"classifiers": [{"model": "resnet18", "stages": [{"begin": "last"}, {"begin": "best"}]}]},
        message="the first stage has none before it",
        field="spec.classifiers[0].stages",
    ),
    "a schedule that decays at no time": Case(
        bad={"classifiers": [{"model": "resnet18", "recipe": {"schedule": "decay"}}]},
        good={"classifiers": [{"model": "resnet18", "recipe": {"schedule": "decay", "decayEpochs": 7}}]},
        message="the schedule `decay` says after how many epochs the learning rate falls",
        field="spec.classifiers[0].recipe",
    ),
    "a probe of random weights": Case(
        bad={"classifiers": [{"model": "resnet18", "probe": {}}]},
        good={"classifiers": [{"model": "resnet18", "pretraining": "hub", "probe": {}}]},
        message="a probe is fitted to the features of a network that was trained",
        field="spec.classifiers[0].pretraining",
    ),
    "a probe with stages": Case(
        bad={"classifiers": [{**PROBE, "stages": [{"train": ["fc"]}]}]},
        good={"classifiers": [{**PROBE, "stages": []}]},
        message="a probe fits the last layer in one go, without optimiser steps",
        field="spec.classifiers[0]",
    ),
    "a probe with a learning rate": Case(
        bad={"classifiers": [{**PROBE, "learningRate": 0.1}]},
        good={"classifiers": [{**PROBE, "probe": {"l2": [0.01, 0]}}]},
        message="a probe fits the last layer in one go, without optimiser steps",
        field="spec.classifiers[0]",
    ),
    "a probe with augmentation": Case(
        bad={"classifiers": [{**PROBE, "recipe": {"augmentShift": 2, "selectBy": "auroc"}}]},
        good={"classifiers": [{**PROBE, "recipe": {"normalisation": "imagenet", "selectBy": "auroc"}}]},
        message="of a recipe, a probe has a use for classWeights, selectBy and normalisation alone",
        field="spec.classifiers[0].recipe",
    ),
    "weights of an encoder's model without the model": Case(
        bad={"encoder": {"pretraining": "hub"}},
        good={"encoder": {"pretraining": "hub", "model": "vit_small_patch16_224.dino", "size": 224}},
        message="`pretraining` and `size` are of an encoder's `model`",
        field="spec.encoder.model",
    ),
    "a side of an encoder's model without the model": Case(
        bad={"encoder": {"size": 224}},
        good={"encoder": {"steps": 224}},
        message="`pretraining` and `size` are of an encoder's `model`",
        field="spec.encoder.model",
    ),
    "an encoder's model without weights": Case(
        bad={"encoder": {"model": "resnet18"}},
        good={"encoder": {"model": "resnet18", "pretraining": "weights/r18.safetensors"}},
        message="features of a network with random weights measure nothing",
        field="spec.encoder.pretraining",
    ),
    "an encoder's model with random weights": Case(
        bad={"encoder": {"model": "resnet18", "pretraining": "none"}},
        good={"encoder": {"model": "resnet18", "pretraining": "hub://timm/resnet18.a1_in1k"}},
        message="features of a network with random weights measure nothing",
        field="spec.encoder.pretraining",
    ),
    "an encoder's model that is to be trained": Case(
        bad={"encoder": {"model": "resnet18", "pretraining": "hub", "batchSize": 32}},
        good={"encoder": {"batchSize": 32}},
        message="`steps`, `batchSize` and `featureSize` are of the trial's own network: a `model` is not trained",
        field="spec.encoder",
    ),
    "a primary set that is not there": Case(
        bad=primary(synthetic="edn"),
        good=primary(synthetic="edm"),
        message="must be part of this experiment",
        field="spec.endpoint.primary.synthetic",
    ),
    "a primary classifier that is not there": Case(
        bad={"classifiers": TWO_CLASSIFIERS, **primary(classifier="small-cnn")},
        good={"classifiers": TWO_CLASSIFIERS, **primary(classifier="resnet18-hub")},
        message="must be part of this experiment",
        field="spec.endpoint.primary.classifier",
    ),
    "a primary classifier beside the default": Case(
        bad=primary(classifier="resnet18"),
        good=primary(classifier="small-cnn"),
        message="must be part of this experiment",
        field="spec.endpoint.primary.classifier",
    ),
    "the control as primary arm": Case(
        bad=primary(arm="real"),
        good=primary(arm="augment-100"),
        message="must be an arm of",
        field="spec.endpoint.primary.arm",
    ),
    "a primary arm that the first set does not have": Case(
        bad={"synthetic": [EDM | {"arms": ["finetune"]}], **primary()},
        good={"synthetic": [EDM | {"arms": ["finetune"]}], **primary(arm="finetune")},
        message="must be an arm of",
        field="spec.endpoint.primary.arm",
    ),
    "a primary arm that only another set has": Case(
        bad={"synthetic": [EDM, IMPORTED | {"arms": ["finetune"]}], **primary(synthetic="made")},
        good={"synthetic": [EDM, IMPORTED | {"arms": ["finetune"]}], **primary(synthetic="edm")},
        message="must be an arm of",
        field="spec.endpoint.primary.arm",
    ),
    "an unknown arm": Case(
        bad={"arms": ["augmnt-100"]}, good={"arms": ["augment-100"]}, server="should match", field="spec.arms[0]"
    ),
    "a replacement of more than all": Case(
        bad={"arms": ["replace-100"]}, good={"arms": ["replace-99"]}, server="should match", field="spec.arms[0]"
    ),
    "an arm without phases": Case(
        bad={"arms": [{"name": "mine"}]}, good=arm(PHASE), server="Required value", field="spec.arms[0].phases"
    ),
    "an arm named as a control": Case(
        bad=arm(PHASE, name="real-twice"), good=arm(PHASE, name="real-thrice"), server="not", field="spec.arms[1].name"
    ),
    "an arm named as a control that is made for another": Case(
        bad=arm(PHASE, name="real-as-mine"), good=arm(PHASE, name="real-mine"), server="not", field="spec.arms[1].name"
    ),
    "an arm with a control that is none": Case(
        bad=arm(PHASE, control="augment-100"),
        good=arm(PHASE, control="real-twice"),
        server="Unsupported value",
        field="spec.arms[1].control",
    ),
    "a phase without images": Case(
        bad=arm(PHASE, {"steps": 5}), good=arm(PHASE, {"real": 0.5}), server="anyOf", field="spec.arms[1].phases[1]"
    ),
    "a phase of two lengths": Case(
        bad=arm(PHASE | {"steps": 5, "epochs": 5}),
        good=arm(PHASE | {"steps": 5}, PHASE | {"epochs": 5}),
        server="not",
        field="spec.arms[1].phases[0]",
    ),
    "a bound of a fraction, exceeded by an integer": Case(
        bad={"synthetic": [EDM | {"copies": 1}]},
        good={"synthetic": [EDM | {"copies": 0}]},
        message="Input should be less than 0.5",
        field="spec.synthetic[0].copies",
    ),
    "a learning rate that no training survives": Case(
        bad={"classifiers": [{"model": "small-cnn", "learningRate": 1e8}]},
        good={"classifiers": [{"model": "small-cnn", "learningRate": 0.1}]},
        server="should be less than 100",
        field="spec.classifiers[0].learningRate",
    ),
    "a recipe out of its stage's bounds": Case(
        bad={"classifiers": [{"model": "small-cnn", "recipe": {"warmup": 1}}]},
        good={"classifiers": [{"model": "small-cnn", "recipe": {"warmup": 0.5, "labelSmoothing": 0}}]},
        server="should be less than 1",
        field="spec.classifiers[0].recipe.warmup",
    ),
    "a bound of a fraction, just met": Case(
        bad={"endpoint": {"smallestEffect": 0.5}},
        good={"endpoint": {"smallestEffect": 0.499}},
        message="Input should be less than 0.5",
        field="spec.endpoint.smallestEffect",
    ),
    "an effect of nothing": Case(
        bad={"endpoint": {"smallestEffect": 0}},
        good={"endpoint": {"smallestEffect": 0.001}},
        server="should be greater than 0",
        field="spec.endpoint.smallestEffect",
    ),
    "no replicates": Case(
        bad={"replicates": 0}, good={"replicates": 1}, server="greater than or equal to 1", field="spec.replicates"
    ),
    "a seed that JSON cannot hold": Case(
        bad={"seed": 2**53}, good={"seed": 2**53 - 1}, server="less than or equal to", field="spec.seed"
    ),
    "an unknown metric": Case(
        bad={"endpoint": {"metric": "auc"}},
        good={"endpoint": {"metric": "balanced-accuracy"}},
        server="Unsupported value",
        field="spec.endpoint.metric",
    ),
    "a name with capitals": Case(
        bad={"synthetic": [EDM | {"name": "EDM"}]},
        good={"synthetic": [EDM | {"name": "e-d-m"}]},
        server="should match",
        field="spec.synthetic[0].name",
    ),
    "a quantity that is none": Case(
        bad={"cluster": {"resources": {"limits": {"nvidia.com/gpu": "one"}}}},
        good={"cluster": {"resources": {"limits": {"nvidia.com/gpu": 1, "memory": "1.5Gi"}}}},
        server="should match",
        field="spec.cluster.resources.limits",
    ),
    "a stage's memory that is none": Case(
        bad={"cluster": {"stages": {"generation": {"outOfMemoryLimit": "much"}}}},
        good={"cluster": {"stages": {"generation": {"outOfMemoryLimit": "8Gi"}}}},
        server="should match",
        field="spec.cluster.stages.generation.outOfMemoryLimit",
    ),
    "a resource that no node has": Case(
        bad={"cluster": {"resources": {"requests": {"gpu": 1}}}},
        good={"cluster": {"resources": {"requests": {"cpu": 1, "memory": "1Gi", "hugepages-2Mi": "4Mi"}}}},
        message="names cpu, memory, ephemeral-storage, hugepages-SIZE, or DOMAIN/NAME as nvidia.com/gpu",
        field="spec.cluster.resources.requests",
    ),
    "a limit of no resource": Case(
        bad={"cluster": {"resources": {"limits": {"example.com/": 1}}}},
        good={"cluster": {"resources": {"limits": {"example.com/tpu": 1}}}},
        message="names cpu, memory, ephemeral-storage, hugepages-SIZE, or DOMAIN/NAME as nvidia.com/gpu",
        field="spec.cluster.resources.limits",
    ),
    "half a device": Case(
        bad={"cluster": {"stages": {"generation": {"resources": {"limits": {"nvidia.com/gpu": "500m"}}}}}},
        good={"cluster": {"stages": {"generation": {"resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "500m"}}}}}},
        message="a device is asked for whole",
        field="spec.cluster.stages.generation.resources.limits",
    ),
    "a request of fewer devices than the limit": Case(
        bad={"cluster": {"resources": {"requests": {"a.b/c": 1}, "limits": {"a.b/c": "2"}}}},
        good={"cluster": {"resources": {"requests": {"a.b/c": 2}, "limits": {"a.b/c": "2"}}}},
        message="a request is at most its limit, and equal to it where it is of a device",
        field="spec.cluster.resources.requests",
    ),
    "a request above its limit": Case(
        bad={"cluster": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}},
        good={
            "cluster": {
                "resources": {"requests": {"memory": "1G", "cpu": 2}, "limits": {"memory": "1Gi", "cpu": "2000m"}}
            }
        },
        message="a request is at most its limit, and equal to it where it is of a device",
        field="spec.cluster.resources.requests",
    ),
    "a device that is requested and not limited": Case(
        bad={"cluster": {"resources": {"requests": {"nvidia.com/gpu": 1}}}},
        good={"cluster": {"resources": {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 1}}}},
        message="devices are asked for by limits",
        field="spec.cluster.resources.requests",
    ),
    "pods of unequal devices": Case(
        bad={"resources": {"devices": 4, "devicesPerPod": 3}},
        good={"resources": {"devices": 4, "devicesPerPod": 2}},
        message="each pod of a shared step has as many devices as the others",
        field="spec.resources.devicesPerPod",
    ),
    "more devices in a pod than there are": Case(
        bad={"resources": {"devicesPerPod": 2}},
        good={"resources": {"devicesPerPod": 1}},
        message="each pod of a shared step has as many devices as the others",
        field="spec.resources.devicesPerPod",
    ),
    "a toleration of nothing": Case(
        bad={"cluster": {"tolerations": [{}]}},
        good={"cluster": {"tolerations": [{"key": "a.b/c"}]}},
        server="Required value",
        field="spec.cluster.tolerations[0].key",
    ),
    "a toleration of everything": Case(
        bad={"cluster": {"tolerations": [{"operator": "Exists"}]}},
        good={"cluster": {"tolerations": [{"key": "a.b/c", "operator": "Exists"}]}},
        server="Required value",
        field="spec.cluster.tolerations[0].key",
    ),
    "a toleration of an empty key": Case(
        bad={"cluster": {"tolerations": [{"key": "", "operator": "Exists"}]}},
        good={"cluster": {"tolerations": [{"key": "a", "operator": "Exists"}]}},
        server="should be at least 1 chars long",
        field="spec.cluster.tolerations[0].key",
    ),
    "a toleration of the control plane's taint": Case(
        bad={"cluster": {"stages": {"generation": {"tolerations": [{"key": f"{ROLE}/control-plane"}]}}}},
        good={"cluster": {"stages": {"generation": {"tolerations": [{"key": f"{ROLE}/gpu"}]}}}},
        message="pods of trials keep off the nodes that run the cluster",
        field="spec.cluster.stages.generation.tolerations[0].key",
    ),
    "nodes of the control plane": Case(
        bad={"cluster": {"nodeSelector": {f"{ROLE}/master": ""}}},
        good={"cluster": {"nodeSelector": {f"{ROLE}/worker": ""}}},
        message="pods of trials keep off the nodes that run the cluster",
        field="spec.cluster.nodeSelector",
    ),
    "a priority class of the cluster's": Case(
        bad={"cluster": {"priorityClassName": "system-node-critical"}},
        good={"cluster": {"priorityClassName": "batch"}},
        message="the cluster's own classes (system-…) are not for trials",
        field="spec.cluster.priorityClassName",
    ),
    "a priority class of the cluster's for one stage": Case(
        bad={"cluster": {"stages": {"analysis": {"priorityClassName": "system-cluster-critical"}}}},
        good={"cluster": {"stages": {"analysis": {"priorityClassName": "batch"}}}},
        message="the cluster's own classes (system-…) are not for trials",
        field="spec.cluster.stages.analysis.priorityClassName",
    ),
    "a toleration of every value of one": Case(
        bad={"cluster": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        good={"cluster": {"tolerations": [{"key": "a", "value": "b"}]}},
        message="operator Exists takes no `value`",
        field="spec.cluster.tolerations[0]",
    ),
    "a toleration that ends without an eviction": Case(
        bad={"cluster": {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]}},
        good={"cluster": {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]}},
        message="`tolerationSeconds` needs effect NoExecute",
        field="spec.cluster.tolerations[0]",
    ),
    "a queue that no object can be": Case(
        bad={"cluster": {"queueName": "My Queue"}},
        good={"cluster": {"queueName": "my-queue"}},
        server="should match",
        field="spec.cluster.queueName",
    ),
    "an MLflow server by the name of its host": Case(
        bad={"cluster": {"mlflow": "mlflow:5000"}},
        good={"cluster": {"mlflow": "http://mlflow:5000"}},
        server="should match",
        field="spec.cluster.mlflow",
    ),
    "an MLflow server with who asks in its address": Case(
        bad={"cluster": {"mlflow": "https://anna:secret@mlflow.example.org"}},
        good={"cluster": {"mlflow": "https://mlflow.example.org/lab"}},
        server="should match",
        field="spec.cluster.mlflow",
    ),
    "a quantity that is a fraction": Case(
        bad={"cluster": {"resources": {"requests": {"cpu": 0.5}}}},
        good={"cluster": {"resources": {"requests": {"cpu": "0.5"}}}},
        server="Invalid value",
        field="spec.cluster.resources.requests.cpu",
    ),
    "a label's value that none can be": Case(
        bad={"cluster": {"nodeSelector": {"zone": "a b"}}},
        good={"cluster": {"nodeSelector": {"zone": "a_b", "bare": ""}}},
        server="should match",
        field="spec.cluster.nodeSelector",
    ),
    "a sampler's solver that is not known": Case(
        bad={"synthetic": [{"name": "x", "generator": {"diffusion": {"sampler": {"solver": "euler"}}}}]},
        good={"synthetic": [{"name": "x", "generator": {"diffusion": {"sampler": {"solver": "heun"}}}}]},
        server="Unsupported value",
        field="spec.synthetic[0].generator.diffusion.sampler.solver",
    ),
    "three classifiers without a synthetic set, and no word on which is compared": Case(
        bad={"synthetic": [], "classifiers": [*TWO_CLASSIFIERS, {"model": "small-cnn"}]},
        good={"synthetic": [], "classifiers": TWO_CLASSIFIERS},
        message="a trial without a synthetic set says which comparison decides",
        field="spec.endpoint.primary.against",
    ),
    "a comparison with a set that is not there": Case(
        bad=primary(synthetic="edm", against={"synthetic": "gan"}),
        good={"synthetic": [EDM, EDM | {"name": "gan"}], **primary(synthetic="edm", against={"synthetic": "gan"})},
        message="must be part of this experiment",
        field="spec.endpoint.primary.against.synthetic",
    ),
    "a comparison with a classifier that is not there": Case(
        bad={"classifiers": TWO_CLASSIFIERS, **primary(arm="real", against={"classifier": "small-cnn"})},
        good={"classifiers": TWO_CLASSIFIERS, **primary(arm="real", against={"classifier": "resnet18-hub"})},
        message="must be part of this experiment",
        field="spec.endpoint.primary.against.classifier",
    ),
    "a search over nothing": Case(
        bad=tuned(tune={}),
        good=tuned(tune={"over": {"gamma": {"choice": [0.1, 1]}}}),
        message="a search needs `over`, `among` or `snapshots`",
        field="spec.synthetic[0].tune",
    ),
    "one snapshot": Case(
        bad=tuned(tune={"snapshots": 1}),
        good=tuned(tune={"snapshots": 2}),
        server="should be greater than or equal to 2",
        field="spec.synthetic[0].tune.snapshots",
    ),
    "more snapshots than are compared": Case(
        bad=tuned(tune={"snapshots": 21}),
        good=tuned(tune={"snapshots": 20}),
        server="should be less than or equal to 20",
        field="spec.synthetic[0].tune.snapshots",
    ),
    "snapshots of a generator that is fitted in one go": Case(
        bad=tuned(tune={"among": [{"pca": {}}], "snapshots": 4}),
        good=tuned(tune={"among": [{"diffusion": {}}], "snapshots": 4}),
        message="snapshots are of generators trained by steps: diffusion, gan, latentDiffusion",
        field="spec.synthetic[0].tune.snapshots",
    ),
    "snapshots of a generator that is trained further": Case(
        bad={"synthetic": [pooled({"phantom": {}}, fineTune={"images": 9}) | {"tune": {"snapshots": 4}}]},
        good={"synthetic": [pooled({"phantom": {}}) | {"tune": {"snapshots": 4}}]},
        message="snapshots are of one training, and a generator with `fineTune` has two",
        field="spec.synthetic[0].tune.snapshots",
    ),
    "more moments of trials than a trial has steps": Case(
        bad={"synthetic": [EDM | {"name": f"x{n}", "tune": MANY_MOMENTS} for n in range(3)]},
        good={"synthetic": [EDM | {"tune": MANY_MOMENTS}]},
        message="a trial has at most 25000 steps",
        field="spec",
    ),
    "a search of a ready-made set": Case(
        bad={"synthetic": [IMPORTED | {"tune": {"among": [{"pca": {}}]}}]},
        good={"synthetic": [EDM | {"tune": {"among": [{"pca": {}}]}}]},
        message="a ready-made set has nothing that could be searched",
        field="spec.synthetic[0].tune",
    ),
    "a range that falls": Case(
        bad=tuned(tune={"over": {"gamma": {"range": [1, 0.1]}}}),
        good=tuned(tune={"over": {"gamma": {"range": [0.1, 1]}}}),
        message="a range goes from a number to a larger one",
        field="spec.synthetic[0].tune.over[gamma].range",
    ),
    "a range of one number": Case(
        bad=tuned(tune={"over": {"gamma": {"range": [1]}}}),
        good=tuned(tune={"over": {"gamma": {"range": [1, 2]}}}),
        server="should have at least 2 items",
        field="spec.synthetic[0].tune.over.gamma.range",
    ),
    "orders of magnitude from 0": Case(
        bad=tuned(tune={"over": {"gamma": {"range": [0, 1], "log": True}}}),
        good=tuned(tune={"over": {"gamma": {"range": [0, 1]}}}),
        message="a range of orders of magnitude is above 0",
        field="spec.synthetic[0].tune.over[gamma].range",
    ),
    "orders of magnitude of a choice": Case(
        bad=tuned(tune={"over": {"gamma": {"choice": [1, 2], "log": True}}}),
        good=tuned(tune={"over": {"gamma": {"range": [1, 2], "log": True}}}),
        message="`log` belongs to a range",
        field="spec.synthetic[0].tune.over[gamma]",
    ),
    "a choice and a range": Case(
        bad=tuned(tune={"over": {"gamma": {"range": [0.1, 1], "choice": [1]}}}),
        good=tuned(tune={"over": {"gamma": {"choice": [1]}}}),
        server="must validate one and only one schema (oneOf)",
        field="spec.synthetic[0].tune.over",
    ),
    "an objective on the test split": Case(
        bad=tuned(tune={"over": {"gamma": {"choice": [0.1, 1]}}, "objective": "test"}),
        good=tuned(tune={"over": {"gamma": {"choice": [0.1, 1]}}, "objective": "frechet"}),
        server="Unsupported value",
        field="spec.synthetic[0].tune.objective",
    ),
    "pruning of a generator that is fitted in one go": Case(
        bad=tuned(tune={"among": [{"pca": {}}], "prune": {}}),
        good=tuned(tune={"among": [{"diffusion": {}}], "prune": {}}),
        message="trials are stopped early of generators trained by steps: diffusion, gan, latentDiffusion",
        field="spec.synthetic[0].tune.prune",
    ),
    "a generator with images of its own beside the first": Case(
        bad=tuned(tune={"among": [{"latentDiffusion": {"unlabelled": [{"phantom": {}}]}}]}),
        good=tuned(tune={"among": [{"latentDiffusion": {}}]}),
        message="a generator beside the first has no `unlabelled` images, no `code`, no `initial` and no `perceptual` "
        "weights",
        field="spec.synthetic[0].tune.among",
    ),
    "a generator with a perceptual term beside the first": Case(
        bad=tuned(tune={"among": [{"latentDiffusion": {"autoencoder": {"perceptual": {"weights": "a"}}}}]}),
        good=tuned(tune={"among": [{"latentDiffusion": {"autoencoder": {"klWeight": 0.1}}}]}),
        message="a generator beside the first has no `unlabelled` images, no `code`, no `initial` and no `perceptual` "
        "weights",
        field="spec.synthetic[0].tune.among",
    ),
    "parts of a training that fall": Case(
        bad=tuned(tune={"over": {"gamma": {"choice": [1]}}, "prune": {"after": [0.5, 0.25]}}),
        good=tuned(tune={"over": {"gamma": {"choice": [1]}}, "prune": {"after": [0.25, 0.5]}}),
        message="shares of the training rise",
        field="spec.synthetic[0].tune.prune.after",
    ),
    "a search for nothing of a classifier": Case(
        bad=tuned_classifier({}),
        good=tuned_classifier(RATE),
        server="should have at least 1 properties",
        field="spec.classifiers[0].tune.over",
    ),
    "a search by a distance for a classifier": Case(
        bad=tuned_classifier(RATE, {"objective": "frechet"}),
        good=tuned_classifier(RATE, {"objective": "accuracy"}),
        server="Unsupported value",
        field="spec.classifiers[0].tune.objective",
    ),
    "a search for a model without a name": Case(
        bad=tuned_classifier({"model": {"choice": ["resnet34"]}}),
        good=tuned_classifier({"model": {"choice": ["resnet34"]}}, name="resnet"),
        message="a classifier whose model is searched needs a `name`",
        field="spec.classifiers[0]",
    ),
    "pruning of a probe": Case(
        bad=tuned_classifier({"recipe.selectBy": {"choice": ["auroc"]}}, {"prune": {}}, pretraining="hub", probe={}),
        good=tuned_classifier({"recipe.selectBy": {"choice": ["auroc"]}}, {"prune": {}}, pretraining="hub"),
        message="trials are stopped early of classifiers trained by steps: a probe has none",
        field="spec.classifiers[0].tune.prune",
    ),
    "a cell compared with itself": Case(
        bad=primary(against={"arm": "augment-100"}),
        good=primary(against={"arm": "real"}),
        message="a cell is compared with another one, not with itself",
        field="spec.endpoint.primary.against",
    ),
}


def experiment(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """An experiment of drawn images, with some fields of its spec replaced; suspended, so that nothing runs."""
    spec = {"dataset": {"phantom": {}}, "synthetic": [EDM], "suspend": True}
    return {"apiVersion": API, "kind": "Experiment", "metadata": {"name": name}, "spec": spec | fields}
