"""The administration of several workers as if they were one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from anywasm.core.errors import AnyWasmError
from anywasm.plugins.config import AppConfig, PluginConfig
from anywasm.server.admin import Action, Health, RefusedError, answer_to
from anywasm.server.admin.requests import read_plugin
from anywasm.server.workers.channel import ChannelClosedError
from anywasm.server.workers.process import LINGER, WorkerProcess
from anywasm.server.workers.settings import pack
from anywasm.server.workers.slot import RESTART_REASONS, WorkerSlot
from anywasm.server.workers.totals import Totals

_log = logging.getLogger("anywasm.workers")

#: Seconds that a worker has to tell what it has counted; then what it told last is taken.
METRICS_TIMEOUT = 2.0


class Fleet:
    """Does to every worker what the management API is asked for, or to none of them.

    Attributes:
        config: What the workers serve now; what new ones begin with.
        slots: The workers.
        stopping: Whether they are being stopped.
        totals: What they have counted.
        restarts: How many processes of each worker were replaced unasked, by the reason.
        lock: Held while what they serve changes.
    """

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.slots: list[WorkerSlot] = []
        self.stopping = False
        self.totals = Totals()
        self.restarts: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.lock = asyncio.Lock()

    def serve(self, config: AppConfig, slots: list[WorkerSlot]) -> None:
        """Have other workers, which serve another configuration, from now on."""
        self.config, self.slots = config, slots

    @property
    def first_plugins(self) -> list[dict[str, Any]]:
        """The plugins of some worker, as they were when it began to serve."""
        return next((worker.first_plugins for worker in self._serving()), [])

    def kill(self) -> None:
        """End every worker at once."""
        for slot in self.slots:
            if slot.process is not None:
                slot.process.kill()

    def _serving(self) -> list[WorkerProcess]:
        return [slot.serving for slot in self.slots if slot.serving is not None]

    async def change(self, action: Action, body: dict[str, Any]) -> dict[str, Any]:
        """Change a plugin in all workers; where one of them cannot, it is changed back in all.

        Raises:
            RefusedError: With the workers' answer where all say the same; else saying which of
                them failed, and why.
        """
        async with self.lock:
            workers = self._serving()
            if not workers:
                raise RefusedError(503, {"error": "no worker is ready; try again"})
            call = {"action": action, "body": body}
            answers = await _ask(workers, "change", call)
            failed = {
                worker: answer_to(answer)
                for worker, answer in answers.items()
                if isinstance(answer, AnyWasmError)
            }
            # A worker in which nothing had to change is as it was asked to be.
            done = [worker for worker in workers if worker not in failed]
            wrong = {worker: said for worker, said in failed.items() if said[0] != 200}
            if wrong or not done:
                raise await self._refusal(action, body, answers, failed, wrong)
            changed = [answers[worker] for worker in done]
            self._keep(action, body, changed[0]["name"])
            # Who has come meanwhile has begun with what there was before.
            late = [worker for worker in self._serving() if worker not in workers]
            for worker in late:
                worker.retiring = True
            await _ask(late, "stop", LINGER)
            return merged(dict(zip((worker.number for worker in done), changed)))

    def _keep(self, action: Action, body: dict[str, Any], name: str) -> None:
        """Have new workers begin with the change."""
        plugins = {plugin.name: plugin for plugin in self.config.plugins}
        if action == "uninstall":
            plugins.pop(name, None)
        elif action == "install" or "vm_config" in body:
            plugins[name] = read_plugin({**body, "name": name})
        else:
            update = {"instance_num": body["instance_num"]}
            plugins[name] = plugins[name].model_copy(update=update)
        self.config = self.config.model_copy(update={"plugins": tuple(plugins.values())})

    async def _refusal(
        self,
        action: Action,
        body: dict[str, Any],
        answers: dict[WorkerProcess, Any],
        failed: dict[WorkerProcess, tuple[int, dict[str, Any]]],
        wrong: dict[WorkerProcess, tuple[int, dict[str, Any]]],
    ) -> RefusedError:
        """Change back where it was changed; what to answer."""
        done = [worker for worker in answers if worker not in failed]
        said = list(failed.values())
        if not done and all(item == said[0] for item in said):
            return RefusedError(*said[0])
        report = {worker: reply.get("error", "failed") for worker, (_, reply) in wrong.items()}
        reasons = "; ".join(f"worker {worker.number}: {text}" for worker, text in report.items())
        report |= dict.fromkeys(failed.keys() - wrong.keys(), "nothing to change")
        if done:
            name = answers[done[0]]["name"]
            before = next((item for item in self.config.plugins if item.name == name), None)
            restored = await _restore(done, name, before)
            report |= restored
        _log.error("%s of plugin %s: %s", action, body.get("name"), reasons)
        workers = {str(worker.number): report[worker] for worker in answers}
        status = next(iter(wrong.values()))[0]
        return RefusedError(status, {"error": reasons, "workers": workers})

    async def plugins(self) -> list[dict[str, Any]]:
        """All plugins; where workers differ, as each of them has it."""
        answers = await _ask(self._serving(), "plugins", None)
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for worker, answer in answers.items():
            if not isinstance(answer, AnyWasmError):
                for plugin in answer:
                    found.setdefault(plugin["name"], {})[worker.number] = plugin
        return [merged(plugins) for plugins in found.values()]

    async def metrics(self) -> bytes:
        """The metrics of all workers, added up."""
        serving = {worker.key: worker for worker in self._serving()}
        asked = (worker.take_snapshot(METRICS_TIMEOUT) for worker in serving.values())
        await asyncio.gather(*asked, return_exceptions=True)
        numbers = {key: worker.number for key, worker in serving.items()}
        return self.totals.render(numbers, self._own_metrics())

    def _own_metrics(self) -> list[Metric]:
        ready = GaugeMetricFamily(
            "anywasm_worker_ready", "Whether a worker takes requests.", labels=("worker",)
        )
        restarts = CounterMetricFamily(
            "anywasm_worker_restarts",
            "Processes of a worker that have ended unasked and were replaced.",
            labels=("worker", "reason"),
        )
        for slot in self.slots:
            ready.add_metric((str(slot.number),), float(slot.serving is not None))
        for number, reasons in self.restarts.items():
            for reason in RESTART_REASONS:
                restarts.add_metric((str(number), reason), reasons[reason])
        return [ready, restarts]

    async def health(self) -> Health:
        """Live while there is a worker that serves or starts; ready while one serves."""
        workers = [slot.describe() for slot in self.slots]
        states = {worker["state"] for worker in workers}
        return Health(
            live=bool(states & {"ready", "starting"}),
            ready="ready" in states and not self.stopping,
            details={"workers": workers},
        )


async def _ask(workers: list[WorkerProcess], name: str, body: Any) -> dict[WorkerProcess, Any]:
    """What each worker answers, or the error with which it does not."""

    async def ask(worker: WorkerProcess) -> Any:
        try:
            return await worker.channel.call(name, body)
        except ChannelClosedError:
            return RefusedError(503, {"error": "it ended before it answered"})
        except AnyWasmError as error:
            return error

    return dict(zip(workers, await asyncio.gather(*map(ask, workers))))


async def _restore(
    workers: list[WorkerProcess], name: str, before: PluginConfig | None
) -> dict[WorkerProcess, str]:
    """Have a plugin be what it was; what came of it, in words."""
    config = None if before is None else pack(before)
    answers = await _ask(workers, "restore", {"name": name, "config": config})
    return {
        worker: f"changed, and not changed back: {answer}"
        if isinstance(answer, AnyWasmError)
        else "changed back"
        for worker, answer in answers.items()
    }


def merged(plugins: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """One description of a plugin, of those that each worker has, by their numbers.

    What all say alike is said once, numbers of instances are added up, and what differs is under
    `workers`.
    """
    every = list(plugins.values())
    result: dict[str, Any] = {}
    differing = []
    for key, value in every[0].items():
        if key == "replaced_instances":
            result[key] = sum(plugin[key] for plugin in every)
        elif key == "instances":
            result[key] = {state: sum(plugin[key][state] for plugin in every) for state in value}
        elif all(plugin.get(key) == value for plugin in every):
            result[key] = value
        else:
            differing.append(key)
    if differing:
        result["workers"] = {
            str(number): {key: plugin.get(key) for key in differing}
            for number, plugin in plugins.items()
        }
    return result
