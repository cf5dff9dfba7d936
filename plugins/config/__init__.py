"""What a server is told: the project's own schema, and Layotto's configuration."""

from anywasm.plugins.config.address import Address
from anywasm.plugins.config.app import AppConfig, config_schema
from anywasm.plugins.config.listener import LimitsConfig, ListenerConfig
from anywasm.plugins.config.load import LoadedConfig, load_config
from anywasm.plugins.config.management import ManagementConfig
from anywasm.plugins.config.plugin import PluginConfig, TimeoutsConfig
from anywasm.plugins.config.state_store import StateStoreConfig
from anywasm.plugins.config.vm import VmConfig

__all__ = [
    "Address",
    "AppConfig",
    "LimitsConfig",
    "ListenerConfig",
    "LoadedConfig",
    "ManagementConfig",
    "PluginConfig",
    "StateStoreConfig",
    "TimeoutsConfig",
    "VmConfig",
    "config_schema",
    "load_config",
]
