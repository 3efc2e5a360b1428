# frozen_string_literal: true

# Debian's Docker engine. Its settings are written first, so that it never runs without them.

docker = node['hub_base']['docker']
pool = node['hubdeploy']['docker_pool']
machine = node['hubdeploy']['machine'].to_h

directory '/etc/docker' do
  mode '0755'
end

# No live-restore: Docker refuses it on a swarm node. No "iptables": false: the guard against the
# instance metadata and the engine's own isolation are iptables rules.
file '/etc/docker/daemon.json' do
  content HubBase::Text.json(
    'bip' => HubBase::Pool.bridge(pool),
    'default-address-pools' => [{ 'base' => HubBase::Pool.halves(pool).first, 'size' => 24 }],
    'icc' => false,
    # what the machine says of itself, for people and monitoring; placement goes by the labels that the
    # fleet puts on the node, which no worker can give itself
    'labels' => machine.map { |name, value| "hubdeploy.#{name}=#{value}" }.sort,
    'log-driver' => 'json-file',
    'log-opts' => { 'max-size' => docker['log_max_size'], 'max-file' => docker['log_max_file'] }
  )
  mode '0644'
end

# Without what docker.io recommends: needrestart would restart the engine under running notebooks.
package HubBase::Packages.docker(node['platform_version'], HubBase::State.apparmor?) do
  options '--no-install-recommends'
end

service 'docker' do
  action %i[enable start]
end

service 'docker, started before daemon.json was written' do
  service_name 'docker'
  action :restart
  # a restart ends all containers of a swarm node: with users on the machine it waits for a later run
  only_if { HubBase::State.stale?('docker', ['/etc/docker/daemon.json']) && !HubBase::State.notebooks? }
end
