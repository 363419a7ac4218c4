"""A Gaussian in the principal components of each class: a generator of one's own, in under 40 lines."""

import numpy as np

OPTIONS = {"components": (16, "Principal components of each class.", (1, 512))}


def train(images, labels, config, out):
    """Fits each class; `images` is uint8 (N, H, W, C), `labels` int64 (N,), `config` has the options and the seed."""
    if config["task"] != "multi-class":
        raise ValueError("images have one class each here")
    fitted = {"shape": np.array(images.shape[1:])}
    for label in range(len(config["classes"])):
        pixels = np.asarray(images[labels == label], dtype=np.float64).reshape((labels == label).sum(), -1)
        mean = pixels.mean(axis=0)
        _, lengths, axes = np.linalg.svd(pixels - mean, full_matrices=False)
        kept = config["components"]
        scales = lengths[:kept] / max(len(pixels) - 1, 1) ** 0.5
        fitted.update({f"mean{label}": mean, f"axes{label}": axes[:kept], f"scales{label}": scales})
        share = float((scales**2).sum() / ((lengths**2).sum() / max(len(pixels) - 1, 1) + 1e-12))
        out.progress(label + 1, len(config["classes"]), unit="classes", explained=share)
    # A file each: an .npz has the version of the Python that wrote it in its bytes.
    for name, values in fitted.items():
        np.save(out.folder / f"{name}.npy", values)


def load(folder):
    """What `sample` gets as its state."""
    return {path.stem: np.load(path) for path in folder.iterdir()}


def sample(state, label, count, seed):
    """Draws uint8 (count, H, W, C) of a class."""
    scales = state[f"scales{label}"]
    codes = np.random.default_rng(seed).standard_normal((count, len(scales))) * scales
    pixels = state[f"mean{label}"] + codes @ state[f"axes{label}"]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(count, *state["shape"])
