"""Service Quotas of EC2, VPC and EFS. moto knows only VPC's, and no applied values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks
from hubdeploy.sandbox.cloud.strict.instances import VCPUS, VCPUS_DEFAULT

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_QUOTAS = {
    "ec2": {
        VCPUS: ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", VCPUS_DEFAULT),
        "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 256),
        "L-DB2E81BA": ("Running On-Demand G and VT instances", 64),
        "L-3819A6DF": ("All G and VT Spot Instance Requests", 64),
        "L-417A185B": ("Running On-Demand P instances", 64),
        "L-7212CCBC": ("All P4, P3 and P2 Spot Instance Requests", 64),
        "L-7295265B": ("Running On-Demand X instances", 128),
        "L-E3A00192": ("All X Spot Instance Requests", 128),
        "L-1945791B": ("Running On-Demand Inf instances", 64),
        "L-B5D1601B": ("All Inf Spot Instance Requests", 64),
        "L-74FC7D96": ("Running On-Demand F instances", 64),
        "L-88CF9481": ("All F Spot Instance Requests", 64),
        "L-2C3B7624": ("Running On-Demand Trn instances", 64),
        "L-6B0D517C": ("All Trn Spot Instance Requests", 64),
        "L-6E869C2A": ("Running On-Demand DL instances", 96),
        "L-85EED4F7": ("All DL Spot Instance Requests", 96),
        "L-F7808C92": ("Running On-Demand HPC instances", 192),
        "L-43DA4232": ("Running On-Demand High Memory instances", 448),
        "L-0263D0A3": ("EC2-VPC Elastic IPs", 5),
    },
    "vpc": {
        "L-F678F1CE": ("VPCs per Region", 5),
        "L-A4707A72": ("Internet gateways per Region", 5),
        "L-FE5A380F": ("NAT gateways per Availability Zone", 5),
        "L-407747CB": ("Subnets per VPC", 200),
        "L-0EA8095F": ("Inbound or outbound rules per security group", 60),
    },
    "elasticfilesystem": {"L-848C634D": ("File systems per account", 1000)},
    "autoscaling": {"L-CDE20ADC": ("Auto Scaling groups per region", 500)},
}


def _quota(cloud: Cloud, call: Call, service: str, code: str, *, applied: bool) -> dict[str, Any]:
    try:
        name, value = _QUOTAS[service][code]
    except KeyError:
        raise AwsFault(
            "NoSuchResourceException", "The request failed because the specified quota is missing."
        ) from None
    arn = f"arn:aws:servicequotas:{call.region}:{call.account}:{service}/{code}"
    return {
        "ServiceCode": service,
        "ServiceName": service,
        "QuotaArn": arn,
        "QuotaCode": code,
        "QuotaName": name,
        "Value": float(cloud.settings.quotas.get(code, value) if applied else value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


@hooks.take("service-quotas", "GetServiceQuota", "GetAWSDefaultServiceQuota")
def get(cloud: Cloud, call: Call) -> dict[str, Any]:
    service, code = call.params["ServiceCode"], call.params["QuotaCode"]
    applied = call.operation == "GetServiceQuota"
    return {"Quota": _quota(cloud, call, service, code, applied=applied)}


@hooks.take("service-quotas", "ListServiceQuotas")
def listed(cloud: Cloud, call: Call) -> dict[str, Any]:
    service = call.params["ServiceCode"]
    codes = _QUOTAS.get(service)
    if codes is None:
        raise AwsFault("NoSuchResourceException", f"The service {service} is not known.")
    return {"Quotas": [_quota(cloud, call, service, code, applied=True) for code in codes]}
