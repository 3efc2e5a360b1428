"""Checks of what lies outside the account's compute: the domain, images, downloads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar

import requests

from hubdeploy.doctor.check import Check, Stage
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.step import Finding

TIMEOUT = 10.0
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


class Domain(Check):
    """The domain's hosted zone is in the account, and the world's DNS points to it."""

    name = "domain.zone"
    title = "The domain's zone is delegated"
    stage: ClassVar[Stage] = Stage.ALWAYS

    def find(self) -> Iterable[Finding]:
        domain = self.ctx.config.domain
        if domain is None:
            return
        zone = self._zone(domain)
        if zone is None:
            yield self.error(
                f"there is no public hosted zone for {domain} in this account",
                hint="make one in Route 53, or leave `domain` out",
            )
            return
        ours = {
            name.rstrip(".").lower()
            for name in self.ctx.aws.call("route53", "get_hosted_zone", Id=zone["Id"])[
                "DelegationSet"
            ]["NameServers"]
        }
        apex = zone["Name"].rstrip(".")
        theirs = self.ctx.name_servers(apex)
        if not theirs:
            yield self.error(
                f"DNS knows no name servers of {apex}",
                hint=f"at the registrar, set them to: {', '.join(sorted(ours))}",
            )
        elif not theirs & ours:
            yield self.error(
                f"{apex} is delegated to {', '.join(sorted(theirs))}, not to its hosted zone",
                hint=f"at the registrar, set the name servers to: {', '.join(sorted(ours))}",
            )

    def _zone(self, domain: str) -> dict[str, Any] | None:
        """The public zone of the domain or of the nearest domain above it."""
        zones = {
            zone["Name"].rstrip("."): zone
            for zone in self.ctx.aws.pages("route53", "list_hosted_zones", "HostedZones")
            if not zone.get("Config", {}).get("PrivateZone")
        }
        labels = domain.split(".")
        above = [".".join(labels[start:]) for start in range(len(labels) - 1)]
        return next((zones[name] for name in above if name in zones), None)


class NotebookImage(Check):
    """The notebook image can be pulled: it is in our ECR, or a registry serves its manifest."""

    name = "hub.image"
    title = "Notebook images can be pulled"
    stage: ClassVar[Stage] = Stage.ALWAYS

    def find(self) -> Iterable[Finding]:
        hub = self.ctx.config.hub
        images = {hub.image, *(p.image for p in hub.profiles if p.image)}
        for image in sorted(images):
            problem = self._problem(image)
            if problem:
                yield self.error(
                    f"image {image}: {problem}", hint="check hub.image; workers will pull it"
                )

    def _problem(self, image: str) -> str:
        registry, repository, reference = split(image)
        if re.fullmatch(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com", registry):
            return self._ecr(repository, reference)
        scheme = "http" if re.match(r"(localhost|127\.)", registry) else "https"
        url = f"{scheme}://{registry}/v2/{repository}/manifests/{reference}"
        try:
            answer = requests.head(url, headers={"Accept": MANIFESTS}, timeout=TIMEOUT)
            if answer.status_code == 401:
                token = _token(answer.headers.get("WWW-Authenticate", ""), repository)
                answer = requests.head(
                    url,
                    headers={"Accept": MANIFESTS, "Authorization": f"Bearer {token}"},
                    timeout=TIMEOUT,
                )
        except requests.RequestException as error:
            return f"{registry} does not answer ({type(error).__name__})"
        if answer.status_code == 404:
            return "there is no such image"
        return "" if answer.ok else f"{registry} answers {answer.status_code}"

    def _ecr(self, repository: str, reference: str) -> str:
        key = "imageDigest" if reference.startswith("sha256:") else "imageTag"
        try:
            self.ctx.aws.call(
                "ecr", "describe_images", repositoryName=repository, imageIds=[{key: reference}]
            )
        except AwsError as error:
            if error.code in ("ImageNotFoundException", "RepositoryNotFoundException"):
                return "it is not in the repository; push it there"
            raise
        return ""


def split(image: str) -> tuple[str, str, str]:
    """Registry host, repository and tag or digest of an image's name, as Docker reads it."""
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        # Docker's short names mean its own hub, whose official images are below library/
        registry, path = "registry-1.docker.io", name if slash else f"library/{name}"
    repository, colon, tag = path.rpartition(":")
    if not colon:
        repository, tag = path, "latest"
    return registry, repository, digest or tag


def _token(challenge: str, repository: str) -> str:
    """An anonymous pull token from the registry's own challenge."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if "realm" not in fields:
        return ""
    answer = requests.get(
        fields["realm"],
        params={
            "service": fields.get("service", ""),
            "scope": fields.get("scope", f"repository:{repository}:pull"),
        },
        timeout=TIMEOUT,
    )
    body = answer.json() if answer.ok else {}
    return str(body.get("token") or body.get("access_token") or "")


CHECKS: tuple[type[Check], ...] = (Domain, NotebookImage)
