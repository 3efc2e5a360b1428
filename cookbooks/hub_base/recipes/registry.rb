# frozen_string_literal: true

# Images from ECR: the credential helper fetches a fresh token with the machine's role each time, as
# tokens last only twelve hours.

package 'amazon-ecr-credential-helper'

directory '/root/.docker' do
  mode '0700'
end

file '/root/.docker/config.json' do
  content HubBase::Text.json(
    'credHelpers' => { node['hubdeploy']['registry'] => 'ecr-login' }
  )
  mode '0600'
end
