from syntrial_filtering.registry import FILTERS

from syntrial.v1.filtering_pb2 import Filter


def test_every_filter_of_the_contract_has_a_row_and_no_other():
    assert set(FILTERS) == {field.name for field in Filter.DESCRIPTOR.oneofs_by_name["kind"].fields}
