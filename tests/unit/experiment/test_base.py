"""A model of which exactly one of several fields is given: one declaration, three uses."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from syntrial.cluster.crd.rule import one_of_rules
from syntrial.errors import UserError
from syntrial.experiment.base import Model, OneOf, Option, one_of
from syntrial.experiment.file import validate


class Apple(Model):
    weight: float = 1.0


class Fruit(OneOf):
    """Exactly one of {kinds}."""

    KINDS = ("apple", "pear_tree", "plum")
    OPTIONS: ClassVar = {"ladder": Option(of=("pear_tree",), prefix="high", rule="`ladder` belongs to a high tree")}
    apple: Apple | None = None
    pear_tree: str | None = None
    plum: int | None = None
    ladder: int | None = None


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"apple": {}}, "apple"), ({"pearTree": "high", "ladder": 3}, "pear_tree"), ({"plum": 0, "apple": None}, "plum")],
)
def test_the_one_that_is_given_is_known_by_name_and_a_null_counts_as_not_given(
    given: dict[str, Any], kind: str
) -> None:
    fruit = Fruit.model_validate(given)
    assert fruit.kind == kind
    assert fruit.chosen is getattr(fruit, kind)


@pytest.mark.parametrize(
    ("given", "rule", "received"),
    [
        ({}, "needs exactly one of apple, pearTree and plum", "none of them"),
        ({"apple": None}, "needs exactly one of", "none of them"),
        ({"apple": {}, "pearTree": "x"}, "needs exactly one of", "apple, pearTree"),
        ({"plum": 1, "ladder": 1}, "`ladder` belongs to a high tree", "it beside plum"),
        ({"pearTree": "low", "ladder": 1}, "`ladder` belongs to a high tree", "it beside pearTree"),
    ],
)
def test_none_several_and_options_of_another_kind_are_refused(given: dict[str, Any], rule: str, received: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Fruit.model_validate(given)
    (detail,) = caught.value.errors()
    assert rule in detail["msg"]
    assert detail["ctx"]["received"] == received


def test_the_api_server_is_told_the_same() -> None:
    first, second = one_of_rules(Fruit)
    assert first.message == Fruit.rule() == "needs exactly one of apple, pearTree and plum"
    assert first.rule == "(has(self.apple) ? 1 : 0) + (has(self.pearTree) ? 1 : 0) + (has(self.plum) ? 1 : 0) == 1"
    assert second.rule == "!has(self.ladder) || (has(self.pearTree) && self.pearTree.startsWith('high'))"
    assert second.message == "`ladder` belongs to a high tree"


def test_a_docstring_names_the_kinds() -> None:
    assert Fruit.__doc__ == "Exactly one of apple, pearTree and plum."


def test_a_table_makes_a_model() -> None:
    class Basket(one_of({"apple": Apple, "other": Apple})):  # type: ignore[misc]
        """Holds {kinds}."""

    assert Basket.model_validate({"other": {"weight": 2}}).chosen.weight == 2
    assert Basket.__doc__ == "Holds apple and other."


def test_what_was_received_is_said_of_the_field_itself() -> None:
    spec = {"dataset": {"npz": "a.npz", "folder": "b"}, "synthetic": [{"name": "x", "generator": {"pca": {}}}]}
    tree = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "x"}, "spec": spec}
    with pytest.raises(UserError) as caught:
        validate(tree)
    (violation,) = caught.value.violations
    assert (violation.field, violation.received) == ("spec.dataset", "npz, folder")
    assert violation.rule == "needs exactly one of medmnist, npz, folder, table and phantom"
