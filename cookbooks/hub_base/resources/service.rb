# frozen_string_literal: true

# A daemon as a systemd unit: written, enabled, running, and running what is written now. It is
# restarted when its process is older than its unit file or any of the files it +watches+, which holds
# also after a converge that failed half-way.

unified_mode true
resource_name :hub_service
provides :hub_service

property :unit, String, name_property: true, description: 'Unit name without .service'
property :about, String, required: true, description: 'Description= of the unit'
property :unit_section, Hash, default: {}, description: 'Further lines of [Unit]'
property :service_section, Hash, required: true, description: '[Service]'
property :wanted_by, String, default: 'multi-user.target', description: 'What pulls the unit in'
property :watches, Array, default: [], description: 'Files that the daemon reads at its start'

action :run do
  description = new_resource.about
  sections = {
    'Unit' => { 'Description' => description }.merge(new_resource.unit_section),
    'Service' => new_resource.service_section,
    'Install' => { 'WantedBy' => new_resource.wanted_by }
  }
  name = new_resource.unit
  files = ["/etc/systemd/system/#{name}.service", *new_resource.watches]

  systemd_unit "#{name}.service" do
    content sections
    action :create
  end

  service name do
    action %i[enable start]
  end

  service "#{name}, started before its files were written" do
    service_name name
    action :restart
    only_if { HubBase::State.stale?(name, files) }
  end
end
