"""The thread that keeps machines and instances in step.

It looks at moto's EC2 state when something was changed through the API or a machine reports a
change, tells the machines what their instances became, and sets instance states to what the
machines have reached. Auto scaling groups are brought to their size by the same thread.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import groups, hosts
from hubdeploy.sandbox.cloud.overlay.instances import end, set_state

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.server import Cloud
    from hubdeploy.sandbox.machines.interface import Machines

log = logging.getLogger(__name__)
_ON_THE_WAY = ("pending", "stopping", "shutting-down")
_POLL_ON_THE_WAY = 0.2
_POLL_AT_REST = 1.0


class Follower:
    """One per cloud; :meth:`start` and :meth:`close`."""

    def __init__(self, cloud: Cloud, machines: Machines) -> None:
        self.cloud, self.machines = cloud, machines
        self._told: dict[str, str] = {}
        """Instance id -> what its machine was last told: boot, stop, start or terminate."""
        self._volumes: dict[str, dict[str, str]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self.cloud.touch()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        seen = -1
        wait = 0.0
        while not self._stop.is_set():
            seen = self.cloud.wait_for_change(since=seen, timeout=wait)
            wait = _POLL_AT_REST
            for account, region in self.cloud.sites():
                try:
                    wait = min(wait, self.follow(account, region))
                except Exception:
                    # one account's trouble must not end the following of all others
                    log.exception("following %s in %s failed", account, region)
                    wait = _POLL_ON_THE_WAY

    def follow(self, account: str, region: str) -> float:
        """Bring one site up to date; seconds until it wants another look."""
        from moto.autoscaling.models import autoscaling_backends

        wait = _POLL_AT_REST
        for instance in hosts.instances(self.cloud, account, region):
            if instance.state == "terminated" and instance.id not in self._told:
                continue
            self._follow(account, region, instance)
            if instance.state in _ON_THE_WAY:
                wait = _POLL_ON_THE_WAY
        self._reboots(account, region)
        if account in dict.keys(autoscaling_backends) and region in dict.keys(
            autoscaling_backends[account]
        ):
            due = groups.Engine(self.cloud, account, region).tick()
            wait = wait if due is None else min(wait, due)
        return wait

    def _reboots(self, account: str, region: str) -> None:
        queue: list[str] = self.cloud.store(account, region, "reboots", list)
        while queue:
            self.machines.reboot(queue.pop(0))

    def _follow(self, account: str, region: str, instance: Any) -> None:
        ident = instance.id
        told = self._told.get(ident)
        state = instance.state
        if state == "pending":
            if told is None:
                with self.cloud.lock:
                    spec = hosts.spec_of(self.cloud, account, region, instance)
                self._volumes[ident], self._tags[ident] = dict(spec.volumes), spec.tags
                self._tell(ident, "boot")
                self.machines.boot(spec)
            elif told == "stop":
                self._tell(ident, "start")
                self.machines.start(ident)
        elif state == "stopping" and told != "stop":
            self._tell(ident, "stop")
            self.machines.stop(ident)
        elif state in ("shutting-down", "terminated") and told not in (None, "terminate"):
            self._tell(ident, "terminate")
            self.machines.terminate(ident)
        self._settle(instance)

    def _tell(self, ident: str, what: str) -> None:
        self._told[ident] = what

    def _settle(self, instance: Any) -> None:
        """Set the instance's state to what the machine has reached."""
        ident = instance.id
        reached = self.machines.state(ident)
        told = self._told.get(ident)
        with self.cloud.lock:
            state = instance.state
            if state == "pending" and told in ("boot", "start") and reached == "running":
                set_state(instance, "running")
            elif state == "pending" and reached == "failed":
                reason = self.machines.failure(ident) or "the machine did not come up"
                self._end(instance, f"Server.InternalError: {reason}")
            elif state == "stopping" and reached in ("stopped", "gone"):
                set_state(instance, "stopped")
            elif state == "shutting-down" and (told is None or reached == "gone"):
                set_state(instance, "terminated")
                self._told.pop(ident, None)
            elif state == "running" and reached == "gone" and told in ("boot", "start"):
                self._end(instance, "Server.InternalError: the machine is gone")
            elif state == "running" and reached == "stopped" and told in ("boot", "start"):
                self._shut_itself_down(instance)
            else:
                if state == "running" and reached == "running":
                    self._volumes_and_tags(instance)
                return
        self.cloud.touch()

    def _end(self, instance: Any, reason: str) -> None:
        end(instance)
        set_state(instance, "shutting-down", reason=reason)

    def _shut_itself_down(self, instance: Any) -> None:
        """``poweroff`` inside the machine."""
        if instance.instance_initiated_shutdown_behavior == "terminate":
            reason = "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
            end(instance)
            set_state(instance, "shutting-down", reason=reason)
        else:
            self._told[instance.id] = "stop"
            set_state(instance, "stopped")

    def _volumes_and_tags(self, instance: Any) -> None:
        ident = instance.id
        now, before = hosts.data_volumes(instance), self._volumes.get(ident, {})
        for volume in before.keys() - now.keys():
            self.machines.detach_volume(ident, volume)
        for volume in now.keys() - before.keys():
            self.machines.attach_volume(ident, volume, now[volume])
        self._volumes[ident] = now
        tags = hosts.tags_of(instance)
        if tags != self._tags.get(ident):
            self._tags[ident] = tags
            self.machines.set_tags(ident, tags)
