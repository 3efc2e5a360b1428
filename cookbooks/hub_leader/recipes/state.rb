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

# A rebuilt leader with an empty volume goes on from the last backup. Before anything is made there: the
# cookie secret belongs to the database, and is made anew where there is none.
execute 'restore the hub\'s database' do
  command [agent, 'hub', 'restore']
  not_if "#{agent} hub restore --check"
end
