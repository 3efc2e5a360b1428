# frozen_string_literal: true

# What the deployment decides stands in node['hubdeploy'], which the role carries. Here is only what
# an operator may want to tune on machines without it being worth a line in hubdeploy.toml.

# Docker's json-file logs of a container: so many files of such a size, then the oldest goes.
default['hub_base']['docker']['log_max_size'] = '10m'
default['hub_base']['docker']['log_max_file'] = '3'

# NFS mount options that AWS recommends for EFS. `hard` lets a notebook wait through a short outage
# instead of losing what it writes; `noresvport` lets the client reconnect from another port.
default['hub_base']['efs']['options'] = %w[
  nfsvers=4.1 rsize=1048576 wsize=1048576 hard timeo=600 retrans=2 noresvport _netdev nosuid nodev
]
# Mounting is tried so often, with so many seconds between, before the converge fails. Mount targets
# and their names may take minutes to appear.
default['hub_base']['efs']['attempts'] = 10
default['hub_base']['efs']['pause'] = 15
# Loopback port of the TLS tunnel to the file system.
default['hub_base']['efs']['tunnel_port'] = 20_049
# Whom the tunnel trusts; Amazon's roots are among Debian's.
default['hub_base']['efs']['ca_file'] = '/etc/ssl/certs/ca-certificates.crt'

# The journal's share of the disk and how long it reaches back.
default['hub_base']['journal']['max_use'] = '500M'
default['hub_base']['journal']['max_age'] = '14day'

# Addresses that notebooks must never reach, whatever the port: the instance metadata.
default['hub_base']['guard']['addresses'] = %w[169.254.169.254/32]
# TCP ports inside the VPC that notebooks must never reach: NFS (a notebook could speak it itself and
# claim to be any user), swarm's management and gossip.
default['hub_base']['guard']['ports'] = [2049, 2377, 7946]

# inotify is counted per user id, and every notebook runs as the same one.
default['hub_base']['sysctl']['fs.inotify.max_user_instances'] = 8192
default['hub_base']['sysctl']['fs.inotify.max_user_watches'] = 1_048_576

# Packages that unattended upgrades leave alone: a restart of the engine would end notebooks. New
# versions come with a new worker.
default['hub_base']['updates']['hold'] = %w[docker.io containerd runc]

# The node agent, which units and recipes call for what is better said in Python than here.
default['hub_base']['agent'] = '/opt/hubdeploy/venv/bin/hubdeploy-node'
