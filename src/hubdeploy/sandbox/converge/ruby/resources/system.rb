# frozen_string_literal: true

class Chef
  class Resource
    # A file system on a folder, now and in /etc/fstab.
    class Mount < Resource
      provides :mount
      default_action :mount
      property :mount_point, String, name_property: true
      property :device, String, required: true
      property :device_type, [Symbol, String], default: :device, coerce: proc { |value| value.to_sym }
      property :fstype, String, default: 'auto'
      property :options, [Array, String],
               default: %w[defaults], coerce: proc { |value| [value].flatten.join(',').split(',') }
      property :dump, [Integer, false], default: 0
      property :pass, [Integer, false], default: 2
      property :supports, [Array, Hash], default: {}

      action_class do
        def mounted? = !shell_out('mountpoint', '--quiet', new_resource.mount_point).error?

        def what
          { device: '', label: 'LABEL=', uuid: 'UUID=' }.fetch(new_resource.device_type) + new_resource.device
        end

        def line
          numbers = [new_resource.dump || 0, new_resource.pass || 0]
          [what, new_resource.mount_point, new_resource.fstype, new_resource.options.join(','), *numbers].join(' ')
        end

        def others
          ::File.readlines('/etc/fstab', chomp: true).reject { |one| one.split[1] == new_resource.mount_point }
        end

        def listed = ::File.readlines('/etc/fstab', chomp: true) - others

        def write(lines)
          Files.write('/etc/fstab', lines.map { |one| "#{one}\n" }.join, Struct.new(:owner, :group, :mode).new)
        end
      end

      action :mount do
        next if mounted?

        converge_by("mount #{new_resource.device} on #{new_resource.mount_point}") do
          shell_out!('mount', '-t', new_resource.fstype, '-o', new_resource.options.join(','), what,
                     new_resource.mount_point)
        end
      end

      %i[umount unmount].each do |name|
        action name do
          next unless mounted?

          converge_by("unmount #{new_resource.mount_point}") { shell_out!('umount', new_resource.mount_point) }
        end
      end

      action :remount do
        next unless mounted?

        options = ['remount', *new_resource.options].join(',')
        converge_by("remount #{new_resource.mount_point}") do
          shell_out!('mount', '-o', options, new_resource.mount_point)
        end
      end

      action :enable do
        next if listed.map(&:split) == [line.split]

        converge_by("write #{new_resource.mount_point} into /etc/fstab") { write([*others, line]) }
      end

      action :disable do
        converge_by("take #{new_resource.mount_point} out of /etc/fstab") { write(others) } if listed.any?
      end
    end

    # A kernel parameter, now and after a restart.
    class Sysctl < Resource
      provides :sysctl
      default_action :apply
      property :key, String, name_property: true
      property :value, [Array, String, Integer, Float],
               required: [:apply], coerce: proc { |value| [value].flatten.join(' ').gsub(/\s+/, ' ') }
      property :conf_dir, String, default: '/etc/sysctl.d', desired_state: false
      property :comment, [Array, String], default: [], desired_state: false
      property :ignore_error, [true, false], default: false, desired_state: false

      load_current_value do
        found = Mixlib::ShellOut.new('sysctl', '-n', '-e', key).run_command.stdout.strip
        current_value_does_not_exist! if found.empty?
        value found
      end

      action_class do
        def path = "#{new_resource.conf_dir}/99-chef-#{new_resource.key.tr('/', '.')}.conf"
      end

      action :apply do
        converge_if_changed do
          found = shell_out('sysctl', '-q', '-w', "#{new_resource.key}=#{new_resource.value}")
          found.error! unless new_resource.ignore_error
          comment = Array(new_resource.comment).map { |one| "# #{one}\n" }.join
          text = "#{comment}#{new_resource.key} = #{new_resource.value}\n"
          directory new_resource.conf_dir
          file(path) { content text }
        end
      end

      action(:remove) { file(path) { action :delete } }
    end

    # A kernel module, now and after a restart.
    class KernelModule < Resource
      provides :kernel_module
      default_action :install
      property :modname, String, name_property: true
      property :load_dir, String, default: '/etc/modules-load.d', desired_state: false
      property :unload_dir, String, default: '/etc/modprobe.d', desired_state: false

      action_class do
        def loaded? = ::File.directory?("/sys/module/#{new_resource.modname.tr('-', '_')}")
      end

      action :load do
        converge_by("load #{new_resource.modname}") { shell_out!('modprobe', new_resource.modname) } unless loaded?
      end

      action :install do
        name = new_resource.modname
        directory(new_resource.load_dir) { recursive true }
        file("#{new_resource.load_dir}/#{name}.conf") { content "#{name}\n" }
        action_load
      end

      action :blacklist do
        name = new_resource.modname
        file("#{new_resource.unload_dir}/blacklist_#{name}.conf") { content "blacklist #{name}\n" }
      end
    end
  end
end
