"""The parts of a deployment, one class each, and the graph that they make."""

from __future__ import annotations

from typing import Any

from hubdeploy.pipeline.step import Context, Step


def all_steps(ctx: Context) -> list[Step[Any]]:
    """Every step of a deployment, for one run."""
    from hubdeploy.steps import (
        alarms,
        artifacts,
        backups,
        bucket,
        deployment,
        discovery,
        dns,
        files,
        firewall,
        group,
        iam,
        keypair,
        leader_parts,
        logs,
        machines,
        mounts,
        nat,
        network,
        parameters,
        registry,
        release,
        routing,
        tagging,
        template,
        waits,
    )

    classes: tuple[type[Step[Any]], ...] = (
        deployment.Deployment,
        network.Vpc,
        network.Subnets,
        routing.InternetGateway,
        nat.Nat,
        routing.Routes,
        routing.Endpoint,
        firewall.Firewall,
        keypair.KeyPair,
        bucket.Bucket,
        iam.Iam,
        files.FileSystem,
        backups.Backups,
        mounts.MountTargets,
        discovery.Discovery,
        parameters.Parameters,
        registry.Registry,
        logs.Logs,
        artifacts.Artifacts,
        leader_parts.Address,
        leader_parts.Volume,
        dns.Zone,
        dns.Record,
        release.Release,
        machines.ChefServer,
        machines.Workstation,
        machines.Leader,
        leader_parts.AttachAddress,
        template.Template,
        group.Group,
        alarms.Alarms,
        tagging.Tags,
        waits.ChefReady,
        waits.Published,
        waits.LeaderReady,
        waits.HubAnswers,
        waits.WorkersReady,
        waits.Converge,
    )
    return [step(ctx) for step in classes]


def leftovers(ctx: Context) -> list[str]:
    """Human names of what is left in the account; empty after a complete ``down``."""
    from hubdeploy.steps import remains

    return remains.find(ctx)
