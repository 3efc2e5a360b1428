# frozen_string_literal: true

# Journal limits, kernel limits, and nothing listening that nobody asked for.

directory '/etc/hubdeploy' do
  mode '0755'
end

directory '/etc/systemd/journald.conf.d' do
  mode '0755'
end

journal = node['hub_base']['journal']

file '/etc/systemd/journald.conf.d/hubdeploy.conf' do
  content <<~CONF
    [Journal]
    Storage=persistent
    SystemMaxUse=#{journal['max_use']}
    MaxRetentionSec=#{journal['max_age']}
  CONF
  mode '0644'
end

service 'systemd-journald, started before its limits were written' do
  service_name 'systemd-journald'
  action :restart
  only_if { HubBase::State.stale?('systemd-journald', ['/etc/systemd/journald.conf.d/hubdeploy.conf']) }
end

node['hub_base']['sysctl'].each do |key, least|
  # never below what the image or the operator has set already
  sysctl key do
    value least
    only_if { ::File.read("/proc/sys/#{key.tr('.', '/')}").to_i < least }
  end
end
