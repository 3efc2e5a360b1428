# frozen_string_literal: true

# configurable-http-proxy and its unit of its own: users' connections outlive a restart of the hub.

agent = node['hub_base']['agent']
state = node['hub_leader']['state']
folder = node['hub_leader']['proxy']
python = "#{node['hub_leader']['venv']}/bin/python"
port = { 'hub' => 8081, 'proxy' => 8000, 'api' => 8001 }

package %w[nodejs npm] do
  options '--no-install-recommends'
end

directory folder do
  recursive true
  mode '0755'
end

%w[package.json package-lock.json].each do |name|
  cookbook_file "#{folder}/#{name}" do
    source name
    mode '0644'
  end
end

execute 'install the proxy' do
  command %w[npm ci --omit=dev --ignore-scripts --no-audit --no-fund]
  cwd folder
  environment 'HOME' => '/root'
  retries 2
  retry_delay 10
  not_if { HubLeader::Modules.installed?(folder) }
end

execute 'fetch the hub\'s secrets' do
  command [agent, 'hub', 'secrets']
  not_if "#{agent} hub secrets --check"
end

# what needs no keeping outside the leader is made here, before proxy and hub
hub_service 'hubdeploy-hub-secrets' do
  about 'Secrets of the hub and its proxy'
  unit_section 'Before' => 'hubdeploy-proxy.service jupyterhub.service', 'RequiresMountsFor' => state
  service_section 'Type' => 'oneshot',
                  'RemainAfterExit' => 'yes',
                  'UMask' => '0077',
                  'ExecStart' => "#{python} -m hubdeploy.hub.secrets #{state}/secrets"
end

# It holds the routes: a restart is felt by every user, so nothing but its own files asks for one.
hub_service 'hubdeploy-proxy' do
  about 'The hub\'s proxy'
  unit_section 'After' => 'network.target hubdeploy-hub-secrets.service',
               'Requires' => 'hubdeploy-hub-secrets.service',
               'StartLimitIntervalSec' => '0'
  service_section 'Type' => 'exec',
                  'DynamicUser' => 'yes',
                  'EnvironmentFile' => "#{state}/secrets/proxy.env",
                  'ExecStart' => "/usr/bin/node #{folder}/node_modules/configurable-http-proxy/bin/" \
                                 "configurable-http-proxy --ip 127.0.0.1 --port #{port['proxy']} " \
                                 "--api-ip 127.0.0.1 --api-port #{port['api']} " \
                                 "--default-target http://127.0.0.1:#{port['hub']} " \
                                 '--error-path /etc/hubdeploy/nginx/pages',
                  'LimitNOFILE' => '65536',
                  'Restart' => 'always',
                  'RestartSec' => '2'
  watches ["#{state}/secrets/proxy.env", "#{folder}/node_modules/.package-lock.json"]
end
