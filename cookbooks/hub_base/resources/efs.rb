# frozen_string_literal: true

# An EFS file system on a folder, by NFS 4.1 and a systemd mount unit. With +tls+ the traffic goes
# through a local stunnel, as amazon-efs-utils does it; that package is not in Debian.

unified_mode true
resource_name :hub_efs
provides :hub_efs

property :path, String, name_property: true, regex: %r{\A/[a-z]+\z}, description: 'Where to mount it'
property :dns_name, String, required: true, description: 'Name of the file system\'s mount target'
property :tls, [true, false], required: true, description: 'Encrypt the traffic'
property :options, Array, required: true, description: 'NFS mount options'
property :port, Integer, default: 20_049, description: 'Loopback port of the tunnel'
property :ca_file, String, required: true, description: 'Certificate authorities of the tunnel'
# not `before`: Chef's resources keep something else under that name, and the default would be lost
property :mounted_before, String, default: 'docker.service', description: 'Unit that must find it mounted'
property :attempts, Integer, default: 10, description: 'How often mounting is tried'
property :pause, Integer, default: 15, description: 'Seconds between two tries'

action :mount do
  # copied: inside a nested resource's block the bare names mean that resource's own properties
  folder = new_resource.path
  unit = folder.delete_prefix('/')
  tunnel = "hubdeploy-#{unit}-tunnel"
  settings = "/etc/hubdeploy/#{unit}-tunnel.conf"
  server = new_resource.tls ? '127.0.0.1' : new_resource.dns_name
  flags = new_resource.options.to_a
  flags += ["port=#{new_resource.port}"] if new_resource.tls
  after = ['network-online.target']
  after << "#{tunnel}.service" if new_resource.tls

  if new_resource.tls
    package 'stunnel4' do
      options '--no-install-recommends'
    end

    template settings do
      source 'tunnel.conf.erb'
      cookbook 'hub_base'
      variables dns_name: new_resource.dns_name, port: new_resource.port, ca_file: new_resource.ca_file
      mode '0644'
    end

    hub_service tunnel do
      about "TLS tunnel to the file system of #{folder}"
      unit_section 'Wants' => 'network-online.target', 'After' => 'network-online.target'
      service_section 'Type' => 'exec',
                      'ExecStart' => "/usr/bin/stunnel4 #{settings}",
                      'DynamicUser' => 'yes',
                      'Restart' => 'always',
                      'RestartSec' => '2'
      watches [settings]
    end
  end

  directory folder do
    mode '0755'
    # what lies under the mount is no concern of ours, and asking a dead NFS server would hang
    not_if "mountpoint --quiet #{folder}"
  end

  systemd_unit "#{unit}.mount" do
    content(
      'Unit' => {
        'Description' => 'Users\' files',
        'Wants' => after.join(' '),
        'After' => after.join(' '),
        'Before' => new_resource.mounted_before
      },
      'Mount' => {
        'What' => "#{server}:/",
        'Where' => folder,
        'Type' => 'nfs4',
        'Options' => flags.join(','),
        'TimeoutSec' => '120'
      },
      'Install' => { 'WantedBy' => 'multi-user.target' }
    )
    action %i[create enable]
  end

  systemd_unit "#{unit}.mount, mounted" do
    unit_name "#{unit}.mount"
    retries new_resource.attempts - 1
    retry_delay new_resource.pause
    action :start
  end

  # A mount unit has no Restart=: this tries again every minute when the file system was not to be
  # had at boot.
  systemd_unit "#{unit}-again.timer" do
    content(
      'Unit' => { 'Description' => "Mount #{folder} again when it is not there" },
      'Timer' => { 'Unit' => "#{unit}.mount", 'OnBootSec' => '60', 'OnUnitInactiveSec' => '60' },
      'Install' => { 'WantedBy' => 'timers.target' }
    )
    action %i[create enable start]
  end
end
