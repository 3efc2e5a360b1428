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
                  # on an on-demand instance there is nothing to watch, and it ends well
                  'RemainAfterExit' => 'yes',
                  'NoNewPrivileges' => 'yes',
                  'Restart' => 'on-failure',
                  'RestartSec' => '10'
end
