# frozen_string_literal: true

# The leader's own volume: hub database, secrets, certificates. It outlives the instance.

agent = node['hub_base']['agent']

execute 'mount the state volume' do
  command [agent, 'state', 'mount']
  not_if "#{agent} state mount --check"
end

directory node['hub_leader']['state'] do
  owner 'root'
  group 'root'
  mode '0711'
end
