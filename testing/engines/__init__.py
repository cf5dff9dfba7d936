"""The compliance suite: what every engine must do, those of this project and of others alike.

    from anywasm.testing.engines import EngineCompliance

    pytest_plugins = ["anywasm.testing.engines.plugin"]

    class TestAcme(EngineCompliance):
        engine = "acme"

Needs pytest (`pip install 'anywasm[testing]'`); nothing is compiled or downloaded.
"""

from anywasm.testing.engines.compliance import EngineCompliance

__all__ = ["EngineCompliance"]
