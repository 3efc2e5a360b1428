# frozen_string_literal: true

# The permanent machine: swarm manager, TLS reverse proxy, JupyterHub.

include_recipe 'hub_leader::state'
include_recipe 'hub_base::default'
include_recipe 'hub_leader::swarm'
include_recipe 'hub_leader::folders'
include_recipe 'hub_leader::tls'
include_recipe 'hub_leader::nginx'
include_recipe 'hub_leader::hub'
include_recipe 'hub_leader::proxy'
include_recipe 'hub_leader::jupyterhub'
