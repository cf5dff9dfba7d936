"""What holds shared data and queues, of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from anywasm.abi.shared_data import SharedData
from anywasm.abi.shared_queue import SharedQueues
from anywasm.abi.shared_state import SharedDataStore, SharedQueueStore
from anywasm.core.errors import ConfigError
from anywasm.plugins.config import AppConfig
from anywasm.plugins.config.model import key_path_text
from anywasm.plugins.config.problems import problems_of
from anywasm.server.state.redis_link import RedisLink
from anywasm.server.state.redis_options import SharedRedisOptions
from anywasm.server.state.shared_data import RedisSharedData
from anywasm.server.state.shared_queues import RedisSharedQueues


@dataclass(frozen=True, slots=True)
class SharedState:
    """Data and queues, and whether they are reached over a network."""

    data: SharedDataStore
    queues: SharedQueueStore
    waits: bool


def open_shared(config: AppConfig) -> SharedState:
    """What guests share: in this process, or where `shared_store` says. Does not connect yet.

    Raises:
        ConfigError: For an unknown type, or options that it refuses; one line each.
    """
    limits = config.abi_limits
    given = config.shared_store
    if given is None:
        data = SharedData(limits.shared_data_bytes)
        return SharedState(data, SharedQueues(limits.queue_items, limits.queue_bytes), False)
    if given.type != "redis":
        message = f'shared_store.type: unknown type "{given.type}"; known: redis'
        raise ConfigError(given.place + message)
    try:
        options = SharedRedisOptions.model_validate(dict(given.options))
        link = RedisLink("the shared store", options)
    except ValidationError as error:
        problems = problems_of(error, SharedRedisOptions)
        lines = (f"{key_path_text(('shared_store', *path))}: {text}" for path, text in problems)
        raise ConfigError("\n".join(given.place + line for line in lines)) from None
    except ConfigError as error:
        raise ConfigError(f"{given.place}shared_store.{error}") from error.__cause__
    prefix = options.key_prefix
    queues = RedisSharedQueues(link, prefix, limits.queue_items, limits.queue_bytes)
    return SharedState(RedisSharedData(link, prefix, limits.shared_data_bytes), queues, True)
