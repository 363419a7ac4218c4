"""Parts of an experiment as requests of the stages."""

from typing import Any

import pytest

from syntrial.experiment.model import Filter, Synthetic
from syntrial.plan import requests


def synthetic(*filters: Any) -> Synthetic:
    return Synthetic.model_validate({"name": "x", "generator": {"gan": {}}, "copies": 0, "filters": filters})


def test_filters_are_asked_for_in_order_and_candidates_drawn_for_what_they_take() -> None:
    item = synthetic({"centroid": {"keep": 0.5}}, {"confidence": {"minimum": 0.75}})
    first, second = requests.filters(item)
    assert (first.centroid.keep, second.confidence.minimum) == (0.5, 0.75)
    assert requests.oversampling(item) == 2 * requests.CONFIDENCE_HEADROOM
    assert requests.random_filters(item)[0].random.keep == 0.5


@pytest.mark.parametrize("ask", [requests.filters, requests.oversampling, requests.random_filters])
def test_a_kind_of_filter_that_no_request_is_known_for_is_never_taken_for_another(ask: Any) -> None:
    third = Filter.model_construct()
    with pytest.raises(AssertionError, match="filter"):
        ask(synthetic().model_copy(update={"filters": (third,)}))
