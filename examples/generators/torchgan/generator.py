"""A conditional GAN (Mirza and Osindero 2014) of convolutions, of TorchGAN's parts (torchgan 0.1, MIT)."""

import math

import numpy as np
import torch
from torchgan.losses.functional import minimax_discriminator_loss, minimax_generator_loss
from torchgan.models import ConditionalGANDiscriminator, ConditionalGANGenerator

OPTIONS = {
    "steps": (4000, "Optimiser steps of either network.", (1, 10_000_000)),
    "batch": (64, "Images a step.", (2, 4096)),
    "channels": (32, "Channels at the highest resolution; each lower one has twice as many.", (4, 512)),
    "latent": (100, "Length of the random vector that an image is made of.", (1, 4096)),
    "rate": (2e-4, "Learning rate of both networks.", (1e-7, 1.0)),
}


def networks(shape, classes, config):
    """Generator and discriminator of images (H, W, C), in the next square whose side is a power of 2, from 16."""
    side = max(16, 2 ** math.ceil(math.log2(max(shape[:2]))))
    own = {"num_classes": classes, "step_channels": config["channels"]}
    return (
        ConditionalGANGenerator(encoding_dims=config["latent"], out_size=side, out_channels=shape[2], **own),
        ConditionalGANDiscriminator(in_size=side, in_channels=shape[2], last_nonlinearity=torch.nn.Identity(), **own),
    )


def train(images, labels, config, out):
    """Trains both in turns; goes on from the last checkpoint."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(config["seed"])
    classes, shape, done = len(config["classes"]), images.shape[1:], 0
    both = [network.to(device) for network in networks(shape, classes, config)]
    generator, discriminator = both
    optimizers = [torch.optim.Adam(network.parameters(), lr=config["rate"], betas=(0.5, 0.999)) for network in both]
    if out.resume:
        saved = torch.load(out.resume / "training.pt", map_location=device, weights_only=True)
        for part, state in zip([*both, *optimizers], saved["parts"], strict=True):
            part.load_state_dict(state)
        done = saved["done"]
    side = max(16, 2 ** math.ceil(math.log2(max(shape[:2]))))
    margins = (0, side - shape[1], 0, side - shape[0])
    while done < config["steps"]:
        random = np.random.default_rng([config["seed"], done])
        rows = random.integers(len(images), size=config["batch"])
        real = torch.from_numpy(images[rows].astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        real = torch.nn.functional.pad(real, margins, mode="replicate").to(device)
        told = torch.from_numpy(labels[rows]).to(device)
        noise = random.standard_normal((len(rows), config["latent"]), dtype=np.float32)
        drawn = generator(torch.from_numpy(noise).to(device), told)
        # One-sided smoothing keeps the discriminator from being sure (Salimans et al. 2016, section 3.4).
        scores = discriminator(real, told), discriminator(drawn.detach(), told)
        against = minimax_discriminator_loss(*scores, label_smoothing=0.1)
        optimizers[1].zero_grad()
        against.backward()
        optimizers[1].step()
        loss = minimax_generator_loss(discriminator(drawn, told), nonsaturating=True)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        done += 1
        if out.progress(done, config["steps"], generator_loss=loss.item(), discriminator_loss=against.item()):
            with out.checkpoint() as folder:
                parts = [part.state_dict() for part in (*both, *optimizers)]
                torch.save({"parts": parts, "done": done}, folder / "training.pt")
    about = {"shape": shape, "classes": classes, "config": config}
    torch.save({"generator": generator.state_dict(), **about}, out.folder / "generator.pt")


def load(folder):
    """The trained generator, ready to draw."""
    saved = torch.load(folder / "generator.pt", map_location="cpu", weights_only=True)
    generator, _ = networks(saved["shape"], saved["classes"], saved["config"])
    generator.load_state_dict(saved["generator"])
    return {**saved, "generator": generator.to("cuda" if torch.cuda.is_available() else "cpu").eval()}


@torch.no_grad()
def sample(state, label, count, seed):
    """Draws uint8 (count, H, W, C)."""
    generator, (height, width, _) = state["generator"], state["shape"]
    device = next(generator.parameters()).device
    noise = torch.randn((count, state["config"]["latent"]), generator=torch.Generator().manual_seed(seed))
    images = generator(noise.to(device), torch.full((count,), label, device=device))[:, :, :height, :width]
    if not torch.isfinite(images).all():
        raise ArithmeticError("the generator gives NaN: train it at a lower rate")
    return images.add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
