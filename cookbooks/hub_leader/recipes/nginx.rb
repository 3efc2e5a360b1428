# frozen_string_literal: true

# nginx in Docker: TLS, redirect to HTTPS, the CA's challenges, and a page for the seconds in which the
# hub is not there.

agent = node['hub_base']['agent']
nginx = node['hub_leader']['nginx']
state = node['hub_leader']['state']
tls = node['hubdeploy']['tls']
title = node['hubdeploy']['hub']['title']
folder = '/etc/hubdeploy/nginx'

[folder, "#{folder}/pages"].each do |path|
  directory path do
    mode '0755'
  end
end

template "#{folder}/pages/503.html" do
  source 'starting.html.erb'
  variables title: title
  mode '0644'
end

template "#{folder}/nginx.conf" do
  source 'nginx.conf.erb'
  variables(
    folder:,
    state:,
    max_body: nginx['max_body'],
    hsts: HubLeader::Tls.hsts(tls, nginx['hsts_seconds'])
  )
  mode '0644'
end

execute "fetch #{nginx['image']}" do
  command ['docker', 'pull', '--quiet', nginx['image']]
  retries nginx['attempts'] - 1
  retry_delay 10
  # not as a command line: with --why-run on a new machine there is no docker that could be asked
  not_if { HubBase::State.ok?('docker', 'image', 'inspect', nginx['image']) }
end

run = [
  '/usr/bin/docker run --rm --name hubdeploy-nginx --network host --pull never',
  # nothing of the image is written to, and the master needs no more than to bind ports below 1024,
  # to hand its temporary folders to the workers and to become their user
  '--read-only --tmpfs /tmp --tmpfs /run --security-opt no-new-privileges',
  '--cap-drop ALL --cap-add NET_BIND_SERVICE --cap-add CHOWN --cap-add SETUID --cap-add SETGID',
  '--log-driver journald',
  "--volume #{folder}:#{folder}:ro --volume #{state}/tls:#{state}/tls:ro",
  "--volume #{state}/acme:#{state}/acme:ro --entrypoint nginx #{nginx['image']}",
  "-e stderr -c #{folder}/nginx.conf"
].join(' ')

hub_service 'hubdeploy-nginx' do
  about 'TLS reverse proxy of the hub'
  unit_section 'Wants' => 'network-online.target',
               'After' => 'docker.service network-online.target',
               'Requires' => 'docker.service',
               'PartOf' => 'docker.service',
               'RequiresMountsFor' => state,
               'StartLimitIntervalSec' => '0'
  service_section 'Type' => 'exec',
                  'ExecStartPre' => '-/usr/bin/docker rm --force hubdeploy-nginx',
                  'ExecStart' => run,
                  'ExecReload' => '/usr/bin/docker kill --signal HUP hubdeploy-nginx',
                  'ExecStop' => '/usr/bin/docker stop --time 10 hubdeploy-nginx',
                  # the container's own log goes to the journal by Docker's driver
                  'StandardOutput' => 'null',
                  'StandardError' => 'null',
                  'Restart' => 'always',
                  'RestartSec' => '2'
  watches ["#{folder}/nginx.conf"]
end

execute 'have the certificate that the settings ask for' do
  command [agent, 'tls', 'ensure']
  retries 2
  retry_delay 10
  not_if "#{agent} tls ensure --check"
end
