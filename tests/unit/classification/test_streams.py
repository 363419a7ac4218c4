import numpy as np
from syntrial_classification.streams import below, item_codes, stream, word_of


def test_an_item_has_its_number_whatever_else_is_asked_for() -> None:
    alone = stream(item_codes(0, [7], 0), 3, 5)
    among = stream(item_codes(0, np.arange(20), 0), 3, 5)
    assert alone[0] == among[7]


def test_another_seed_word_origin_or_copy_gives_another_number() -> None:
    numbers = [
        stream(item_codes(*item), *words)[0]
        for item, words in (
            ((0, [7], 0), (3, 5)),
            ((0, [7], 0), (4, 5)),
            ((0, [7], 0), (5, 3)),
            ((0, [7], 0), (3, 5, 0)),
            ((1, [7], 0), (3, 5)),
            ((0, [7], 1), (3, 5)),
            ((0, [8], 0), (3, 5)),
        )
    ]
    assert len(set(numbers)) == len(numbers)


def test_whole_numbers_are_uniform() -> None:
    drawn = below(stream(item_codes(0, np.arange(50_000), 0), 1), 5)
    counts = np.bincount(drawn, minlength=5)
    assert len(counts) == 5
    assert np.abs(counts - 10_000).max() < 400


def test_words_for_generators_lie_in_63_bits_and_differ() -> None:
    words = {word_of(seed, 1) for seed in (0, 1, 2, 2**53, -1)}
    assert len(words) == 5
    assert all(0 <= word < 2**63 for word in words)
