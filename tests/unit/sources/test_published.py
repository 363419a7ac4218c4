"""The table of published weights equals timm's own; names that it does not have are answered with those near them."""

import pytest
import timm

from syntrial.errors import UserError
from syntrial.sources.addresses import HubAddress
from syntrial.sources.published import published_weights, repositories


def test_the_table_has_what_timm_has_with_its_default_first() -> None:
    expected: dict[str, dict[str, str]] = {}
    for name in timm.list_pretrained():
        configuration = timm.get_pretrained_cfg(name, allow_unregistered=False)
        if configuration.hf_hub_id:
            model, _, tag = name.partition(".")
            expected.setdefault(model, {})[tag] = configuration.hf_hub_id
    table = repositories()
    assert table == expected
    defaults = {model: next(iter(tags)) for model, tags in table.items()}
    assert defaults == {model: timm.get_pretrained_cfg(model, allow_unregistered=False).tag for model in table}


@pytest.mark.parametrize(
    ("model", "repository"),
    [
        ("resnet18", "timm/resnet18.a1_in1k"),
        ("resnet18.tv_in1k", "timm/resnet18.tv_in1k"),
        ("vitamin_small_224.datacomp1b_clip", "jienengchen/ViTamin-S"),
    ],
)
def test_a_model_has_a_repository_by_its_tag_or_by_default(model: str, repository: str) -> None:
    assert published_weights(model, field="f") == HubAddress(repository=repository)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("resnet18.nonsense", "Use one of: a1_in1k"),
        ("resnet19", "Did you mean resnet1"),
        ("small-cnn", "of a model of timm; received small-cnn"),
        ("qqqqqqqqqqqqqq", "Give a file of weights, hub://"),
    ],
)
def test_a_model_without_published_weights_is_answered_with_what_there_is(model: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        published_weights(model, field="spec.classifiers[1].pretraining")
    assert caught.value.violations[0].field == "spec.classifiers[1].pretraining"
