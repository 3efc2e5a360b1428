# frozen_string_literal: true

# The users' files at /efs.

efs = node['hubdeploy']['efs']
tuning = node['hub_base']['efs']

package 'nfs-common' do
  options '--no-install-recommends'
end

# NFS 4.1 needs no port mapper, and notebooks could reach it on the bridge
%w[rpcbind.socket rpcbind.service].each do |unit|
  systemd_unit unit do
    action %i[stop mask]
  end
end

hub_efs '/efs' do
  dns_name efs['dns_name']
  tls efs['tls']
  options tuning['options'].to_a
  port tuning['tunnel_port']
  ca_file tuning['ca_file']
  attempts tuning['attempts']
  pause tuning['pause']
end
