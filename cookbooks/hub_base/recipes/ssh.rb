# frozen_string_literal: true

# SSH (closed by the security group unless asked for): keys only. Forwarding of ports stays, since
# the operator's machine reaches the Chef server through it.

file '/etc/ssh/sshd_config.d/10-hubdeploy.conf' do
  content <<~CONF
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    PermitRootLogin prohibit-password
    MaxAuthTries 4
    X11Forwarding no
    AllowAgentForwarding no
  CONF
  mode '0644'
  only_if { ::File.directory?('/etc/ssh/sshd_config.d') }
end

# open sessions survive this
service 'ssh, started before its settings were written' do
  service_name 'ssh'
  action :restart
  only_if { HubBase::State.stale?('ssh', ['/etc/ssh/sshd_config.d/10-hubdeploy.conf']) }
end
