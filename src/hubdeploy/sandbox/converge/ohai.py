"""A machine's automatic attributes, by the names that Chef's Ohai gives them."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_METADATA_SECONDS = 1.0


def automatic() -> Json:
    """What is known of this machine; values and units as Ohai's (memory as ``"123kB"``)."""
    found: Json = {
        "hostname": socket.gethostname().split(".")[0],
        "machinename": socket.gethostname(),
        "fqdn": socket.getfqdn(),
        "os": "linux",
        "os_version": platform.release(),
        "kernel": {
            "name": "Linux",
            "release": platform.release(),
            "version": platform.version(),
            "machine": platform.machine(),
            "os": "GNU/Linux",
        },
        "ohai_time": time.time(),
        "init_package": "systemd" if Path("/run/systemd/system").is_dir() else "init",
        "current_user": "root" if os.geteuid() == 0 else str(os.geteuid()),
        "languages": {"python": {"version": platform.python_version()}},
        "chef_packages": {"chef": {"version": "18.0.0"}, "ohai": {"version": "18.0.0"}},
        **_platform(),
        **_network(),
        "memory": _memory(),
        "cpu": _cpu(),
        "filesystem": _filesystem(),
    }
    found["domain"] = found["fqdn"].partition(".")[2] or None
    ec2 = _ec2()
    if ec2:
        found["ec2"] = ec2
        found["cloud"] = {
            "provider": "ec2",
            "local_ipv4": ec2.get("local_ipv4"),
            "local_ipv4_addrs": [ec2.get("local_ipv4")],
            "local_hostname": ec2.get("local_hostname"),
        }
    return found


def _run(*command: str) -> str:
    """Standard output, or nothing when the program is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout if done.returncode == 0 else ""


def parse_os_release(text: str) -> Json:
    """``platform``, ``platform_family``, ``platform_version`` and ``lsb`` from os-release."""
    pairs = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.M))
    name = pairs.get("ID", "linux")
    family = "debian" if name == "debian" or "debian" in pairs.get("ID_LIKE", "") else name
    return {
        "platform": name,
        "platform_family": family,
        "platform_version": pairs.get("VERSION_ID", ""),
        "lsb": {
            "id": pairs.get("NAME", "").split(" ")[0],
            "release": pairs.get("VERSION_ID", ""),
            "codename": pairs.get("VERSION_CODENAME", ""),
            "description": pairs.get("PRETTY_NAME", ""),
        },
    }


def _platform() -> Json:
    file = Path("/etc/os-release")
    found = parse_os_release(file.read_text(encoding="utf-8") if file.is_file() else "")
    exact = Path("/etc/debian_version")
    if found["platform"] == "debian" and exact.is_file():
        found["platform_version"] = exact.read_text(encoding="utf-8").strip()
    return found


def _network() -> Json:
    """Address of the interface with the default route, as Ohai chooses it."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "default") or "[]")
    links = json.loads(_run("ip", "-json", "address", "show") or "[]")
    interfaces: Json = {}
    for link in links:
        addresses = {
            address["local"]: {
                "family": "inet6" if address["family"] == "inet6" else "inet",
                "prefixlen": str(address["prefixlen"]),
                "scope": address.get("scope", "").capitalize(),
            }
            for address in link.get("addr_info", [])
            if "local" in address
        }
        if mac := link.get("address"):
            addresses[mac.upper()] = {"family": "lladdr"}
        interfaces[link["ifname"]] = {
            "addresses": addresses,
            "mtu": str(link.get("mtu", "")),
            "state": link.get("operstate", "unknown").lower(),
        }
    default = routes[0] if routes else {}
    name = default.get("dev") or next((one for one in interfaces if one != "lo"), None)
    found: Json = {"network": {"interfaces": interfaces, "default_interface": name}}
    if default.get("gateway"):
        found["network"]["default_gateway"] = default["gateway"]
    for address, about in interfaces.get(name or "", {}).get("addresses", {}).items():
        if about["family"] == "inet" and "ipaddress" not in found:
            found["ipaddress"] = address
        elif about["family"] == "inet6" and about["scope"] == "Global":
            found.setdefault("ip6address", address)
        elif about["family"] == "lladdr":
            found["macaddress"] = address
    return found


def parse_meminfo(text: str) -> Json:
    """``/proc/meminfo`` as Ohai writes it."""
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.M))
    names = {
        "total": "MemTotal",
        "free": "MemFree",
        "available": "MemAvailable",
        "buffers": "Buffers",
        "cached": "Cached",
    }
    found: Json = {key: f"{sizes[name]}kB" for key, name in names.items() if name in sizes}
    found["swap"] = {"total": f"{sizes.get('SwapTotal', 0)}kB"}
    return found


def _memory() -> Json:
    return parse_meminfo(Path("/proc/meminfo").read_text(encoding="ascii"))


def _cpu() -> Json:
    models = re.findall(
        r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M
    )
    total = os.cpu_count() or 1
    return {"total": total, "real": total, "cores": total} | (
        {"0": {"model_name": models[0]}} if models else {}
    )


def _filesystem() -> Json:
    mounts: Json = {}
    listed = _run("df", "--local", "-P", "-T", "-x", "overlay", "-x", "tmpfs").splitlines()[1:]
    for line in listed:
        fields = line.split(None, 6)
        if len(fields) == 7:
            device, kind, size, used, free, percent, mount = fields
            mounts[mount] = {
                "fs_type": kind,
                "kb_size": size,
                "kb_used": used,
                "kb_available": free,
                "percent_used": percent,
                "devices": [device],
            }
    return {"by_mountpoint": mounts}


def _ec2() -> Json:
    """From the instance metadata, version 2; nothing where there is none."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return {}
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
    # never through a proxy: the address means this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str, *, method: str = "GET", headers: dict[str, str]) -> str:
        request = urllib.request.Request(
            f"{base.rstrip('/')}/latest/{path}", method=method, headers=headers
        )
        with opener.open(request, timeout=_METADATA_SECONDS) as answer:
            text: str = answer.read().decode()
            return text

    try:
        token = ask(
            "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        headers = {"X-aws-ec2-metadata-token": token}
        document = json.loads(ask("dynamic/instance-identity/document", headers=headers))
        names = ("local-hostname", "mac", "instance-life-cycle")
        extra: dict[str, str] = {}
        for name in names:
            try:
                extra[name.replace("-", "_")] = ask(f"meta-data/{name}", headers=headers)
            except urllib.error.HTTPError:
                continue
    except (OSError, ValueError):
        return {}
    return extra | {
        "instance_id": document.get("instanceId"),
        "instance_type": document.get("instanceType"),
        "ami_id": document.get("imageId"),
        "account_id": document.get("accountId"),
        "region": document.get("region"),
        "availability_zone": document.get("availabilityZone"),
        "placement_availability_zone": document.get("availabilityZone"),
        "local_ipv4": document.get("privateIp"),
    }
