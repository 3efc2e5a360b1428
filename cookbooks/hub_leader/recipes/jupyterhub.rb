# frozen_string_literal: true

# JupyterHub itself: settings, database, unit.

state = node['hub_leader']['state']
venv = node['hub_leader']['venv']
settings = '/etc/hubdeploy/hub.json'
config = '/etc/hubdeploy/jupyterhub_config.py'
secrets = "#{state}/secrets"

file settings do
  content HubBase::Text.json(node['hubdeploy'])
  mode '0644'
end

template config do
  source 'jupyterhub_config.py.erb'
  variables settings: settings, secrets: secrets, state: state, limits: node['hubdeploy']['limits']
  mode '0644'
end

hub_service 'jupyterhub' do
  about 'JupyterHub'
  unit_section 'Wants' => 'network-online.target hubdeploy-proxy.service efs.mount',
               'After' => 'docker.service network-online.target hubdeploy-proxy.service efs.mount',
               'Requires' => 'hubdeploy-hub-secrets.service',
               'RequiresMountsFor' => state,
               'StartLimitIntervalSec' => '0'
  service_section 'Type' => 'exec',
                  'Environment' => ["PATH=#{venv}/bin:/usr/local/bin:/usr/bin:/bin",
                                    'DOCKER_CONFIG=/etc/hubdeploy/docker'],
                  'WorkingDirectory' => state,
                  'UMask' => '0077',
                  # never without the users' files: it would make their folders on the root disk
                  'ExecStartPre' => '/usr/bin/mountpoint --quiet /efs',
                  'ExecStart' => "#{venv}/bin/jupyterhub -f #{config}",
                  'KillMode' => 'mixed',
                  'LimitNOFILE' => '65536',
                  'Restart' => 'always',
                  'RestartSec' => '2'
  watches(lazy { [settings, config, venv, *Dir.glob("#{secrets}/*").grep_v(/proxy\.env\z/)] })
end
