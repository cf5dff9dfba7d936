"""YAML with the core schema of YAML 1.2, with the line of each value.

PyYAML's own loaders follow YAML 1.1, in which `no` is false, `1:30` is ninety and `010` is eight.
Here they are text, text and ten, as in most other tools of today.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.model import KeyPath

#: How deep values may be nested, and how many there may be once aliases are written out.
MAX_DEPTH = 64
MAX_VALUES = 100_000
TOO_DEEP = f"values are nested more than {MAX_DEPTH} deep"

_TAG = "tag:yaml.org,2002:"


class _Composer(yaml.SafeLoader):
    """PyYAML's parser up to nodes, with the scalars of the core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_NO_NUMBER = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", f"{_FLOAT}|{_NO_NUMBER}", list("-+.0123456789")),
):
    _Composer.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _first)


def read_yaml(text: str) -> list[tuple[Any, dict[KeyPath, int]]]:
    """For each document that says something: its value, and the line of each value in it.

    Raises:
        ConfigError: `LINE: ` and what is wrong.
    """
    loader = None
    nodes: list[yaml.Node] = []
    try:
        loader = _Composer(text)
        while loader.check_node() and (node := loader.get_node()) is not None:
            nodes.append(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{line}: not valid YAML: {problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{line}: not valid YAML: {error.reason}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"1: not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"1: {TOO_DEEP}") from None
    finally:
        if loader is not None:
            loader.dispose()
    documents = []
    for node in nodes:
        reader = _Reader()
        reader.lines[()] = node.start_mark.line + 1
        value = reader.value(node, ())
        if value is not None:
            documents.append((value, reader.lines))
    return documents


class _Reader:
    """Turns nodes into values."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        # An alias inside its own anchor never ends; it is too deep at some point.
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{line}: {TOO_DEEP}")
        if len(self.lines) > MAX_VALUES:
            raise ConfigError(f"{line}: more than {MAX_VALUES} values, counting repeated aliases")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = []
            for index, item in enumerate(node.value):
                here = (*path, index)
                self.lines[here] = item.start_mark.line + 1
                items.append(self.value(item, here))
            return items
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node.tag.removeprefix(_TAG), node.value)
            except (KeyError, ValueError):
                pass
        raise ConfigError(f"{line}: the tag {node.tag!r} is not supported here; leave it out")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TAG + "str":
                raise ConfigError(f"{line}: keys must be text; put them in quotes")
            key: str = key_node.value
            if key == "<<":
                raise ConfigError(
                    f"{line}: merge keys (<<) are not part of YAML 1.2; write the keys out"
                )
            here = (*path, key)
            if key in result:
                first = self.lines[here]
                raise ConfigError(f'{line}: key "{key}" is there already, on line {first}')
            self.lines[here] = line
            result[key] = self.value(value_node, here)
        return result


def _scalar(tag: str, text: str) -> str | int | float | bool | None:
    if tag == "str":
        return text
    if tag == "null":
        return None
    if tag == "bool":
        return {"true": True, "false": False}[text.lower()]
    if tag == "int":
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if tag == "float":
        return float(re.sub(r"\.(?=[inIN])", "", text))
    raise KeyError(tag)
