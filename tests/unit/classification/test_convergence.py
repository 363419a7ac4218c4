import numpy as np
from syntrial_classification.convergence import judge


def losses(*means: float, noise: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([mean + noise * rng.standard_normal(400) for mean in means]).astype(np.float32)


STEPS = [25, 50, 75, 100]


def test_a_loss_that_still_falls_is_flagged() -> None:
    found = judge(STEPS, losses_VN=losses(0.9, 0.7, 0.5, 0.3), phase_start=0, phase_end=100)
    assert found is not None
    assert found.undertrained
    assert found.to_step == 100


def test_a_plateau_noise_and_a_rise_are_not_flagged() -> None:
    for tail, noise in (((0.301, 0.3), 0.05), ((0.33, 0.3), 2.0), ((0.3, 0.4), 0.05)):
        found = judge(STEPS, losses_VN=losses(0.9, 0.5, *tail, noise=noise), phase_start=0, phase_end=100)
        assert found is not None
        assert not found.undertrained


def test_only_the_last_phase_counts() -> None:
    found = judge(STEPS, losses_VN=losses(0.9, 0.8, 0.3, 0.3), phase_start=50, phase_end=100)
    assert found is not None
    assert found.from_step == 75
    assert not found.undertrained
    assert judge(STEPS, losses_VN=losses(0.9, 0.8, 0.3, 0.3), phase_start=90, phase_end=100) is None
