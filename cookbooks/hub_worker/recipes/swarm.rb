# frozen_string_literal: true

# Joins the leader's swarm (drained), pulls the notebook images, and joins anew when the leader was
# rebuilt. Whether notebooks may come is then decided by the fleet service on the leader.

hub_service 'hubdeploy-swarm' do
  about 'Membership in the swarm'
  unit_section 'Wants' => 'network-online.target',
               'After' => 'docker.service network-online.target efs.mount hubdeploy-notebook-guard.service',
               'Requires' => 'docker.service hubdeploy-notebook-guard.service',
               'StartLimitIntervalSec' => '0'
  # a worker without the users' files or the guard must not be a worker
  service_section 'Type' => 'exec',
                  'ExecStartPre' => '/usr/bin/mountpoint --quiet /efs',
                  'ExecStart' => "#{node['hub_base']['agent']} swarm watch",
                  'Restart' => 'always',
                  'RestartSec' => '5'
end
