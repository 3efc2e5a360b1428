"""ECR repository for a notebook image of one's own."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps.base import Part, pairs

KEPT_IMAGES = 20
RESOURCE = "registry"


def lifecycle() -> dict[str, Any]:
    """Keep the newest images; untagged ones are left-overs of a push."""
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": f"keep the newest {KEPT_IMAGES}",
                "selection": {
                    "tagStatus": "any",
                    "countType": "imageCountMoreThan",
                    "countNumber": KEPT_IMAGES,
                },
                "action": {"type": "expire"},
            }
        ]
    }


class Registry(Part[dict[str, Any]]):
    """The repository; deleted with its images by ``down``."""

    name = "registry"
    title = "Image registry"
    needs = ("deployment",)

    def observe(self) -> dict[str, Any]:
        name = self.names.repository
        try:
            found = self.call("ecr", "describe_repositories", repositoryNames=[name])
        except AwsError as error:
            if error.code == "RepositoryNotFoundException":
                return {}
            raise
        try:
            text = self.call("ecr", "get_lifecycle_policy", repositoryName=name)[
                "lifecyclePolicyText"
            ]
        except AwsError as error:
            if error.code != "LifecyclePolicyNotFoundException":
                raise
            text = "{}"
        return {**found["repositories"][0], "lifecycle": json.loads(text)}

    def changes(self, observed: dict[str, Any]) -> Changes:
        name = self.names.repository
        if not observed:
            yield self.create(RESOURCE, f"ECR repository {name}", self._create)
        elif not observed.get("imageScanningConfiguration", {}).get("scanOnPush"):
            yield self.update(
                RESOURCE,
                "scan images for known faults",
                partial(
                    self.settle,
                    "ecr",
                    "put_image_scanning_configuration",
                    repositoryName=name,
                    imageScanningConfiguration={"scanOnPush": True},
                ),
                (FieldChange(name="scan on push", old="False", new="True"),),
            )
        if observed.get("lifecycle") != lifecycle():
            yield self.update(
                RESOURCE,
                "which images are kept",
                partial(
                    self.settle,
                    "ecr",
                    "put_lifecycle_policy",
                    repositoryName=name,
                    lifecyclePolicyText=json.dumps(lifecycle()),
                ),
                (FieldChange(name="kept", new=str(KEPT_IMAGES)),),
            )

    def _create(self) -> None:
        try:
            self.call(
                "ecr",
                "create_repository",
                repositoryName=self.names.repository,
                tags=pairs(self.tags(RESOURCE)),
                imageScanningConfiguration={"scanOnPush": True},
                encryptionConfiguration={"encryptionType": "AES256"},
            )
        except AwsError as error:
            if error.code != "RepositoryAlreadyExistsException":
                raise

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed:
            name = self.names.repository
            yield self.delete(
                RESOURCE,
                f"ECR repository {name} and its images",
                partial(self.remove, "ecr", "delete_repository", repositoryName=name, force=True),
            )
