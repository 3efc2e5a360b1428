"""First of all steps: may this configuration meet what stands? Last of all on the way down: is
anything left?"""

from __future__ import annotations

from hubdeploy.aws.inventory import tags_of
from hubdeploy.errors import HubdeployError
from hubdeploy.pipeline.change import Changes
from hubdeploy.steps import fixed, remains
from hubdeploy.steps.base import Part


class Deployment(Part[dict[str, str]]):
    """Everything needs it, so it comes first in ``up`` and last in ``down``."""

    name = "deployment"
    title = "Deployment"

    def observe(self) -> dict[str, str]:
        """The tags of the VPC, if there is one."""
        vpcs = self.ctx.inventory.by_resource("describe_vpcs", "Vpcs")
        return tags_of(vpcs["vpc"]) if "vpc" in vpcs else {}

    def changes(self, observed: dict[str, str]) -> Changes:
        fixed.check(self.config, observed)
        yield from ()

    def destroy(self, observed: dict[str, str]) -> Changes:
        del observed
        yield self.waiting("deployment", "nothing to be left", self._nothing_left)

    def _nothing_left(self) -> None:
        found = remains.find(self.ctx)
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise HubdeployError(
                f"still there: {', '.join(found[:5])}{more}",
                hint="run `hubdeploy down` again; what stays then, remove by hand",
            )
