"""How strict, how slow and how forgetful the embedded AWS is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class CloudSettings:
    """Times in seconds. The defaults are those of the tests: strict and fast."""

    strict: bool = True
    """Refuse what AWS refuses and moto does not."""
    profile_delay: float = 0.0
    """A new instance profile is unknown to EC2 for this long."""
    missing_reads: int = 0
    """A just-created thing is missing from this many describe calls that name it."""
    page_size: int = 0
    """Things per page of paginated answers; 0: as AWS has it (up to 1000)."""
    nat_delay: float = 0.05
    """A NAT gateway stays 'pending' and 'deleting' for this long."""
    efs_delay: float = 0.0
    """File systems and mount targets stay 'creating' for this long."""
    group_delete_delay: float = 0.0
    """An Auto Scaling group without members stays 'being deleted' for this long."""
    launch_retry: float = 0.3
    """A group tries a failed launch again after this long."""
    capacity_errors: dict[str, str] = field(default_factory=dict)
    """Instance type or zone (or ``*``) -> error code for launches, such as
    ``InsufficientInstanceCapacity``; heeded by RunInstances and by Auto Scaling."""
    impaired: set[str] = field(default_factory=set)
    """Instances whose status checks fail."""
    announced: dict[str, str] = field(default_factory=dict)
    """Instance -> code of an event that AWS has announced for it (``instance-retirement``)."""
    command_output_limit: int = 24000
    """Characters of standard output that GetCommandInvocation returns, as on AWS."""
    quotas: dict[str, float] = field(default_factory=dict)
    """Quota code -> value, instead of AWS's defaults."""
    clock: float = 0.0
    """The clock of the embedded AWS is so far ahead of this machine's."""
    unlimited_rights: bool = False
    """Do not hold roles against their policies (for tests of other things)."""
