"""AWS's error codes: what they mean to us, and the one line and hint that people get.

Codes are listed exactly; nothing is retried or ignored by a look at the message, except where AWS
gives two causes the same code (said there).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hubdeploy.errors import AwsError

THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "PriorRequestNotComplete",
        "RequestThrottled",
    }
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

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
INVALID_CREDENTIALS = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "SignatureDoesNotMatch"}
)

QUOTA = frozenset(
    {
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "AddressLimitExceeded",
        "VpcLimitExceeded",
        "InternetGatewayLimitExceeded",
        "NatGatewayLimitExceeded",
        "SecurityGroupLimitExceeded",
        "VolumeLimitExceeded",
        "FileSystemLimitExceeded",
        "LimitExceeded",
        "LimitExceededException",
        "LimitExceededFault",
        "ResourceLimitExceeded",
        "TooManyBuckets",
        "MaxSpotInstanceCountExceeded",
    }
)

CAPACITY = frozenset({"InsufficientInstanceCapacity", "Unsupported", "UnsupportedOperation"})

_HINTS: tuple[tuple[frozenset[str], str], ...] = (
    (EXPIRED, "the credentials have expired: renew them (for SSO: aws sso login) and run again"),
    (INVALID_CREDENTIALS, "check the credentials: aws sts get-caller-identity must work"),
    (DENIED, "`hubdeploy policy` prints the permissions that the operator needs"),
    (QUOTA, "ask for a higher quota in Service Quotas, or use less; `hubdeploy doctor` lists both"),
    (CAPACITY, "choose another instance type or other zones in hubdeploy.toml and run again"),
    (THROTTLED, "AWS is throttling this account; run again in a minute"),
)


def hint_for(code: str) -> str:
    """What to do about an AWS error code, or an empty string."""
    return next((hint for codes, hint in _HINTS if code in codes), "")


@contextmanager
def translated(service: str, operation: str) -> Iterator[None]:
    """Turn botocore's exceptions into :class:`AwsError` with AWS's code, one line and a hint."""
    import botocore.exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        details = error.response.get("Error", {})
        code = str(details.get("Code", ""))
        text = " ".join(str(details.get("Message", "")).split())
        raise AwsError(
            f"{service} {operation}: {text or code} ({code})",
            hint=hint_for(code),
            code=code,
            operation=operation,
        ) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise AwsError(
            "no AWS credentials found",
            hint="set AWS_PROFILE or run `aws configure`, or rehearse without any: --sandbox",
            code="NoCredentials",
            operation=operation,
        ) from error
    except boto.ProfileNotFound as error:
        raise AwsError(str(error), hint="list them: aws configure list-profiles") from error
    except (
        boto.TokenRetrievalError,
        boto.SSOTokenLoadError,
        boto.UnauthorizedSSOTokenError,
    ) as error:
        raise AwsError(
            "the AWS SSO session has expired", hint="aws sso login, then run again"
        ) from error
    except boto.EndpointConnectionError as error:
        raise AwsError(
            f"cannot reach AWS for {service} {operation}: {error}",
            hint="check the region's name and the network",
            code="EndpointConnection",
            operation=operation,
        ) from error
    except boto.BotoCoreError as error:
        raise AwsError(f"{service} {operation}: {error}", operation=operation) from error
