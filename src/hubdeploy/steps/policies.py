"""What each kind of machine may do in AWS: pure data, as little as the machine uses.

Whose parameters, objects and log groups is said by ARN, whose instances and Cloud Map services by
the deployment's tag. Nothing may be listed or read across deployments except where AWS knows no
resource for an action (``Describe…`` of EC2, ``List…`` of Cloud Map).
"""

from __future__ import annotations

from typing import Any

from hubdeploy.config.names import TAG_ROLE, Key, Names, Role
from hubdeploy.steps.scope import Scope, Statement, allow

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


class _Maker(Scope):
    """The statements of each kind of machine."""

    # ------------------------------------------------------------------------ all roles

    def common(self, role: Role) -> list[Statement]:
        parameters = self.parameters
        return [
            self.read("ReadRelease", parameters.release),
            self.write("TellPhase", f"{parameters.phase(role, '*')}", parameters.ssh_host_key("*")),
            self.objects("ReadArtifacts", ["GetObject"], "artifacts"),
            self.objects("WriteCommandOutput", ["PutObject"], Key.COMMANDS),
            allow(
                "ShipLogs",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [self.arn("logs", f"log-group:{self.names.log_group('*')}")],
            ),
            # what the SSM agent asks for; these actions know no resource
            allow(
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
            allow(
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
            allow(
                "RegisterAddress",
                [
                    "servicediscovery:DeregisterInstance",
                    "servicediscovery:ListInstances",
                    "servicediscovery:RegisterInstance",
                ],
                [self.arn("servicediscovery", "service/*")],
                self.ours("aws"),
            ),
            allow(
                "WriteOwnRecord",
                ["route53:ChangeResourceRecordSets"],
                [f"arn:{self.partition}:route53:::hostedzone/*"],
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
            allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
            allow(
                "PullImage",
                [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ],
                [self.arn("ecr", f"repository/{self.names.repository}")],
            ),
        ]

    # ------------------------------------------------------------------------ one by one

    def chef_server(self) -> list[Statement]:
        parameters = self.parameters
        return [
            self.write(
                "PublishChefServer",
                parameters.chef_state,
                parameters.chef_certificate,
                parameters.chef_validator,
                parameters.chef_admin,
            ),
            self.objects(
                "KeepPackagesAndBackups", ["GetObject", "PutObject"], Key.PACKAGES, Key.CHEF_BACKUP
            ),
            self.listing(Key.PACKAGES, Key.CHEF_BACKUP),
            *self._address(self.names.chef_host),
        ]

    def workstation(self) -> list[Statement]:
        parameters = self.parameters
        return [
            self.read(
                "ReachChefServer",
                parameters.chef_state,
                parameters.chef_certificate,
                parameters.chef_admin,
            ),
            self.write("TellPublished", parameters.workstation_state),
            self.objects("KeepPackages", ["GetObject", "PutObject"], Key.PACKAGES),
            self.listing(Key.PACKAGES),
            # which nodes' machines are gone
            allow("SeeInstances", ["ec2:DescribeInstances"], ["*"]),
        ]

    def _node(self) -> Statement:
        parameters = self.parameters
        return self.read(
            "BecomeChefNode",
            parameters.chef_state,
            parameters.chef_certificate,
            parameters.chef_validator,
            parameters.workstation_state,
        )

    def worker(self) -> list[Statement]:
        parameters = self.parameters
        return [
            self._node(),
            self.read("JoinSwarm", parameters.swarm_state, parameters.swarm_token),
            self.objects("ReadPackages", ["GetObject"], Key.PACKAGES),
            self.listing(Key.PACKAGES),
            *self._pull(),
        ]

    def leader(self, *, state_volume: str, zone: str) -> list[Statement]:
        parameters = self.parameters
        secrets = parameters.hub_secret("x").rsplit("/", 1)[0]
        statements = [
            self._node(),
            self.write(
                "PublishSwarmAndHub",
                parameters.swarm_state,
                parameters.swarm_token,
                parameters.hub_state,
            ),
            allow(
                "ReadHubSecrets",
                ["ssm:GetParameter", "ssm:GetParametersByPath"],
                # by path AWS asks for the path itself
                self.ssm(secrets, parameters.hub_secret("*"), parameters.tls_secret("*")),
            ),
            allow(
                "MakeHubSecrets",
                ["ssm:PutParameter"],
                self.ssm(
                    parameters.hub_secret("admin-password"), parameters.hub_secret("doctor-token")
                ),
            ),
            self.objects(
                "KeepCertificateAndBackups", ["GetObject", "PutObject"], Key.TLS, Key.HUB_BACKUP
            ),
            self.objects("ReadPackages", ["GetObject"], Key.PACKAGES),
            self.listing(Key.PACKAGES, Key.TLS, Key.HUB_BACKUP),
            *self._address(self.names.leader_host),
            *self._pull(),
        ]
        if state_volume:
            statements += [
                allow("SeeVolume", ["ec2:DescribeVolumes"], ["*"]),
                allow(
                    "AttachOwnVolume",
                    ["ec2:AttachVolume"],
                    [self.arn("ec2", f"volume/{state_volume}")],
                ),
                allow(
                    "AttachToLeader",
                    ["ec2:AttachVolume"],
                    [self.arn("ec2", "instance/*")],
                    self.ours("ec2", **{f"ec2:ResourceTag/{TAG_ROLE}": Role.LEADER.value}),
                ),
            ]
        if zone:
            statements += [
                allow("FindZone", ["route53:GetChange", "route53:ListHostedZones"], ["*"]),
                allow(
                    "AnswerCertificateChallenge",
                    ["route53:ChangeResourceRecordSets"],
                    [f"arn:{self.partition}:route53:::hostedzone/{zone}"],
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
        parameters = self.parameters
        group = f"autoScalingGroup:*:autoScalingGroupName/{self.names.workers_group('*')}"
        workers = parameters.phase(Role.WORKER, "*")
        statements = [
            allow(
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
            allow(
                "SizeFleet",
                [
                    "autoscaling:SetDesiredCapacity",
                    "autoscaling:SetInstanceProtection",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                    "autoscaling:UpdateAutoScalingGroup",
                ],
                [self.arn("autoscaling", group)],
            ),
            allow(
                "KeepConsole",
                ["ec2:GetConsoleOutput"],
                [self.arn("ec2", "instance/*")],
                self.ours("ec2", **{f"ec2:ResourceTag/{TAG_ROLE}": Role.WORKER.value}),
            ),
            allow(
                "WatchWorkers",
                ["ssm:DeleteParameters", "ssm:GetParameters"],
                self.ssm(workers),
            ),
            allow(
                "ForgetWorkers",
                ["ssm:DeleteParameters"],
                self.ssm(parameters.ssh_host_key("*")),
            ),
            allow(
                "ChangeLimits",
                ["ssm:GetParameters", "ssm:PutParameter"],
                self.ssm(parameters.limits),
            ),
            allow(
                "SendMetrics",
                ["cloudwatch:PutMetricData"],
                ["*"],
                {"StringEquals": {"cloudwatch:namespace": "hubdeploy"}},
            ),
        ]
        if file_system:
            statements.append(
                allow(
                    "MeasureDisk",
                    ["elasticfilesystem:DescribeFileSystems"],
                    [self.arn("elasticfilesystem", f"file-system/{file_system}")],
                )
            )
        return statements
