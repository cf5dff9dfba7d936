"""What the author of an engine writes to have it judged."""

from __future__ import annotations

from typing import ClassVar

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "the compliance suite runs in pytest, which is not installed: "
        "pip install 'anywasm[testing]'"
    ) from error

#: Where the tests are; pytest shows the values in their assertions, as in tests of its user.
SUITE = "anywasm.testing.engines.suite"
PLUGIN = "anywasm.testing.engines.plugin"

pytest.register_assert_rewrite(SUITE)


class EngineCompliance:
    """All that an engine must do. Subclass it in a test file, and name the engine.

    The file must also load the plugin that collects the tests:
    `pytest_plugins = ["anywasm.testing.engines.plugin"]`. What is tested follows from the engine's
    `capabilities`: what they claim has to work, and what they do not claim has to be refused.

    Attributes:
        engine: The name under which `get_wasm_engine` finds it. Some tests end the interpreter if
            they fail, and run in one of their own: the engine must be installed (editable will
            do), so that they find it, too.
        leak_rounds: How often a call is repeated to see whether it leaks. A million shows ten bytes
            a call; a slow engine may take fewer.
    """

    engine: ClassVar[str]
    leak_rounds: ClassVar[int] = 1_000_000

    def test_plugin_is_loaded(self) -> None:
        """Stands in for the suite where the plugin is missing."""
        pytest.fail(f"add to the test file: pytest_plugins = [{PLUGIN!r}]", pytrace=False)
