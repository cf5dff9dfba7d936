"""What a server is told: the project's own schema, and those of Envoy, Istio and Layotto."""

from anywasm.plugins.config.abi_limits import AbiLimitsConfig
from anywasm.plugins.config.access_log import AccessLogConfig
from anywasm.plugins.config.address import Address
from anywasm.plugins.config.app import AppConfig
from anywasm.plugins.config.cluster import ClusterConfig, ClusterTlsConfig
from anywasm.plugins.config.fetch import FetchConfig
from anywasm.plugins.config.filters import LoadedFilters, load_filter_config, read_wasm_plugins
from anywasm.plugins.config.listener import LimitsConfig, ListenerConfig, ListenerTlsConfig
from anywasm.plugins.config.load import LoadedConfig, load_config
from anywasm.plugins.config.management import ManagementConfig
from anywasm.plugins.config.plugin import PluginConfig, ReloadBackoffConfig, TimeoutsConfig
from anywasm.plugins.config.route import DirectResponseConfig, RouteConfig
from anywasm.plugins.config.schema import config_schema
from anywasm.plugins.config.state_store import StateStoreConfig
from anywasm.plugins.config.vm import VmConfig

__all__ = [
    "AbiLimitsConfig",
    "AccessLogConfig",
    "Address",
    "AppConfig",
    "ClusterConfig",
    "ClusterTlsConfig",
    "DirectResponseConfig",
    "FetchConfig",
    "LimitsConfig",
    "ListenerConfig",
    "ListenerTlsConfig",
    "LoadedConfig",
    "LoadedFilters",
    "ManagementConfig",
    "PluginConfig",
    "ReloadBackoffConfig",
    "RouteConfig",
    "StateStoreConfig",
    "TimeoutsConfig",
    "VmConfig",
    "config_schema",
    "load_config",
    "load_filter_config",
    "read_wasm_plugins",
]
