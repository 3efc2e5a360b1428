"""The images of the rehearsal and what is in each.

========  ==================================================================================
base      Debian's minimal system: debootstrapped, or ``debian:12`` where a registry answers
machine   an instance: systemd, cloud-init, its own Docker, sshd, Chef client and server
bare      an instance as an AMI of Debian is published; for tests, as it fetches all it needs
nginx     Debian's nginx in the place of the public ``nginx`` image
router    the VPC's own services: metadata, DNS, container registry, way to the embedded AWS
store     the router with nginx and notebook in its registry
notebook  JupyterLab and the single-user server, as user ``jovyan``
========  ==================================================================================
"""

from __future__ import annotations

from hubdeploy.config.assets import cookbooks_dir
from hubdeploy.config.names import NOTEBOOK_GID, NOTEBOOK_UID
from hubdeploy.sandbox.images import requirements
from hubdeploy.sandbox.images.recipe import REPOSITORY, Recipe, packaged
from hubdeploy.sandbox.machines.registry import Reference

SUITE = "bookworm"
NGINX_REFERENCE = "nginx:1.28-alpine"
"""The public image that the leader's cookbook runs; the ``nginx`` image here stands in for it."""

_APT = """set -eu
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/unsafe-io
printf 'path-exclude /usr/share/%s/*\\n' doc man locale > /etc/dpkg/dpkg.cfg.d/excludes
printf 'Acquire::Languages "none";\\nAcquire::Retries "3";\\n' > /etc/apt/apt.conf.d/99build
if [ -n "${SSL_CERT_FILE:-}" ]; then
  printf 'Acquire::https::CAInfo "%s";\\n' "$SSL_CERT_FILE" > /etc/apt/apt.conf.d/99ca
fi
apt-get update -qq
need() {
  apt-get install -y -qq --no-install-recommends "$@" > /tmp/apt.log 2>&1 && return
  tail -n 20 /tmp/apt.log >&2
  exit 1
}
"""
_TIDY = """
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/apt/apt.conf.d/99ca /usr/sbin/policy-rc.d
rm -rf /var/log/apt /var/log/dpkg.log /root/.cache /root/.npm
"""

MACHINE_PACKAGES = (
    "systemd systemd-sysv dbus sudo procps kmod iproute2 iputils-ping iptables less e2fsprogs "
    "ca-certificates curl openssl gnupg openssh-server cloud-init nfs-common logrotate cron "
    "python3 python3-venv python3-boto3 python3-pip docker.io nodejs npm itamae goiardi "
    "amazon-ecr-credential-helper unattended-upgrades stunnel4 jq"
)

#: units that make no sense without hardware, or that wait for what never comes
_MASKED = (
    "run-rpc_pipefs.mount rpc-gssd.service rpc-svcgssd.service nfs-client.target rpcbind.service "
    "rpcbind.socket rpc-statd.service nfs-blkmap.service systemd-udevd.service "
    "systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service "
    "systemd-modules-load.service sys-kernel-debug.mount sys-kernel-tracing.mount "
    "sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount "
    "getty.target console-getty.service systemd-timesyncd.service "
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer "
    "dpkg-db-backup.timer e2scrub_reap.service cloud-init-hotplugd.socket man-db.timer "
    "goiardi.service"
)

BARE_PACKAGES = (
    "systemd systemd-sysv dbus sudo procps kmod iproute2 iputils-ping less e2fsprogs cron "
    "ca-certificates curl openssh-server cloud-init python3 itamae"
)
"""Of what Debian's AMIs hold, the part that a machine may count on; and itamae, which is in the
place of Chef's client."""

_SYSTEM = """
need @PACKAGES@
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id
systemctl mask -q @MASKED@
systemctl enable -q ssh.service docker.service
systemctl set-default -q multi-user.target
dpkg-divert --quiet --rename --add /sbin/mount.nfs4
dpkg-divert --quiet --rename --add /sbin/mount.nfs
mkdir -p /sandbox/efs /sandbox/ebs /sandbox/machine
(cd /opt/hubdeploy/proxy && npm ci --omit=dev --ignore-scripts --silent --no-fund --no-audit)
"""

_MACHINE = """set -eu
for name in mount.nfs4 mount.nfs mount.efs; do
  install -m 755 /usr/local/lib/sandbox/mount.nfs4 /sbin/$name
done
ln -sf /usr/local/lib/sandbox/ssm-agent /usr/bin/amazon-ssm-agent
systemctl enable -q amazon-ssm-agent.service
# Everything that pip is asked for on a machine is here already
python3 -m pip wheel -q -w /usr/local/lib/sandbox/wheels -c /usr/local/lib/sandbox/constraints.txt \
  -r /usr/local/lib/sandbox/node.txt -r /usr/local/lib/sandbox/hub.txt
cat > /etc/pip.conf <<'EOF'
[global]
no-index = true
find-links = /usr/local/lib/sandbox/wheels
disable-pip-version-check = true
[install]
no-compile = true
EOF
# Debian's boto3 is from before AWS_ENDPOINT_URL and would call the real AWS
python3 -m pip install -q --break-system-packages --ignore-installed boto3
# Virtual environments find the dependencies installed, in the versions that pip would take: four
# machines that install the same at the same time on two cores would take most of the rehearsal.
# What brings commands that units start is really installed into each environment
find /usr/local/lib/sandbox/wheels -name '*.whl' ! -name 'jupyterhub-*' ! -name '*idle_culler*' \
  -exec python3 -m pip install -q --compile --no-deps --target /usr/local/lib/sandbox/site {} +
cat >> /etc/python3.11/sitecustomize.py <<'EOF'
import sys
if sys.prefix != sys.base_prefix:
    sys.path.append("/usr/local/lib/sandbox/site")
EOF
# no package source: what a machine needs is installed, and apt-get says so at once
: > /etc/apt/sources.list
rm -rf /etc/apt/sources.list.d/* /root/.cache /tmp/*
"""

_BARE = """
need @PACKAGES@
rm -f /etc/ssh/ssh_host_*
: > /etc/machine-id
systemctl mask -q @MASKED@
systemctl enable -q ssh.service amazon-ssm-agent.service
systemctl set-default -q multi-user.target
dpkg-divert --quiet --rename --add /sbin/mount.nfs4
dpkg-divert --quiet --rename --add /sbin/mount.nfs
mkdir -p /sandbox/efs /sandbox/ebs /sandbox/machine
for name in mount.nfs4 mount.nfs mount.efs; do
  install -m 755 /usr/local/lib/sandbox/mount.nfs4 /sbin/$name
done
ln -sf /usr/local/lib/sandbox/ssm-agent /usr/bin/amazon-ssm-agent
"""

_INSTANCE = (
    'CMD ["/usr/local/sbin/sandbox-init"]',
    "ENV container=docker",
    'VOLUME ["/var/lib/docker", "/var/lib/containerd"]',
)

_NGINX = """
need nginx-light openssl
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
rm -f /etc/nginx/sites-enabled/default
# laid out as the public image is: sites come from conf.d
mkdir -p /etc/nginx/conf.d /usr/share/nginx/html
"""

_ROUTER = """
need docker-registry python3 iproute2 iptables
mkdir -p /var/lib/registry /sandbox/run
"""

_NOTEBOOK = """
need python3 python3-venv tini ca-certificates curl
useradd --create-home --uid @UID@ --gid @GID@ --shell /bin/bash jovyan
python3 -m venv /opt/notebook
/opt/notebook/bin/pip install -q @HUB@ jupyterlab
/opt/notebook/bin/jupyter --version > /dev/null
"""


def base() -> Recipe:
    return Recipe(name="base", parent=None, script=SUITE)


def system() -> Recipe:
    """An instance's packages; apart from what changes with the project."""
    script = _SYSTEM.replace("@PACKAGES@", MACHINE_PACKAGES).replace("@MASKED@", _MASKED)
    pinned = cookbooks_dir() / "hub_leader" / "files"
    return Recipe(
        name="system",
        parent=base(),
        script=_APT + script + _TIDY,
        # the leader's cookbook then finds its proxy in place
        files={
            f"/opt/hubdeploy/proxy/{name}": ((pinned / name).read_bytes(), 0o644)
            for name in ("package.json", "package-lock.json")
        },
    )


def machine() -> Recipe:
    """The image of every instance, whatever its role."""
    lists = {extra: "\n".join(requirements.of_extra(extra)) + "\n" for extra in ("node", "hub")}
    return Recipe(
        name="machine",
        parent=system(),
        script=_MACHINE,
        files={
            **_fittings(),
            "/usr/local/lib/sandbox/node.txt": (lists["node"].encode(), 0o644),
            "/usr/local/lib/sandbox/hub.txt": (lists["hub"].encode(), 0o644),
            "/usr/local/lib/sandbox/constraints.txt": (requirements.constraints().encode(), 0o644),
        },
        changes=_INSTANCE,
    )


def bare() -> Recipe:
    """An instance that has yet to fetch everything, from the package sources of the base."""
    # what the cookbooks mask themselves is left to them
    masked = " ".join(unit for unit in _MASKED.split() if not unit.startswith("rpcbind"))
    script = _BARE.replace("@PACKAGES@", BARE_PACKAGES).replace("@MASKED@", masked)
    return Recipe(
        name="bare",
        parent=base(),
        script=_APT + script + _TIDY,
        files=_fittings(),
        changes=_INSTANCE,
    )


def _fittings() -> dict[str, tuple[bytes, int]]:
    """What makes an instance of a container."""
    return {
        "/usr/local/sbin/sandbox-init": (packaged("sandbox-init"), 0o755),
        "/usr/local/sbin/sandbox-volumes": (packaged("sandbox-volumes"), 0o755),
        "/usr/local/sbin/sandbox-run": (packaged("sandbox-run"), 0o755),
        "/usr/local/bin/hubdeploy-converge": (packaged("hubdeploy-converge"), 0o755),
        "/usr/local/lib/sandbox/mount.nfs4": (packaged("mount.nfs4"), 0o755),
        "/usr/local/lib/sandbox/ssm-agent": (packaged("ssm-agent"), 0o755),
        "/etc/cloud/cloud.cfg.d/99-sandbox.cfg": (packaged("99-sandbox.cfg"), 0o644),
        "/etc/sudoers.d/sandbox": (b'Defaults env_keep += "AWS_ENDPOINT_URL"\n', 0o440),
        "/etc/systemd/system/amazon-ssm-agent.service": (
            packaged("amazon-ssm-agent.service"),
            0o644,
        ),
    }


def nginx() -> Recipe:
    return Recipe(
        name="nginx",
        parent=base(),
        script=_APT + _NGINX + _TIDY,
        changes=(
            'CMD ["nginx", "-g", "daemon off;"]',
            "EXPOSE 80",
        ),
    )


def router() -> Recipe:
    return Recipe(
        name="router",
        parent=nginx(),
        script=_APT + _ROUTER + _TIDY,
        files={
            "/usr/local/sbin/sandbox-router": (packaged("sandbox-router"), 0o755),
            "/usr/local/sbin/sandbox-dns": (packaged("sandbox-dns"), 0o755),
            "/usr/local/etc/registry.yml": (packaged("registry.yml"), 0o644),
            "/usr/local/etc/nginx.conf": (packaged("router-nginx.conf"), 0o644),
        },
        changes=('CMD ["/usr/local/sbin/sandbox-router"]',),
    )


def notebook() -> Recipe:
    script = (
        _NOTEBOOK.replace("@UID@", str(NOTEBOOK_UID))
        .replace("@GID@", str(NOTEBOOK_GID))
        .replace("@HUB@", requirements.pinned("jupyterhub"))
    )
    return Recipe(
        name="notebook",
        parent=base(),
        script=_APT + script + _TIDY,
        changes=(
            "ENV PATH=/opt/notebook/bin:/usr/local/bin:/usr/bin:/bin HOME=/home/jovyan "
            "SHELL=/bin/bash LANG=C.UTF-8 NB_UID=1000 NB_GID=100 NB_USER=jovyan",
            "USER jovyan",
            "WORKDIR /home/jovyan",
            "EXPOSE 8888",
            'ENTRYPOINT ["tini", "-g", "--"]',
            'CMD ["jupyterhub-singleuser"]',
        ),
    )


def store() -> Recipe:
    """The router as it runs. Its registry is filled here, once, instead of in each rehearsal."""
    return Recipe(
        name="store",
        parent=router(),
        script="",
        holds=(nginx(), notebook()),
    )


def stored(tag: str) -> Reference | None:
    """Where an image of the rehearsal lies in the store's registry; None for any other image."""
    name, _, digest = tag.removeprefix(f"{REPOSITORY}/").partition(":")
    if tag not in (recipe.tag for recipe in store().holds):
        return None
    return Reference(hosts=(), repository=f"sandbox/{name}", tag=digest)
