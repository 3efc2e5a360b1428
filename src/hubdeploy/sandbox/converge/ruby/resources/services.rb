# frozen_string_literal: true

class Chef
  # systemd, asked and told.
  module Systemd
    module_function

    def is?(what, unit) = !Mixlib::ShellOut.new('systemctl', "is-#{what}", '--quiet', unit).run_command.error?

    def state(unit, property)
      Mixlib::ShellOut.new('systemctl', 'show', "--property=#{property}", '--value', unit).run_command.stdout.strip
    end

    def masked?(unit) = state(unit, 'LoadState') == 'masked'

    def tell(verb, unit, timeout: 900)
      Mixlib::ShellOut.new('systemctl', verb, unit, timeout:).run_command.error!
    end

    def reload = Mixlib::ShellOut.new('systemctl', 'daemon-reload').run_command.error!
  end

  # Actions that services and units have in common; +unit+ says of what.
  module UnitActions
    # action => the verb, and whether it is needed
    VERBS = {
      enable: ['enable', ->(unit) { !Systemd.is?('enabled', unit) }],
      disable: ['disable', ->(unit) { Systemd.is?('enabled', unit) }],
      start: ['start', ->(unit) { !Systemd.is?('active', unit) }],
      stop: ['stop', ->(unit) { Systemd.is?('active', unit) }],
      mask: ['mask', ->(unit) { !Systemd.masked?(unit) }],
      unmask: ['unmask', ->(unit) { Systemd.masked?(unit) }],
      restart: ['restart', ->(_) { true }],
      reload: ['reload-or-restart', ->(_) { true }]
    }.freeze

    def self.extended(resource)
      VERBS.each do |name, (verb, needed)|
        resource.action name do
          next unless needed.call(unit)

          converge_by("#{verb} #{unit}") { Systemd.tell(verb, unit) }
        end
      end
    end
  end

  class Resource
    # A service, by its unit.
    class Service < Resource
      provides :service, :systemd_service
      default_action :nothing
      property :service_name, String, name_property: true
      property :timeout, Integer, default: 900
      property :supports, Hash, default: {}
      property :pattern, String
      property :provider
      property :options

      action_class { def unit = new_resource.service_name }
      extend UnitActions
    end

    # A unit's file, and what services can.
    class SystemdUnit < Resource
      FOLDER = '/etc/systemd/system'

      provides :systemd_unit
      default_action :nothing
      property :unit_name, String, name_property: true
      property :content, [String, Hash]
      property :triggers_reload, [true, false], default: true
      property :verify, [true, false], default: true
      property :user, String

      def text
        return content.to_s unless content.is_a?(Hash)

        content.map do |section, options|
          lines = options.flat_map { |key, value| [value].flatten.map { |one| "#{key} = #{one}\n" } }
          "[#{section}]\n#{lines.join}"
        end.join("\n")
      end

      action_class do
        def unit = new_resource.unit_name
        def path = "#{FOLDER}/#{unit}"

        def verify
          Dir.mktmpdir do |folder|
            ::File.write("#{folder}/#{unit}", new_resource.text)
            checked = shell_out('systemd-analyze', 'verify', "#{folder}/#{unit}")
            raise Exceptions::ValidationFailed, "#{new_resource}: #{checked.stderr}" if checked.error?
          end
        end
      end

      action :create do
        next if ::File.file?(path) && ::File.read(path) == new_resource.text

        converge_by("write #{path}") do
          verify if new_resource.verify
          ::File.write(path, new_resource.text, perm: 0o644)
          Systemd.reload if new_resource.triggers_reload
        end
      end

      action :delete do
        next unless ::File.exist?(path)

        converge_by("delete #{path}") do
          ::File.unlink(path)
          Systemd.reload if new_resource.triggers_reload
        end
      end

      extend UnitActions
      %i[try_restart reload_or_restart].each do |name|
        action(name) { converge_by("#{name} #{unit}") { Systemd.tell(name.to_s.tr('_', '-'), unit) } }
      end
    end
  end
end
