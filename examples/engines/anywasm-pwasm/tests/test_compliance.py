from anywasm.testing.engines import EngineCompliance

pytest_plugins = ["anywasm.testing.engines.plugin"]


class TestPwasm(EngineCompliance):
    engine = "pwasm"
    leak_rounds = 100_000  # it is slow
