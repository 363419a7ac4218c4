"""MONAI's class-conditional diffusion model, as its tutorials train it (monai 1.6, Apache-2.0)."""

import numpy as np
import torch
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler

OPTIONS = {
    "steps": (4000, "Optimiser steps.", (1, 10_000_000)),
    "batch": (32, "Images a step.", (1, 4096)),
    "channels": (64, "Channels at the highest resolution; the next have twice as many.", (32, 512)),
    "rate": (1e-4, "Learning rate.", (1e-7, 1.0)),
    "sampling": (50, "Steps of DDIM when images are drawn.", (1, 1000)),
}


def network(shape, classes, config):
    """The U-Net for images of a shape (H, W, C); sides are multiples of 4."""
    width = config["channels"]
    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=shape[2],
        out_channels=shape[2],
        channels=(width, 2 * width, 2 * width),
        attention_levels=(False, False, True),
        num_res_blocks=1,
        num_head_channels=width,
        num_class_embeds=classes,
    )


def train(images, labels, config, out):
    """Trains on noise prediction; goes on from the last checkpoint."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = network(images.shape[1:], len(config["classes"]), config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["rate"])
    noising, done = DDPMScheduler(num_train_timesteps=1000), 0
    if out.resume:
        saved = torch.load(out.resume / "training.pt", map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        done = saved["done"]
    while done < config["steps"]:
        random = np.random.default_rng([config["seed"], done])
        rows = random.integers(len(images), size=config["batch"])
        clean = torch.from_numpy(images[rows].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2).to(device)
        noise = torch.from_numpy(random.standard_normal(clean.shape, dtype=np.float32)).to(device)
        times = torch.from_numpy(random.integers(1000, size=len(rows))).to(device)
        classes = torch.from_numpy(labels[rows]).to(device)
        noisy = noising.add_noise(original_samples=clean, noise=noise, timesteps=times)
        loss = torch.nn.functional.mse_loss(model(noisy, timesteps=times, class_labels=classes), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
        if out.progress(done, config["steps"], loss=loss.item()):
            with out.checkpoint() as folder:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": done}
                torch.save(state, folder / "training.pt")
    about = {"shape": images.shape[1:], "classes": len(config["classes"]), "config": config}
    torch.save({"model": model.state_dict(), **about}, out.folder / "model.pt")


def load(folder):
    """The trained network, ready to draw."""
    saved = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    model = network(saved["shape"], saved["classes"], saved["config"])
    model.load_state_dict(saved["model"])
    return {**saved, "model": model.to("cuda" if torch.cuda.is_available() else "cpu").eval()}


@torch.no_grad()
def sample(state, label, count, seed):
    """Draws uint8 (count, H, W, C) by DDIM."""
    model, (height, width, channels) = state["model"], state["shape"]
    device = next(model.parameters()).device
    drawing = DDIMScheduler(num_train_timesteps=1000)
    drawing.set_timesteps(state["config"]["sampling"])
    images = torch.randn((count, channels, height, width), generator=torch.Generator().manual_seed(seed)).to(device)
    classes = torch.full((count,), label, device=device)
    for time in drawing.timesteps:
        noise = model(images, timesteps=time.expand(count).to(device), class_labels=classes)
        images, _ = drawing.step(noise, int(time), images)
    if not torch.isfinite(images).all():
        raise ArithmeticError("the model gives NaN: train it longer, or at a lower rate")
    return images.add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
