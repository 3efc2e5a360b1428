"""The parts of a deployment, one class each, and the graph that they make."""

from __future__ import annotations

from typing import Any

from hubdeploy.pipeline.step import Context, Step


def all_steps(ctx: Context) -> list[Step[Any]]:
    """Every step of a deployment, for one run."""
    from hubdeploy.steps import deployment, network

    return [
        deployment.Deployment(ctx),
        network.Vpc(ctx),
        network.Subnets(ctx),
    ]
