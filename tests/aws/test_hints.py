"""Every code that AWS is known to refuse with is followed by what to do about it."""

from __future__ import annotations

import pytest

from hubdeploy.aws.hints import hint_for


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("InvalidToken", "does not know this key"),
        ("InvalidAccessKeyId", "does not know this key"),
        ("InvalidClientTokenId", "does not know this key"),
        ("TokenRefreshRequired", "renew"),
        ("ExpiredTokenException", "renew"),
        ("MissingAuthenticationToken", "incomplete"),
        ("IncompleteSignature", "incomplete"),
        ("InvalidSignatureException", "secret key"),
        ("SignatureDoesNotMatch", "secret key"),
        ("RequestTimeTooSkewed", "clock"),
        ("OptInRequired", "enable the region"),
        ("PendingVerification", "checks this account"),
        ("VcpuLimitExceeded", "vCPUs"),
        ("AddressLimitExceeded", "Service Quotas"),
        ("RulesPerSecurityGroupLimitExceeded", "Service Quotas"),
        ("ParameterLimitExceeded", "Service Quotas"),
        ("LimitExceededException", "Service Quotas"),
        ("RequestLimitExceeded", "throttling"),
        ("InternalError", "run again in a minute"),
        ("ServiceUnavailable", "run again in a minute"),
        ("InsufficientInstanceCapacity", "run again later"),
        ("Unsupported", "that the region has"),
        ("UnsupportedAvailabilityZone", "network.zones"),
        ("InvalidSubnet.Conflict", "network.cidr"),
        ("InvalidAMIID.NotFound", "[images]"),
        ("BucketAlreadyExists", "another `name`"),
        ("NoSuchHostedZone", "public hosted zone"),
    ],
)
def test_a_code_has_its_hint(code: str, hint: str) -> None:
    assert hint in hint_for(code)


@pytest.mark.parametrize("message", ["Signature expired: 1 is now earlier", "not yet current"])
def test_a_signature_that_is_too_old_or_too_young_is_the_clocks_fault(message: str) -> None:
    assert "clock is wrong" in hint_for("SignatureDoesNotMatch", "get_caller_identity", message)


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        ("run_instances", "[leader]"),
        ("create_subnet", "network.zones"),
        ("authorize_security_group_ingress", "access.web_cidrs"),
        ("create_auto_scaling_group", "[workers]"),
        ("create_file_system", "[storage]"),
        ("change_resource_record_sets", "domain"),
        ("create_role", "permissions_boundary"),
    ],
)
def test_a_wrong_value_is_looked_for_where_the_operation_takes_it_from(
    operation: str, hint: str
) -> None:
    assert hint in hint_for("InvalidParameterValue", operation)
    assert "hubdeploy.toml" in hint_for("ValidationError", operation)


def test_what_nobody_knows_has_no_hint_that_could_mislead() -> None:
    assert hint_for("SomethingNew", "describe_vpcs") == ""
