# frozen_string_literal: true

# The swarm: started here, its join token and address published for the workers, and published again
# whenever they change.

agent = node['hub_base']['agent']

execute 'lead the swarm' do
  command [agent, 'swarm', 'lead']
  not_if "#{agent} swarm lead --check"
end

hub_service 'hubdeploy-swarm' do
  about 'Publish the swarm\'s token and address'
  unit_section 'Wants' => 'network-online.target',
               'After' => 'docker.service network-online.target',
               'Requires' => 'docker.service',
               'StartLimitIntervalSec' => '0'
  service_section 'Type' => 'exec',
                  'ExecStart' => "#{agent} swarm watch",
                  'Restart' => 'always',
                  'RestartSec' => '5'
end
