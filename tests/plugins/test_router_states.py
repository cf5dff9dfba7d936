"""Any order of plugins that come, change and go: who is picked serves, and all in turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anywasm.plugins.errors import FunctionNotFoundError
from anywasm.plugins.router import FunctionRouter

NAMES = st.sampled_from("abcd")
IDS = st.sampled_from("fg")


@dataclass(eq=False)
class Plugin:
    """As much of a plugin as the router looks at."""

    name: str
    id: str
    is_filter: bool = False


class Routers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.router = FunctionRouter()
        self.serving: dict[str, Plugin] = {}
        self.retired: list[Plugin] = []
        #: How often each was picked, by choice, since a plugin of that id last changed.
        self.picked: dict[tuple[Plugin, ...], Counter[Plugin]] = {}

    def choice(self, id: str, among: frozenset[str] | None) -> tuple[Plugin, ...]:
        return tuple(
            plugin
            for plugin in self.serving.values()
            if plugin.id == id and (among is None or plugin.name in among)
        )

    @rule(name=NAMES, id=IDS)
    def start(self, name: str, id: str) -> None:
        plugin = Plugin(name, id)
        self.router.on_plugin_start(cast(Any, plugin))
        old, self.serving[name] = self.serving.get(name), plugin
        self.begin_anew(id)
        if old is not None:
            self.retired.append(old)
            self.begin_anew(old.id)

    @rule(name=NAMES, id=IDS)
    def start_a_filter(self, name: str, id: str) -> None:
        self.router.on_plugin_start(cast(Any, Plugin(name, id, is_filter=True)))

    @precondition(lambda self: self.serving)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        plugin = self.serving.pop(data.draw(st.sampled_from(sorted(self.serving))))
        self.router.on_plugin_destroy(cast(Any, plugin))
        self.begin_anew(plugin.id)

    @precondition(lambda self: self.retired)
    @rule()
    def tell_of_an_end_late(self) -> None:
        self.router.on_plugin_destroy(cast(Any, self.retired.pop()))

    @rule(id=IDS, among=st.none() | st.frozensets(NAMES), times=st.integers(1, 5))
    def pick(self, id: str, among: frozenset[str] | None, times: int) -> None:
        choice = self.choice(id, among)
        if not choice:
            with pytest.raises(FunctionNotFoundError):
                self.router.pick(id, among)
            return
        picked = self.picked.setdefault(choice, Counter(dict.fromkeys(choice, 0)))
        for _ in range(times):
            plugin = cast(Any, self.router.pick(id, among))
            assert plugin in choice
            picked[plugin] += 1

    def begin_anew(self, id: str) -> None:
        """A change of an id's plugins begins all its rounds anew, and no other's."""
        self.picked = {
            choice: counts for choice, counts in self.picked.items() if choice[0].id != id
        }

    @invariant()
    def all_have_their_turns(self) -> None:
        for counts in self.picked.values():
            assert max(counts.values()) - min(counts.values()) <= 1

    @invariant()
    def what_serves_is_routed(self) -> None:
        assert set(self.router.ids) == {plugin.id for plugin in self.serving.values()}
        for each in "fg":
            assert set(cast(Any, self.router.plugins(each))) == set(self.choice(each, None))


TestRouters = Routers.TestCase
TestRouters.settings = settings(max_examples=40, stateful_step_count=30)
