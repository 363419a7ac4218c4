import os
from typing import Any

import pytest
import torch
from syntrial_training import compute
from syntrial_training.compute import policy, reproducible
from torch.nn.functional import scaled_dot_product_attention

from syntrial.errors import UserError
from syntrial.rpc.testing import FakeContext
from syntrial.v1.filtering_pb2 import TrainEncoderRequest

REQUEST = TrainEncoderRequest()


def settings() -> dict[str, Any]:
    """Every setting of torch's that the policy touches."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "matmul": cuda.matmul.fp32_precision,
        "convolution": cudnn.conv.fp32_precision,
        "recurrent": cudnn.rnn.fp32_precision,
        "benchmark": cudnn.benchmark,
        "cudnn deterministic": cudnn.deterministic,
        "flash": cuda.flash_sdp_enabled(),
        "memory efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn attention": cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy as it is where there is a GPU: torch keeps these settings on every machine."""
    monkeypatch.setattr(compute, "device", lambda: torch.device("cuda"))


def test_threads_and_determinism_are_set_within_and_put_back_afterwards() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    before = settings()
    with policy():
        assert settings() == before | {"threads": 1, "deterministic": True, "fills": False}
    assert settings() == before
    with pytest.raises(KeyError), policy():
        raise KeyError
    assert settings() == before
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("on_a_gpu")
def test_on_a_gpu_precision_kernels_and_attention_are_pinned_too() -> None:
    before = settings()
    with policy():
        within = settings()
    assert [within[name] for name in ("matmul", "convolution", "recurrent")] == ["ieee"] * 3
    assert not within["benchmark"]
    assert within["cudnn deterministic"]
    assert [within[name] for name in ("flash", "memory efficient", "cudnn attention", "math")] == [False] * 3 + [True]
    assert settings() == before


def test_cublas_is_told_before_it_is_used() -> None:
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_verb_computes_under_the_policy() -> None:
    seen = []
    verb = reproducible(lambda _request, _context: seen.append(settings()))
    verb(REQUEST, FakeContext())
    assert (seen[0]["threads"], seen[0]["deterministic"], seen[0]["warns only"]) == (1, True, False)


def test_a_kernel_without_a_deterministic_form_is_the_users_error_and_not_left_to_chance() -> None:
    def verb(_request: Any, _context: Any) -> None:
        torch.zeros(4).put_(torch.tensor([0, 1]), torch.ones(2))

    with pytest.raises(UserError, match=r"deterministic form.*received put_"):
        reproducible(verb)(REQUEST, FakeContext())


def test_other_errors_of_torch_stay_what_they_are() -> None:
    def verb(_request: Any, _context: Any) -> None:
        torch.zeros(2) @ torch.zeros(3)

    with pytest.raises(RuntimeError, match="size"):
        reproducible(verb)(REQUEST, FakeContext())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_on_a_gpu_a_step_with_attention_and_convolutions_gives_the_same_bytes_each_time() -> None:
    def gradient() -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(64, 32, 16, 16, generator=generator).cuda().requires_grad_()
        kernel = torch.randn(32, 32, 3, 3, generator=generator).cuda().requires_grad_()
        maps = torch.nn.functional.conv2d(images, kernel, padding=1).flatten(2).transpose(1, 2)[:, None]
        scaled_dot_product_attention(maps, maps, maps).square().sum().backward()
        assert kernel.grad is not None
        return kernel.grad

    with policy():
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(5))
