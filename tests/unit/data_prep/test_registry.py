from syntrial_data_prep.sources import READERS

from syntrial.experiment.dataset import SOURCES
from syntrial.v1.data_preparation_pb2 import Source


def test_every_source_of_the_contract_has_a_row_on_both_sides_and_no_other() -> None:
    kinds = {field.name for field in Source.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert set(READERS) == kinds
    assert set(SOURCES) == kinds


def test_what_has_an_address_is_looked_into_before_it_is_read() -> None:
    assert {name for name, kind in SOURCES.items() if kind.look} == {
        name for name, kind in SOURCES.items() if kind.content
    }
