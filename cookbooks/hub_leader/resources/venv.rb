# frozen_string_literal: true

# A virtual environment made from a wheel file. Each wheel gets an environment of its own, and a
# symbolic link is moved when it is complete: what runs meanwhile runs undisturbed, and a failed
# installation leaves the old one in use.

unified_mode true
resource_name :hub_venv
provides :hub_venv

property :path, String, name_property: true, description: 'The symbolic link to use'
property :wheel, String, required: true, description: 'The wheel file'
property :extra, String, required: true, description: 'The optional dependencies to install along'
property :constraints, [String, nil], description: 'A file of pinned versions'
property :attempts, Integer, default: 3, description: 'How often the installation is tried'

action :install do
  wheel = new_resource.wheel
  link = new_resource.path
  store = "#{link}-versions"
  venv = "#{store}/#{HubLeader::Wheel.sha256(wheel)[0, 12]}"
  pinned = new_resource.constraints ? ['--constraint', new_resource.constraints] : []

  directory store do
    recursive true
    mode '0755'
  end

  execute "make #{venv}" do
    command ['python3', '-m', 'venv', venv]
    creates "#{venv}/bin/pip"
  end

  execute "install #{::File.basename(wheel)} into #{venv}" do
    command ["#{venv}/bin/pip", 'install', '--quiet', '--disable-pip-version-check', '--no-input',
             *pinned, HubLeader::Wheel.requirement(wheel, new_resource.extra)]
    timeout 1800
    retries new_resource.attempts - 1
    retry_delay 10
    not_if { HubLeader::Wheel.installed?(venv, wheel) }
  end

  link link do
    to venv
  end

  # the one before stays, for a way back
  others = ::Dir.glob("#{store}/*").reject { |path| path == venv }
  others.sort_by { |path| ::File.mtime(path) }.reverse.drop(1).each do |old|
    directory old do
      recursive true
      action :delete
    end
  end
end
