"""A key depends on what is asked, and on nothing else."""

import json
import random
import re

import pytest
import rfc8785
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syntrial.artifacts.content import listing_digest
from syntrial.artifacts.keys import KEY_PATTERN, canonical_digest, canonical_json, canonical_request, step_key
from syntrial.stages import METHODS
from syntrial.v1.artifacts_pb2 import Execution, MemberRef, SourceLocation, StepHeader
from syntrial.v1.filtering_pb2 import CentroidFilter, ConfidenceFilter, CopyFilter, Filter, FilterImagesRequest
from syntrial.v1.generation_pb2 import BALANCE_FILL, GanConfig, PcaConfig, TrainGeneratorRequest

METHOD = "syntrial.v1.FilteringService/FilterImages"

finite = st.floats(allow_nan=False, allow_infinity=False)
refs = st.builds(MemberRef, key=st.text("0123456789abcdef", min_size=64, max_size=64), member=st.sampled_from("ab"))
filters = st.one_of(
    st.builds(lambda keep: Filter(centroid=CentroidFilter(keep=keep)), finite),
    st.builds(lambda minimum: Filter(confidence=ConfidenceFilter(minimum=minimum)), finite),
)
requests = st.builds(
    FilterImagesRequest,
    images=refs,
    train=refs,
    filters=st.lists(filters, max_size=3),
    copies=st.none() | st.builds(CopyFilter, quantile=finite),
    ratio=finite,
    balance=st.integers(0, 3),
    seed=st.integers(0, 2**64 - 1),
    allow_shortfall=st.booleans(),
)


def key(request: Message, *, version: int = 1) -> str:
    return step_key(METHOD, request, stage_version=version)


def shuffled(tree: object, stream: random.Random) -> object:
    """The same JSON tree with the fields of all objects in another order."""
    if isinstance(tree, dict):
        items = [(name, shuffled(value, stream)) for name, value in tree.items()]
        stream.shuffle(items)
        return dict(items)
    return [shuffled(item, stream) for item in tree] if isinstance(tree, list) else tree


def respelt(tree: object) -> object:
    """The same JSON tree with whole numbers as floats and the other way round, which ProtoJSON reads alike."""
    if isinstance(tree, dict):
        return {name: respelt(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [respelt(item) for item in tree]
    if isinstance(tree, float) and tree.is_integer() and abs(tree) < 2**53:
        return int(tree)
    return float(tree) if isinstance(tree, int) and not isinstance(tree, bool) and abs(tree) < 2**53 else tree


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**55), 2**55)
    | st.floats()
    | st.integers(-(2**53), 2**53).map(float)
    | st.text()
    | st.text(st.characters(max_codepoint=0x9F)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner) | st.tuples(inner, inner),
)


@settings(max_examples=300, deadline=None)
@given(tree=trees)
@example(tree=[1e-4, -1e-4, 9.999e-5, 1e16, 2.0**52, 2.0**53, 2.0**52 - 0.5, 1e21, -0.0, 5e-324, 1.0])
@example(tree={"\ue000": 1, "\U0001f600": 2, "é": 3, "\x7f": "\x7f\x1f\u2028"})
@example(tree=2**53)
@example(tree=[float("nan")])
@example(tree=["\ud800"])
def test_canonical_json_is_that_of_rfc_8785(tree: object) -> None:
    try:
        expected = rfc8785.dumps(tree)  # type: ignore[arg-type]
    except ValueError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            canonical_json(tree)
    else:
        assert canonical_json(tree) == expected


@pytest.mark.parametrize("tree", [{1: "a"}, {None: 1}, {"a": b"b"}, {"a": {1, 2}}])
def test_what_is_no_json_has_no_canonical_form(tree: object) -> None:
    with pytest.raises(ValueError, match=r"must be strings|unsupported"):
        canonical_json(tree)


@settings(max_examples=50, deadline=None)
@given(request=requests, seed=st.integers(0, 2**32))
def test_the_order_of_fields_makes_no_difference(request: FilterImagesRequest, seed: int) -> None:
    stream = random.Random(seed)
    text = json.dumps(shuffled(json_format.MessageToDict(request), stream))
    assert key(json_format.Parse(text, FilterImagesRequest())) == key(request)


@settings(max_examples=50, deadline=None)
@given(request=requests)
def test_the_format_of_numbers_makes_no_difference(request: FilterImagesRequest) -> None:
    text = json.dumps(respelt(json_format.MessageToDict(request)))
    assert key(json_format.Parse(text, FilterImagesRequest())) == key(request)


@settings(max_examples=50, deadline=None)
@given(request=requests)
def test_defaults_spelt_out_make_no_difference(request: FilterImagesRequest) -> None:
    tree = json_format.MessageToDict(request, always_print_fields_with_no_presence=True)
    assert key(json_format.ParseDict(tree, FilterImagesRequest())) == key(request)


@settings(max_examples=50, deadline=None)
@given(request=requests)
def test_a_request_that_was_sent_has_the_same_key(request: FilterImagesRequest) -> None:
    assert key(FilterImagesRequest.FromString(request.SerializeToString())) == key(request)


@settings(max_examples=50, deadline=None)
@given(request=requests)
def test_places_and_the_header_make_no_difference(request: FilterImagesRequest) -> None:
    before = key(request)
    location = SourceLocation(digest="md5:1", path="/somewhere")
    header = StepHeader(key="k", stage_version=9, execution=Execution(source_locations=[location]))
    request.header.CopyFrom(header)
    assert key(request) == before
    assert request.header == header, "the request is left as it was"


@settings(max_examples=50, deadline=None)
@given(first=requests, second=requests)
def test_requests_that_differ_in_meaning_have_different_keys(
    first: FilterImagesRequest, second: FilterImagesRequest
) -> None:
    # Equality of messages takes -0.0 and 0.0 as one number, as keys do.
    assert (key(first) == key(second)) == (first == second)


CHANGES = {
    "another input": {"images": MemberRef(key="b" * 64, member="images")},
    "another member": {"images": MemberRef(key="a" * 64, member="other")},
    "another ratio": {"ratio": 0.5000000000000001},
    "another seed": {"seed": 2**64 - 1},
    "a seed that differs in the last bit": {"seed": 2**64 - 2},
    "another balance": {"balance": BALANCE_FILL},
    "a switch": {"allow_shortfall": True},
    "one filter": {"filters": [Filter(centroid=CentroidFilter(keep=0.5))]},
    "the same figure in another filter": {"filters": [Filter(confidence=ConfidenceFilter(minimum=0.5))]},
    "two filters": {
        "filters": [Filter(centroid=CentroidFilter(keep=0.5)), Filter(confidence=ConfidenceFilter(minimum=0.5))]
    },
    "two filters in another order": {
        "filters": [Filter(confidence=ConfidenceFilter(minimum=0.5)), Filter(centroid=CentroidFilter(keep=0.5))]
    },
}


def test_each_change_of_meaning_makes_a_key_of_its_own() -> None:
    base = {"images": MemberRef(key="a" * 64, member="images"), "ratio": 0.5}
    keys = {name: key(FilterImagesRequest(**{**base, **change})) for name, change in CHANGES.items()}
    keys["the base"] = key(FilterImagesRequest(**base))
    keys["another version"] = key(FilterImagesRequest(**base), version=2)
    keys["another method"] = step_key(METHOD + "X", FilterImagesRequest(**base), stage_version=1)
    assert len(set(keys.values())) == len(keys)
    assert all(KEY_PATTERN.fullmatch(found) for found in keys.values())


def test_a_choice_without_parameters_is_a_choice() -> None:
    choices = [TrainGeneratorRequest(), TrainGeneratorRequest(gan=GanConfig()), TrainGeneratorRequest(pca=PcaConfig())]
    assert len({key(choice) for choice in choices}) == 3


def test_minus_zero_is_zero() -> None:
    for request in (FilterImagesRequest(ratio=-0.0), FilterImagesRequest(ratio=0.0)):
        assert key(request) == key(FilterImagesRequest())
    minus, plain = (FilterImagesRequest(filters=[Filter(centroid=CentroidFilter(keep=x))]) for x in (-0.0, 0.0))
    assert key(minus) == key(plain)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_request_of_the_contract_has_a_key(method: str) -> None:
    assert canonical_request(METHODS[method]()) == {}
    assert KEY_PATTERN.fullmatch(step_key(method, METHODS[method](), stage_version=1))


def test_keys_stay_what_they_are() -> None:
    request = FilterImagesRequest(images=MemberRef(key="a" * 64, member="images"), ratio=0.1, seed=7)
    assert canonical_json(canonical_request(request)) == (
        b'{"images":{"key":"' + b"a" * 64 + b'","member":"images"},"ratio":0.1,"seed":"7"}'
    )
    assert key(request) == canonical_digest(
        {"request": canonical_request(request), "method": METHOD, "stageVersion": 1}
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1])
def test_what_json_cannot_carry_is_refused(value: float) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - rfc8785 has errors of its own beneath it
        canonical_json({"x": value})


def test_a_listing_has_the_digest_of_its_canonical_json() -> None:
    names = ["a/1.png", 'quote"\\back', "tab\tand\u001f\u007f", "é/ü漢字😀", "line\u2028end", "b\bf\fn\nr\r"]
    listing: list[list[str | int]] = [[name, number, "0" * 64] for number, name in enumerate(names)]
    listing.append(["large", 2**53 - 1, "f" * 64])
    assert listing_digest(listing) == f"sha256:{canonical_digest(listing)}"
    assert listing_digest([]) == f"sha256:{canonical_digest([])}"
