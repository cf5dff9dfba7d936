from anywasm.testing.engines import EngineCompliance

pytest_plugins = ["anywasm.testing.engines.plugin"]


class TestV8(EngineCompliance):
    engine = "v8"
    leak_rounds = 100_000  # a call takes ten microseconds
