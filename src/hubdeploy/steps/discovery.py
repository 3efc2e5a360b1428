"""Cloud Map: the private names ``chef`` and ``leader``, which those machines register."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes
from hubdeploy.steps.base import Part, pairs, token

SERVICES = ("chef", "leader")
TTL = 15
"""Seconds for which an old address may be remembered after a machine was replaced."""
RESOURCE = "discovery"


class Discovery(Part[dict[str, Any]]):
    """The namespace and its services; who registers there is the machines' business."""

    name = "discovery"
    title = "Private names"
    needs = ("network.vpc",)

    def observe(self) -> dict[str, Any]:
        namespace = self._namespace()
        if namespace is None:
            return {"namespace": None, "services": {}}
        return {"namespace": namespace, "services": self._services(namespace["Id"])}

    def _namespace(self) -> dict[str, Any] | None:
        found = self.ctx.aws.pages(
            "servicediscovery",
            "list_namespaces",
            "Namespaces",
            Filters=[
                {"Name": "TYPE", "Values": ["DNS_PRIVATE"], "Condition": "EQ"},
                {"Name": "NAME", "Values": [self.names.namespace], "Condition": "EQ"},
            ],
        )
        return next((dict(item) for item in found), None)

    def _services(self, namespace: str) -> dict[str, dict[str, Any]]:
        found = self.ctx.aws.pages(
            "servicediscovery",
            "list_services",
            "Services",
            Filters=[{"Name": "NAMESPACE_ID", "Values": [namespace], "Condition": "EQ"}],
        )
        return {item["Name"]: item for item in found}

    def changes(self, observed: dict[str, Any]) -> Changes:
        if observed["namespace"] is None:
            namespace = yield self.create(
                RESOURCE,
                f"private DNS namespace {self.names.namespace}",
                self._create_namespace,
            )
        else:
            namespace = observed["namespace"]["Id"]
        ids = {}
        for service in SERVICES:
            seen = observed["services"].get(service)
            if seen is not None:
                ids[service] = seen["Id"]
                continue
            ids[service] = yield self.create(
                f"{RESOURCE}.{service}",
                f"name {service}.{self.names.namespace}",
                partial(self._create_service, namespace, service),
            )
        self.outputs["namespace"] = namespace
        self.outputs["services"] = ids

    def _create_namespace(self) -> str:
        vpc = self.outputs["vpc"]
        try:
            operation = self.call(
                "servicediscovery",
                "create_private_dns_namespace",
                Name=self.names.namespace,
                Vpc=vpc,
                CreatorRequestId=token("namespace", vpc),
                Description=f"hubdeploy {self.names.deployment}",
                Tags=pairs(self.tags(RESOURCE)),
            )["OperationId"]
            self._finished(operation, f"namespace {self.names.namespace}")
        except AwsError as error:
            # both mean that a run that was killed here had asked for it already
            if error.code not in ("NamespaceAlreadyExists", "DuplicateRequest"):
                raise
        found: str = self.until(
            lambda: (self._namespace() or {}).get("Id"),
            what=f"namespace {self.names.namespace}",
        )
        return found

    def _finished(self, operation: str, what: str) -> bool:
        def probe() -> bool | None:
            answer = self.call("servicediscovery", "get_operation", OperationId=operation)
            status = answer["Operation"]
            if status["Status"] == "FAIL":
                raise AwsError(
                    f"{what}: {status.get('ErrorMessage', 'failed')}",
                    code=str(status.get("ErrorCode", "")),
                    operation="create_private_dns_namespace",
                )
            return True if status["Status"] == "SUCCESS" else None

        return self.until(probe, what=what)

    def _create_service(self, namespace: str, service: str) -> str:
        try:
            made = self.settle(
                "servicediscovery",
                "create_service",
                Name=service,
                NamespaceId=namespace,
                CreatorRequestId=token("service", namespace, service),
                DnsConfig={
                    "RoutingPolicy": "MULTIVALUE",
                    "DnsRecords": [{"Type": "A", "TTL": TTL}],
                },
                Tags=pairs(self.tags(f"{RESOURCE}.{service}")),
            )
            return str(made["Service"]["Id"])
        except AwsError as error:
            if error.code != "ServiceAlreadyExists":
                raise
        found: str = self.until(
            lambda: self._services(namespace).get(service, {}).get("Id"), what=f"name {service}"
        )
        return found

    def destroy(self, observed: dict[str, Any]) -> Changes:
        for name, service in observed["services"].items():
            yield self.delete(
                f"{RESOURCE}.{name}",
                f"name {name}.{self.names.namespace}",
                partial(self._end_service, service["Id"]),
            )
        if observed["namespace"] is not None:
            yield self.delete(
                RESOURCE,
                f"namespace {self.names.namespace}",
                partial(self._end_namespace, observed["namespace"]["Id"]),
            )

    def _end_service(self, service: str) -> None:
        """The machines that registered are gone: their registrations first."""
        try:
            registered = self.ctx.aws.pages(
                "servicediscovery", "list_instances", "Instances", ServiceId=service
            )
        except AwsError as error:
            if error.code == "ServiceNotFound":
                return
            raise
        for item in registered:
            self.remove(
                "servicediscovery",
                "deregister_instance",
                wait_on={"ResourceInUse"},
                ServiceId=service,
                InstanceId=item["Id"],
            )
        self.remove("servicediscovery", "delete_service", wait_on={"ResourceInUse"}, Id=service)

    def _end_namespace(self, namespace: str) -> None:
        try:
            self.remove(
                "servicediscovery", "delete_namespace", wait_on={"ResourceInUse"}, Id=namespace
            )
        except AwsError as error:
            # asked for by an earlier run that did not see the end
            if error.code != "DuplicateRequest":
                raise
        self.until(
            lambda: True if self._namespace() is None else None,
            what=f"namespace {self.names.namespace} to be gone",
            deadline=self.config.waits.delete,
        )
