from syntrial_generation.registry import FAMILIES

from syntrial.v1.generation_pb2 import SampleImagesRequest, TrainGeneratorRequest


def test_every_family_of_the_contract_has_a_row_and_no_other() -> None:
    kinds = {field.name for field in TrainGeneratorRequest.DESCRIPTOR.oneofs_by_name["generator"].fields}
    assert set(FAMILIES) == kinds - {"external"}


def test_a_family_checks_a_sampler_where_the_contract_has_one() -> None:
    samplers = {field.name for field in SampleImagesRequest.DESCRIPTOR.oneofs_by_name["sampler"].fields} - {"external"}
    assert {name for name, family in FAMILIES.items() if family.check_sampler} == samplers
