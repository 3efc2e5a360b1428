# frozen_string_literal: true

# Folders on the users' file system. Each user's own is made by the spawner at the first start.

directory '/efs/home' do
  # users may pass through to their own folder, and list nobody's
  mode '0711'
end

directory '/efs/shared' do
  mode '0755'
end

node['hubdeploy']['hub']['shared_folders'].each do |folder|
  directory "/efs/shared/#{folder['name']}" do
    # jovyan and users, as in the notebook images; new files stay with the group
    owner 1000
    group 100
    mode '2775'
  end
end
