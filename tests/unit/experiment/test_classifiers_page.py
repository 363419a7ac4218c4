"""The page on classifiers: its blocks are classifiers that an experiment may have."""

import re
from pathlib import Path

import pytest
import yaml

from syntrial.experiment.model import Classifier

PAGE = Path(__file__).resolve().parents[3] / "docs/classifiers.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_has_blocks() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_of_the_page_is_a_classifier(block: str) -> None:
    for tree in yaml.safe_load(block):
        classifier = Classifier.model_validate(tree)
        assert classifier.recipe is not None or classifier.stages or classifier.probe is not None or classifier.chain
