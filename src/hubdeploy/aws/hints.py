"""What to do about each of AWS's error codes.

Codes are listed exactly; only quotas, of which every service has names of its own, are also known
by their ending. Where one code has several causes, the operation that was refused tells what in
``hubdeploy.toml`` is meant.
"""

from __future__ import annotations

THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "PriorRequestNotComplete",
        "RequestThrottled",
    }
)

NO_TIME = frozenset({"ServiceUnavailable", "ServiceUnavailableException", "Unavailable"})
BROKEN = frozenset(
    {"InternalError", "InternalFailure", "InternalServerError", "InternalServiceError"}
)

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "AuthorizationError",
        "Client.UnauthorizedOperation",
    }
)

EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
UNKNOWN_KEY = frozenset(
    {
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "UnrecognizedClientException",
        "AuthFailure",
        "InvalidToken",
    }
)
UNSIGNED = frozenset(
    {
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
    }
)
BAD_SIGNATURE = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})
CLOCK = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})

NOT_OPTED_IN = frozenset({"OptInRequired", "SubscriptionRequiredException", "NotSignedUp"})
NOT_VERIFIED = frozenset({"PendingVerification", "Blocked", "AccountProblem"})

QUOTA = frozenset(
    {
        "LimitExceeded",
        "LimitExceededException",
        "LimitExceededFault",
        "TooManyBuckets",
        "TooManyHostedZones",
        "MaxSpotInstanceCountExceeded",
    }
)
_QUOTA_ENDINGS = ("LimitExceeded", "LimitExceededException", "LimitExceededFault")
VCPUS = frozenset({"VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"})

CAPACITY = frozenset(
    {"InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity"}
)
NOT_HERE = frozenset({"Unsupported", "UnsupportedOperation", "InvalidInstanceType"})
ZONES = frozenset(
    {
        "UnsupportedAvailabilityZone",
        "AvailabilityZonesMismatch",
        "InvalidAvailabilityZone",
        "VolumeTypeNotAvailableInZone",
        "InsufficientVolumeCapacity",
    }
)
RANGES = frozenset(
    {
        "InvalidVpcRange",
        "InvalidVpc.Range",
        "InvalidSubnet.Range",
        "InvalidSubnet.Conflict",
        "CidrConflict",
        "InsufficientFreeAddressesInSubnet",
        "NoFreeAddressesInSubnet",
    }
)
IMAGES = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"})
TAKEN = frozenset(
    {
        "BucketAlreadyExists",
        "EntityAlreadyExists",
        "AlreadyExists",
        "InvalidGroup.Duplicate",
        "InvalidLaunchTemplateName.AlreadyExistsException",
        "InvalidKeyPair.Duplicate",
        "RepositoryAlreadyExistsException",
        "ResourceAlreadyExistsException",
        "NamespaceAlreadyExists",
        "ConflictingDomainExists",
    }
)
DOMAIN = frozenset({"NoSuchHostedZone", "InvalidDomainName", "InvalidChangeBatch"})
WRONG_VALUE = frozenset(
    {
        "InvalidParameterValue",
        "InvalidParameterCombination",
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidBlockDeviceMapping",
        "ValidationError",
        "ValidationException",
        "BadRequest",
        "InvalidInput",
    }
)

_HINTS: tuple[tuple[frozenset[str], str], ...] = (
    (EXPIRED, "the credentials have expired: renew them (for SSO: aws sso login) and run again"),
    (UNKNOWN_KEY, "AWS does not know this key: `aws sts get-caller-identity` has to work first"),
    (UNSIGNED, "the credentials are incomplete: check AWS_ACCESS_KEY_ID and its secret"),
    (CLOCK, "this machine's clock is wrong: set it (timedatectl) and run again"),
    (BAD_SIGNATURE, "the secret key does not belong to the key id: check both, and the clock"),
    (DENIED, "`hubdeploy policy` prints the permissions that the operator needs"),
    (NOT_OPTED_IN, "enable the region and the service for this account in AWS's console"),
    (NOT_VERIFIED, "AWS still checks this account: see the mail from AWS, or ask its support"),
    (
        VCPUS,
        "ask for more vCPUs in Service Quotas (EC2), or choose smaller types or fewer workers",
    ),
    (QUOTA, "ask for a higher quota in Service Quotas, or use less; `hubdeploy doctor` lists both"),
    (
        CAPACITY,
        "AWS has none left there: run again later, or choose other instance types or zones",
    ),
    (NOT_HERE, "choose an instance type or zones that the region has, in hubdeploy.toml"),
    (ZONES, "choose other zones: network.zones in hubdeploy.toml"),
    (RANGES, "choose a larger or another network.cidr in hubdeploy.toml"),
    (IMAGES, "no such image in this region: check the table [images] in hubdeploy.toml"),
    (TAKEN, "the name is taken: choose another `name` in hubdeploy.toml"),
    (DOMAIN, "`domain` in hubdeploy.toml has to have a public hosted zone in this account"),
    (THROTTLED, "AWS is throttling this account; run again in a minute"),
    (NO_TIME | BROKEN, "a fault of AWS's: run again in a minute, it goes on from where things are"),
)
_WRONG_VALUE_BY_OPERATION: tuple[tuple[str, str], ...] = (
    ("run_instances", "an instance's type, image, disk or key: [chef], [leader], [access]"),
    ("create_launch_template", "the workers' image, disk or key: [workers], [images], [access]"),
    ("create_auto_scaling_group", "the workers' instance types and numbers: [workers]"),
    ("update_auto_scaling_group", "the workers' instance types and numbers: [workers]"),
    ("create_subnet", "network.zones and network.cidr"),
    ("create_vpc", "network.cidr"),
    ("authorize_security_group", "access.web_cidrs and access.operator_cidrs"),
    ("volume", "leader.state_disk and network.zones"),
    ("file_system", "the table [storage]"),
    ("lifecycle_configuration", "the table [storage]"),
    ("import_key_pair", "access.ssh_key"),
    ("change_resource_record_sets", "domain"),
    ("role", "permissions_boundary and tags"),
    ("tag", "tags"),
)


def hint_for(code: str, operation: str = "", message: str = "") -> str:
    """What to do about an AWS error code, or an empty string. ``operation`` as ``create_vpc``.

    The message tells apart what AWS gives the same code: a signature that is wrong from one that
    is too old.
    """
    if code in BAD_SIGNATURE and ("expired" in message or "not yet current" in message):
        code = "RequestTimeTooSkewed"
    if code in WRONG_VALUE:
        where = next((hint for part, hint in _WRONG_VALUE_BY_OPERATION if part in operation), "")
        return f"look at {where} in hubdeploy.toml" if where else "--debug shows the whole call"
    if code.endswith(_QUOTA_ENDINGS) and code not in THROTTLED | VCPUS:
        code = "LimitExceeded"
    return next((hint for codes, hint in _HINTS if code in codes), "")
