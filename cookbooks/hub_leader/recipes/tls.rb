# frozen_string_literal: true

# A certificate before nginx starts: the kept one, a new one, or for the time being a self-signed
# one. hub_leader::nginx asks again when nginx can answer the CA's challenge. A timer that the agent
# writes renews it.

agent = node['hub_base']['agent']
state = node['hub_leader']['state']

%w[acme acme/.well-known acme/.well-known/acme-challenge].each do |folder|
  directory "#{state}/#{folder}" do
    mode '0755'
  end
end

execute 'have a certificate' do
  command [agent, 'tls', 'ensure']
  not_if { ::File.exist?("#{state}/tls/fullchain.pem") && ::File.exist?("#{state}/tls/privkey.pem") }
end
