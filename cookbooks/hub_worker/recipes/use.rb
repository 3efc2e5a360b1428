# frozen_string_literal: true

# Says once a minute what the notebooks here really use, in a small file on the users' file system that
# the fleet's page reads.

hub_service 'hubdeploy-use' do
  about 'Tell what the notebooks use'
  unit_section 'Wants' => 'network-online.target',
               'After' => 'docker.service network-online.target efs.mount',
               'StartLimitIntervalSec' => '0'
  # without the file system it would write below its mount point
  service_section 'Type' => 'exec',
                  'ExecStartPre' => '/usr/bin/mountpoint --quiet /efs',
                  'ExecStart' => "#{node['hub_base']['agent']} use watch",
                  'NoNewPrivileges' => 'yes',
                  'Nice' => '10',
                  'MemoryMax' => '200M',
                  'Restart' => 'always',
                  'RestartSec' => '10'
end
