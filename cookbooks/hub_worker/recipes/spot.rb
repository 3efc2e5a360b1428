# frozen_string_literal: true

# AWS gives a spot instance two minutes' notice in its metadata. The watcher passes it on, so that the
# fleet drains the machine and users are told.

hub_service 'hubdeploy-spot' do
  about 'Watch for the end of a spot instance'
  unit_section 'Wants' => 'network-online.target',
               'After' => 'network-online.target',
               'StartLimitIntervalSec' => '0'
  service_section 'Type' => 'exec',
                  'ExecStart' => "#{node['hub_base']['agent']} spot watch",
                  'NoNewPrivileges' => 'yes',
                  'Restart' => 'always',
                  'RestartSec' => '10'
end
