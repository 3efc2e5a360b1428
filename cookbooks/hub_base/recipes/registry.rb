# frozen_string_literal: true

# Images from ECR: the credential helper fetches a fresh token with the machine's role each time, as
# tokens last only twelve hours.

package 'amazon-ecr-credential-helper'

# root's own docker commands, and (by DOCKER_CONFIG) the hub's and the agent's pulls
{ '/root/.docker' => '0700', '/etc/hubdeploy/docker' => '0755' }.each do |folder, mode|
  directory folder do
    mode mode
  end

  file "#{folder}/config.json" do
    content HubBase::Text.json('credHelpers' => { node['hubdeploy']['registry'] => 'ecr-login' })
    mode '0644'
  end
end
