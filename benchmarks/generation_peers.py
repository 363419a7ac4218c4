"""Our diffusion model beside what a user would take instead: rates, and what images are worth after equal CPU time.

    python benchmarks/generation_peers.py [--seconds 900 [--images 2000] [--data FOLDER] [--folder FOLDER]]

The peers are MONAI's diffusion network with its tutorials' loop and denoising-diffusion-pytorch, each by its worked
example (examples/generators) with the example's options, in the environment of its own lock. Rates are images per CPU
second of one thread, in this run: of a training without its first steps, and of a sampling. Then each is trained for
`--seconds` by those rates, and one trial on PneumoniaMNIST judges their images as it would judge a user's: by what a
classifier of them alone reaches on *validation*, by how well a small model tells them from real ones, by Fréchet
distance, recall and diversity within a class. That takes hours, most of them for the peers' samples: without
`--seconds` there are rates alone, and with `--folder` a trial that was stopped goes on. Ends with 1 where a goal is
missed: three times the peers' rate of training, ten times that of sampling, at least their score on validation, and
less told apart.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from generation import nano, report_of, sampled, trained, trial_arguments
from syntrial_generation.external.environments import python_of

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "generators"
PEERS = ("monai", "ddpm")
OWN = "edm"
TRAINING, SAMPLING = 3.0, 10.0
"""How many times a peer's rates ours are to be."""
_TRAINING = 4708
"""Images of PneumoniaMNIST's training split."""


def peer_rates(name: str) -> dict[str, float]:
    """Images per CPU second of an example with its own options, and its batch."""
    command = [str(python_of(EXAMPLES / name)), str(Path(__file__).with_name("_peer.py")), str(EXAMPLES / name)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def own_rates() -> dict[str, float]:
    """Images per CPU second of our `nano` preset, in training and in sampling."""
    config, sampler, micro_batch = nano()
    training, rate = trained(config)
    return {"training": rate, "sampling": sampled(training, config, sampler, micro_batch=micro_batch)}


def trial(rates: dict[str, dict[str, float]], *, seconds: float, images: int) -> dict[str, Any]:
    """The experiment: a set of each generator, trained for as much CPU time, and a classifier of each set alone."""
    own: dict[str, Any] = {"diffusion": {"preset": "nano", "images": int(seconds * rates[OWN]["training"])}}
    generators = {OWN: own}
    for name in PEERS:
        steps = max(1, int(seconds * rates[name]["training"] / rates[name]["batch"]))
        generators[name] = {"external": {"code": str(EXAMPLES / name), "options": {"steps": steps}}}
    return {
        "apiVersion": "syntrial.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": "generation-peers"},
        "spec": {
            # As many real images as synthetic ones: the generators are trained on these.
            "dataset": {"medmnist": "pneumoniamnist", "size": 28, "trainFraction": min(1.0, images / _TRAINING)},
            "synthetic": [
                {"name": name, "generator": generator, "copies": 0.0} for name, generator in generators.items()
            ],
            "arms": ["synthetic"],
            "replicates": 3,
            "exploratoryReplicates": 3,
            "budget": {"steps": 300},
            "endpoint": {"metric": "auroc", "smallestEffect": 0.01, "primary": {"synthetic": OWN, "arm": "synthetic"}},
        },
    }


def judged(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of each set what the trial says of it."""
    found = {}
    for item in report["synthetic"]:
        if item["name"] not in (OWN, *PEERS):
            continue
        quality = item["quality"][0]
        (curve,) = [one for one in report["training_curves"] if one["cell"].startswith(f"synthetic {item['name']} ")]
        found[item["name"]] = {
            "AUROC on validation": curve["series"]["validation_auroc"]["mean"][-1],
            "told apart": quality["told_apart"]["auroc"],
            "Fréchet over its floor": quality["frechet"]["ratio_to_floor"],
            "recall": quality["precision_recall"]["recall"],
            "least diversity": min(one["ratio"] for one in quality["diversity_by_class"].values() if one),
        }
    return found


def main() -> int:
    """Prints a row for each figure, a column for each generator; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    trial_arguments(parser, without="rates alone")
    parser.add_argument("--images", type=int, default=2000, help="Images of each set, and of the training split.")
    given = parser.parse_args()
    # One thread: waiting threads spin, which would count as computing on a machine that is shared.
    torch.set_num_threads(1)
    rates = {OWN: own_rates(), **{name: peer_rates(name) for name in PEERS}}
    rows = {
        f"{work}, images per CPU second": {name: found[work] for name, found in rates.items()}
        for work in ("training", "sampling")
    }
    missed = [
        f"{work} is {rates[OWN][work] / rates[name][work]:.1f} times that of {name}, not {goal:g}"
        for work, goal in (("training", TRAINING), ("sampling", SAMPLING))
        for name in PEERS
        if rates[OWN][work] < goal * rates[name][work]
    ]
    if given.seconds:
        experiment = trial(rates, seconds=given.seconds, images=given.images)
        found = judged(report_of(experiment, data=given.data, folder=given.folder))
        rows |= {figure: {name: found[name][figure] for name in found} for figure in found[OWN]}
        score, apart = rows["AUROC on validation"], rows["told apart"]
        missed += [f"the score of {name} is higher" for name in PEERS if score[name] > score[OWN]]
        missed += [f"{name} is told apart less" for name in PEERS if apart[name] <= apart[OWN]]
    print(f"{'':36}" + "".join(f"{name:>10}" for name in rates))
    for figure, by_name in rows.items():
        print(f"{figure:36}" + "".join(f"{by_name[name]:10.3g}" for name in rates))
    for words in missed:
        print(f"missed: {words}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
