# frozen_string_literal: true

# apt as it has to be on a machine that has just been born: other programs hold its lock, mirrors are
# slow. Every apt on the machine heeds this, Chef's package resource included.
file '/etc/apt/apt.conf.d/90hubdeploy' do
  content <<~CONF
    DPkg::Lock::Timeout "600";
    Acquire::Retries "5";
    Acquire::http::Timeout "30";
  CONF
  mode '0644'
end

apt_update 'daily' do
  frequency 86_400
  action :periodic
  # the lock of the lists knows no waiting, and mirrors fail in passing
  retries 10
  retry_delay 15
end
