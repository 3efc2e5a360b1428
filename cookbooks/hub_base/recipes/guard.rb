# frozen_string_literal: true

# Keeps notebooks off the instance metadata (and so off the machine's AWS rights) and off ports of
# the VPC that trust whoever reaches them. Only forwarded traffic is concerned: the machine's own
# processes go on as before.

guard = node['hub_base']['guard']
chain = 'HUBDEPLOY-NOTEBOOKS'
drops = guard['addresses'].map { |address| ['-d', address, '-j', 'DROP'] }
drops += guard['ports'].map do |port|
  ['-d', node['hubdeploy']['vpc_cidr'], '-p', 'tcp', '-m', 'tcp', '--dport', port.to_s, '-j', 'DROP']
end

template '/etc/hubdeploy/notebook-guard.rules' do
  source 'notebook-guard.rules.erb'
  variables chain: chain, drops: drops
  mode '0644'
end

template '/usr/local/sbin/hubdeploy-notebook-guard' do
  source 'notebook-guard.erb'
  variables chain: chain
  mode '0755'
end

# Runs before the engine does, each time: at a boot swarm may start a notebook at once. The engine
# keeps what it finds in DOCKER-USER.
hub_service 'hubdeploy-notebook-guard' do
  about 'Keep notebooks off the instance metadata'
  unit_section 'Before' => 'docker.service', 'PartOf' => 'docker.service'
  service_section 'Type' => 'oneshot',
                  'RemainAfterExit' => 'yes',
                  'ExecStart' => '/usr/local/sbin/hubdeploy-notebook-guard'
  wanted_by 'docker.service'
  watches %w[/etc/hubdeploy/notebook-guard.rules /usr/local/sbin/hubdeploy-notebook-guard]
end

service 'hubdeploy-notebook-guard, whose rules are gone' do
  service_name 'hubdeploy-notebook-guard'
  action :restart
  not_if { HubBase::State.rules?(['DOCKER-USER', '-j', chain], *drops.map { |drop| [chain, *drop] }) }
end
