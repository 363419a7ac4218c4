"""The protos keep the rules of buf's STANDARD lint category, checked on their descriptors.

One rule is left out on purpose: RPC_RESPONSE_STANDARD_NAME, since long work returns a google.longrunning.Operation
(AIP-151).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syntrial.stages import METHODS, STAGES
from syntrial.v1 import (
    analysis_pb2,
    artifacts_pb2,
    classification_pb2,
    data_preparation_pb2,
    filtering_pb2,
    generation_pb2,
    progress_pb2,
)

FILES: dict[str, Any] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (
        analysis_pb2,
        artifacts_pb2,
        classification_pb2,
        data_preparation_pb2,
        filtering_pb2,
        generation_pb2,
        progress_pb2,
    )
}
PROTOS = Path(__file__).resolve().parents[2] / "protos"


def messages(file: Any) -> Iterator[Any]:
    stack = list(file.message_types_by_name.values())
    while stack:
        message = stack.pop()
        yield message
        stack.extend(message.nested_types)


def enums(file: Any) -> Iterator[Any]:
    yield from file.enum_types_by_name.values()
    for message in messages(file):
        yield from message.enum_types


def is_map_entry(message: Any) -> bool:
    return bool(message.GetOptions().map_entry)


def test_every_proto_file_is_generated_and_lies_where_its_package_says() -> None:
    assert {str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto")} == set(FILES)
    for name, file in FILES.items():
        assert file.package == "syntrial.v1"
        assert re.fullmatch(r"syntrial/v1/[a-z0-9_]+\.proto", name)


@pytest.mark.parametrize("name", FILES)
def test_messages_and_fields_are_named_by_the_rules(name: str) -> None:
    for message in messages(FILES[name]):
        assert re.fullmatch(r"([A-Z][a-z0-9]*)+", message.name), message.full_name
        for field in message.fields:
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name), field.full_name


@pytest.mark.parametrize("name", FILES)
def test_enumerations_have_a_zero_that_says_nothing_and_prefixed_values(name: str) -> None:
    for enum in enums(FILES[name]):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
        assert enum.values[0].number == 0
        assert enum.values[0].name == f"{prefix}UNSPECIFIED"
        assert all(value.name.startswith(prefix) for value in enum.values), enum.full_name


@pytest.mark.parametrize("name", FILES)
def test_services_and_methods_are_named_by_the_rules(name: str) -> None:
    for service in FILES[name].services_by_name.values():
        assert service.name.endswith("Service")
        for method in service.methods:
            assert method.input_type.name == f"{method.name}Request"
            assert method.output_type.full_name in {
                "google.longrunning.Operation",
                f"syntrial.v1.{method.name}Response",
            }


def test_no_two_methods_share_a_request() -> None:
    inputs = [m.input_type.full_name for f in FILES.values() for s in f.services_by_name.values() for m in s.methods]
    assert len(inputs) == len(set(inputs))


@pytest.mark.parametrize("name", FILES)
def test_every_service_method_and_message_is_described(name: str) -> None:
    """A comment stands above each service method and message that is not a nested entry of a map."""
    text = (PROTOS / name).read_text()
    for match in re.finditer(r"^(?P<before>.*\n)(?P<line>  rpc (?P<method>\w+)\()", text, re.MULTILINE):
        assert match["before"].lstrip().startswith("//"), match["method"]


def test_every_request_of_a_stage_begins_with_the_header_and_has_no_free_form_map() -> None:
    for method, request in METHODS.items():
        fields: Any = request.DESCRIPTOR.fields
        assert fields[0].name == "header", method
        assert fields[0].number == 1
        assert not any(f.message_type is not None and is_map_entry(f.message_type) for f in fields), method


def test_the_catalogue_names_every_service_that_does_long_work() -> None:
    served = {
        service.full_name
        for file in FILES.values()
        for service in file.services_by_name.values()
        if any(method.output_type.full_name == "google.longrunning.Operation" for method in service.methods)
    }
    assert served == {stage.service for stage in STAGES.values()}
