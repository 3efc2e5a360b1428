# frozen_string_literal: true

# JupyterHub's programs, as the release pins them.

package 'python3-venv' do
  options '--no-install-recommends'
end

# the agent's own installation carries the versions that this release was tested with
assets = "#{node['hub_leader']['home']}/venv/lib/python3*/site-packages/hubdeploy/_assets"
pinned = Dir.glob("#{assets}/constraints.txt").first

hub_venv node['hub_leader']['venv'] do
  wheel(lazy { HubLeader::Wheel.path(node['hub_leader']['home']) })
  extra 'hub'
  constraints pinned
end
