"""Parts of an experiment as requests of the stages."""

from typing import Any

import pytest

from syntrial.experiment.filters import FILTERS, Filter
from syntrial.experiment.model import Synthetic
from syntrial.plan import requests
from syntrial.v1.filtering_pb2 import Filter as FilterMessage


def synthetic(*filters: Any) -> Synthetic:
    return Synthetic.model_validate({"name": "x", "generator": {"gan": {}}, "copies": 0, "filters": filters})


def test_filters_are_asked_for_in_order_and_candidates_drawn_for_what_they_take() -> None:
    item = synthetic({"centroid": {"keep": 0.5}}, {"confidence": {"minimum": 0.75}})
    first, second = requests.filters(item)
    assert (first.WhichOneof("kind"), first.centroid.keep) == ("centroid", 0.5)
    assert (second.WhichOneof("kind"), second.confidence.minimum) == ("confidence", 0.75)
    assert requests.oversampling(item) == 2 * requests.UNKNOWN_HEADROOM
    assert requests.random_filters(item)[0].random.keep == 0.5


def test_every_filter_that_an_experiment_may_name_has_a_message() -> None:
    messages = FilterMessage.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert set(FILTERS) < {field.name for field in messages}


class Newer(Filter):
    """Filters of which one has neither a row nor a message."""

    KINDS = ("centroid", "confidence", "brightness")
    brightness: float | None = None


@pytest.mark.parametrize("ask", [requests.filters, requests.oversampling, requests.random_filters])
def test_a_kind_of_filter_that_no_request_is_known_for_is_never_taken_for_another(ask: Any) -> None:
    with pytest.raises((LookupError, AttributeError), match="brightness"):
        ask(synthetic().model_copy(update={"filters": (Newer(brightness=0.5),)}))
