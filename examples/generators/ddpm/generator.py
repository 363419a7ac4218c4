"""Classifier-free guided diffusion of denoising-diffusion-pytorch 2.3.4 (MIT): its network and its own loss."""

import numpy as np
import torch
from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet

OPTIONS = {
    "steps": (4000, "Optimiser steps.", (1, 10_000_000)),
    "batch": (32, "Images a step.", (1, 4096)),
    "width": (64, "Channels at the highest resolution.", (8, 512)),
    "rate": (1e-4, "Learning rate.", (1e-7, 1.0)),
    "sampling": (50, "Steps when images are drawn; with fewer than 10 its DDIM gives NaN.", (10, 1000)),
    "guidance": (2.0, "Scale of the guidance; at 1 itself the library fails.", (1.001, 20.0)),
}


def diffusion(shape, classes, config):
    """The model for square images of a shape (H, W, C); sides are multiples of 4."""
    network = Unet(dim=config["width"], num_classes=classes, dim_mults=(1, 2, 2), channels=shape[2])
    return GaussianDiffusion(network, image_size=shape[0], timesteps=1000, sampling_timesteps=config["sampling"])


def train(images, labels, config, out):
    """Trains from a seed; a training that is killed begins anew, since the loss draws from torch's own stream."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = diffusion(images.shape[1:], len(config["classes"]), config).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["rate"])
    random = np.random.default_rng(config["seed"])
    for done in range(config["steps"]):
        rows = random.integers(len(images), size=config["batch"])
        clean = torch.from_numpy(images[rows].astype(np.float32) / 255).permute(0, 3, 1, 2).to(device)
        loss = model(clean, classes=torch.from_numpy(labels[rows]).to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.progress(done + 1, config["steps"], loss=loss.item())
    about = {"shape": images.shape[1:], "classes": len(config["classes"]), "config": config}
    torch.save({"model": model.state_dict(), **about}, out.folder / "model.pt")


def load(folder):
    """The trained model, ready to draw."""
    saved = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    model = diffusion(saved["shape"], saved["classes"], saved["config"])
    model.load_state_dict(saved["model"])
    return {"model": model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), "config": saved["config"]}


@torch.no_grad()
def sample(state, label, count, seed):
    """Draws uint8 (count, H, W, C)."""
    torch.manual_seed(seed)
    model = state["model"]
    classes = torch.full((count,), label, device=next(model.parameters()).device)
    images = model.sample(classes=classes, cond_scale=state["config"]["guidance"])
    if not torch.isfinite(images).all():
        raise ArithmeticError("the model gives NaN: train it longer, or at a lower rate")
    return images.mul(255).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
