"""YAML of users as a tree, of no more values than a person writes: aliases can make a kilobyte into billions."""

from typing import Any, Final

import yaml

from syntrial.errors import SourceError

MOST_VALUES: Final = 20_000
"""Values and names, each alias counted as what it stands for."""
MOST_DEPTH: Final = 64
LONGEST_NUMBER: Final = 64
"""Characters of what YAML reads as a number or a date."""

_TEXT: Final = "tag:yaml.org,2002:str"


def read_tree(text: str, *, name: str) -> Any:
    """The one document in a text; `name` is what errors call it.

    Raises SourceError for what is no YAML, or too much of it.
    """
    try:
        loader = _Bounded(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise _no_yaml(name, mark, problem) from None
    except _TooMuch as error:
        raise SourceError(
            field=name,
            rule=f"an experiment holds at most {MOST_VALUES:,} values on {MOST_DEPTH} levels, aliases written out",
            received=str(error),
            remedy="Take aliases (*name) and nesting away.",
        ) from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # What PyYAML's own readers of dates, numbers and tags raise.
        raise _no_yaml(name, None, f"a value that is none of its kind: {error}") from None


class _TooMuch(Exception):
    """More than a person writes; the text says of what."""


class _Bounded(yaml.SafeLoader):
    """Stops where the text holds too much, as soon as it does."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.nodes += 1
        self.depth += 1
        if self.nodes > MOST_VALUES or self.depth > MOST_DEPTH:
            raise _TooMuch("more values" if self.nodes > MOST_VALUES else "more levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _no_yaml(name: str, mark: yaml.Mark | None, received: str) -> SourceError:
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    return SourceError(
        field=where, rule="the file must be YAML", received=received, remedy="Mend the YAML at that place."
    )


def _check(root: yaml.Node) -> None:
    """Raises for more values than the limit with aliases written out, circles, and numbers that take long to read."""
    sizes: dict[int, int] = {}
    around: set[int] = set()

    def size(node: yaml.Node) -> int:
        """How many values a node holds, itself among them."""
        key = id(node)
        if key in sizes:
            return sizes[key]
        if key in around:
            raise _TooMuch("an alias inside what it stands for")
        if isinstance(node, yaml.ScalarNode):
            if node.tag != _TEXT and len(node.value) > LONGEST_NUMBER:
                problem = f"a number of {len(node.value)} digits"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            sizes[key] = 1
            return 1
        around.add(key)
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        total = 1 + sum(map(size, parts))
        if total > MOST_VALUES:
            raise _TooMuch("more values, by aliases")
        around.discard(key)
        sizes[key] = total
        return total

    size(root)
