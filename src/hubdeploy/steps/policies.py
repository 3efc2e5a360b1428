"""What each kind of machine may do in AWS: pure data, as little as the machine uses.

Whose parameters, objects and log groups is said by ARN, whose instances and Cloud Map services by
the deployment's tag. Nothing may be listed or read across deployments except where AWS knows no
resource for an action (``Describe…`` of EC2, ``List…`` of Cloud Map).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Key, Names, Role
from hubdeploy.steps.base import partition

Statement = dict[str, Any]

_PRESENT = {"Null": {"route53:ChangeResourceRecordSetsNormalizedRecordNames": "false"}}
"""``ForAllValues`` is also true of a key that is not there."""


def trust() -> dict[str, Any]:
    """Who may take the roles: EC2 instances."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }


def policy(
    role: Role,
    names: Names,
    *,
    bucket: str,
    state_volume: str = "",
    zone: str = "",
    file_system: str = "",
) -> dict[str, Any]:
    """The policy document of a role.

    ``state_volume`` (``vol-…``), ``zone`` (hosted zone id of the operator's domain, or empty) and
    ``file_system`` (``fs-…``) narrow what the leader may touch; empty ones give no right at all.
    """
    made = _Maker(names=names, bucket=bucket)
    statements = made.common(role)
    if role is Role.CHEF:
        statements += made.chef_server()
    elif role is Role.WORKSTATION:
        statements += made.workstation()
    elif role is Role.LEADER:
        statements += made.leader(state_volume=state_volume, zone=zone)
        statements += made.fleet(file_system=file_system)
    else:
        statements += made.worker()
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    condition: dict[str, Any] | None = None,
) -> Statement:
    """Lists of one stay lists and all is sorted: what AWS gives back compares equal."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": sorted(resources),
    }
    if condition:
        statement["Condition"] = condition
    return statement


class _Maker:
    """Statements of one deployment."""

    def __init__(self, *, names: Names, bucket: str) -> None:
        self._names = names
        self._parameters = names.parameters
        self._partition = partition(names.region)
        self._bucket = f"arn:{self._partition}:s3:::{bucket}"

    def _arn(self, service: str, rest: str) -> str:
        names = self._names
        return f"arn:{self._partition}:{service}:{names.region}:{names.account}:{rest}"

    def _ssm(self, *parameters: str) -> list[str]:
        return [self._arn("ssm", f"parameter{name}") for name in parameters]

    def _read(self, sid: str, *parameters: str) -> Statement:
        return _allow(sid, ["ssm:GetParameter"], self._ssm(*parameters))

    def _write(self, sid: str, *parameters: str) -> Statement:
        return _allow(sid, ["ssm:GetParameter", "ssm:PutParameter"], self._ssm(*parameters))

    def _objects(self, sid: str, actions: Sequence[str], *prefixes: str) -> Statement:
        resources = [f"{self._bucket}/{prefix}/*" for prefix in prefixes]
        return _allow(sid, [f"s3:{action}" for action in actions], resources)

    def _listing(self, *prefixes: str) -> Statement:
        return _allow(
            "ListOwnObjects",
            ["s3:ListBucket"],
            [self._bucket],
            {"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}},
        )

    def _ours(self, service: str, **more: str) -> dict[str, Any]:
        """Condition: tagged as this deployment's."""
        tags = {f"{service}:ResourceTag/{TAG_DEPLOYMENT}": self._names.deployment, **more}
        return {"StringEquals": tags}

    # ------------------------------------------------------------------------ all roles

    def common(self, role: Role) -> list[Statement]:
        parameters = self._parameters
        return [
            self._read("ReadRelease", parameters.release),
            self._write(
                "TellPhase", f"{parameters.phase(role, '*')}", parameters.ssh_host_key("*")
            ),
            self._objects("ReadArtifacts", ["GetObject"], "artifacts"),
            self._objects("WriteCommandOutput", ["PutObject"], Key.COMMANDS),
            _allow(
                "ShipLogs",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [self._arn("logs", f"log-group:{self._names.log_group('*')}")],
            ),
            # what the SSM agent asks for; these actions know no resource
            _allow(
                "RunCommand",
                [
                    "ec2messages:AcknowledgeMessage",
                    "ec2messages:DeleteMessage",
                    "ec2messages:FailMessage",
                    "ec2messages:GetEndpoint",
                    "ec2messages:GetMessages",
                    "ec2messages:SendReply",
                    "ssm:ListAssociations",
                    "ssm:ListInstanceAssociations",
                    "ssm:UpdateInstanceInformation",
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                ["*"],
            ),
        ]

    def _address(self, host: str) -> list[Statement]:
        """Register a name in Cloud Map, which writes the DNS record with the caller's rights.

        It looks for the namespace's zone with them, too. Its own policy for registrants has rights
        on health checks besides, which are of no use here: the services have none.
        """
        return [
            _allow(
                "FindName",
                [
                    "route53:GetHostedZone",
                    "route53:ListHostedZonesByName",
                    "servicediscovery:GetOperation",
                    "servicediscovery:ListNamespaces",
                    "servicediscovery:ListServices",
                ],
                ["*"],
            ),
            _allow(
                "RegisterAddress",
                [
                    "servicediscovery:DeregisterInstance",
                    "servicediscovery:ListInstances",
                    "servicediscovery:RegisterInstance",
                ],
                [self._arn("servicediscovery", "service/*")],
                self._ours("aws"),
            ),
            _allow(
                "WriteOwnRecord",
                ["route53:ChangeResourceRecordSets"],
                [f"arn:{self._partition}:route53:::hostedzone/*"],
                {
                    "ForAllValues:StringEquals": {
                        "route53:ChangeResourceRecordSetsNormalizedRecordNames": [host]
                    },
                    **_PRESENT,
                },
            ),
        ]

    def _pull(self) -> list[Statement]:
        """Images from the deployment's repository."""
        return [
            _allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
            _allow(
                "PullImage",
                [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ],
                [self._arn("ecr", f"repository/{self._names.repository}")],
            ),
        ]

    # ------------------------------------------------------------------------ one by one

    def chef_server(self) -> list[Statement]:
        parameters = self._parameters
        return [
            self._write(
                "PublishChefServer",
                parameters.chef_state,
                parameters.chef_certificate,
                parameters.chef_validator,
                parameters.chef_admin,
            ),
            self._objects(
                "KeepPackagesAndBackups", ["GetObject", "PutObject"], Key.PACKAGES, Key.CHEF_BACKUP
            ),
            self._listing(Key.PACKAGES, Key.CHEF_BACKUP),
            *self._address(self._names.chef_host),
        ]

    def workstation(self) -> list[Statement]:
        parameters = self._parameters
        return [
            self._read(
                "ReachChefServer",
                parameters.chef_state,
                parameters.chef_certificate,
                parameters.chef_admin,
            ),
            self._write("TellPublished", parameters.workstation_state),
            self._objects("KeepPackages", ["GetObject", "PutObject"], Key.PACKAGES),
            self._listing(Key.PACKAGES),
            # which nodes' machines are gone
            _allow("SeeInstances", ["ec2:DescribeInstances"], ["*"]),
        ]

    def _node(self) -> Statement:
        parameters = self._parameters
        return self._read(
            "BecomeChefNode",
            parameters.chef_state,
            parameters.chef_certificate,
            parameters.chef_validator,
            parameters.workstation_state,
        )

    def worker(self) -> list[Statement]:
        parameters = self._parameters
        return [
            self._node(),
            self._read("JoinSwarm", parameters.swarm_state, parameters.swarm_token),
            self._objects("ReadPackages", ["GetObject"], Key.PACKAGES),
            self._listing(Key.PACKAGES),
            *self._pull(),
        ]

    def leader(self, *, state_volume: str, zone: str) -> list[Statement]:
        parameters = self._parameters
        secrets = parameters.hub_secret("x").rsplit("/", 1)[0]
        statements = [
            self._node(),
            self._write(
                "PublishSwarmAndHub",
                parameters.swarm_state,
                parameters.swarm_token,
                parameters.hub_state,
            ),
            _allow(
                "ReadHubSecrets",
                ["ssm:GetParameter", "ssm:GetParametersByPath"],
                # by path AWS asks for the path itself
                self._ssm(secrets, parameters.hub_secret("*"), parameters.tls_secret("*")),
            ),
            _allow(
                "MakeHubSecrets",
                ["ssm:PutParameter"],
                self._ssm(
                    parameters.hub_secret("admin-password"), parameters.hub_secret("doctor-token")
                ),
            ),
            self._objects(
                "KeepCertificateAndBackups", ["GetObject", "PutObject"], Key.TLS, Key.HUB_BACKUP
            ),
            self._objects("ReadPackages", ["GetObject"], Key.PACKAGES),
            self._listing(Key.PACKAGES, Key.TLS, Key.HUB_BACKUP),
            *self._address(self._names.leader_host),
            *self._pull(),
        ]
        if state_volume:
            statements += [
                _allow("SeeVolume", ["ec2:DescribeVolumes"], ["*"]),
                _allow(
                    "AttachOwnVolume",
                    ["ec2:AttachVolume"],
                    [self._arn("ec2", f"volume/{state_volume}")],
                ),
                _allow(
                    "AttachToLeader",
                    ["ec2:AttachVolume"],
                    [self._arn("ec2", "instance/*")],
                    self._ours("ec2", **{f"ec2:ResourceTag/{TAG_ROLE}": Role.LEADER.value}),
                ),
            ]
        if zone:
            statements += [
                _allow("FindZone", ["route53:GetChange", "route53:ListHostedZones"], ["*"]),
                _allow(
                    "AnswerCertificateChallenge",
                    ["route53:ChangeResourceRecordSets"],
                    [f"arn:{self._partition}:route53:::hostedzone/{zone}"],
                    {
                        "ForAllValues:StringLike": {
                            "route53:ChangeResourceRecordSetsNormalizedRecordNames": [
                                "_acme-challenge.*"
                            ]
                        },
                        "ForAllValues:StringEquals": {
                            "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"]
                        },
                        **_PRESENT,
                    },
                ),
            ]
        return statements

    def fleet(self, *, file_system: str) -> list[Statement]:
        """The fleet service on the leader: the group's size, its instances, their phases."""
        parameters = self._parameters
        group = f"autoScalingGroup:*:autoScalingGroupName/{self._names.workers_group('*')}"
        workers = parameters.phase(Role.WORKER, "*")
        statements = [
            _allow(
                "SeeFleet",
                [
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeScalingActivities",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeInstances",
                    "ec2:DescribeSpotInstanceRequests",
                ],
                ["*"],
            ),
            _allow(
                "SizeFleet",
                [
                    "autoscaling:SetDesiredCapacity",
                    "autoscaling:SetInstanceProtection",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                    "autoscaling:UpdateAutoScalingGroup",
                ],
                [self._arn("autoscaling", group)],
            ),
            _allow(
                "KeepConsole",
                ["ec2:GetConsoleOutput"],
                [self._arn("ec2", "instance/*")],
                self._ours("ec2", **{f"ec2:ResourceTag/{TAG_ROLE}": Role.WORKER.value}),
            ),
            _allow(
                "WatchWorkers",
                ["ssm:DeleteParameters", "ssm:GetParameters"],
                self._ssm(workers),
            ),
            _allow(
                "ForgetWorkers",
                ["ssm:DeleteParameters"],
                self._ssm(parameters.ssh_host_key("*")),
            ),
            _allow(
                "ChangeLimits",
                ["ssm:GetParameters", "ssm:PutParameter"],
                self._ssm(parameters.limits),
            ),
            _allow(
                "SendMetrics",
                ["cloudwatch:PutMetricData"],
                ["*"],
                {"StringEquals": {"cloudwatch:namespace": "hubdeploy"}},
            ),
        ]
        if file_system:
            statements.append(
                _allow(
                    "MeasureDisk",
                    ["elasticfilesystem:DescribeFileSystems"],
                    [self._arn("elasticfilesystem", f"file-system/{file_system}")],
                )
            )
        return statements
