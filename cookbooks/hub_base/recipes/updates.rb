# frozen_string_literal: true

# Security updates by themselves; nothing else, no restart of the machine and none of the engine
# under running notebooks.

package 'unattended-upgrades' do
  options '--no-install-recommends'
end

file '/etc/apt/apt.conf.d/20auto-upgrades' do
  content <<~CONF
    APT::Periodic::Update-Package-Lists "1";
    APT::Periodic::Unattended-Upgrade "1";
  CONF
  mode '0644'
end

template '/etc/apt/apt.conf.d/52hubdeploy-upgrades' do
  source 'upgrades.conf.erb'
  variables hold: node['hub_base']['updates']['hold']
  mode '0644'
end
