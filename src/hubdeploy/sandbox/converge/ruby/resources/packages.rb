# frozen_string_literal: true

class Chef
  # Facts about the machine, asked through itamae's backend (specinfra).
  module Host
    class << self
      def backend = @backend ||= Itamae::Backend.create(:local, shell: '/bin/sh')
      def holds?(*question) = ask(*question).exit_status.zero?

      # One line, or nil when the answer is no.
      def line(*question)
        answer = ask(*question)
        answer.stdout.strip if answer.exit_status.zero? && !answer.stdout.strip.empty?
      end

      private

      def ask(*question) = backend.run_command(backend.get_command(*question), error: false)
    end
  end

  class Resource
    # Debian packages, one or several at once.
    class AptPackage < Resource
      provides :apt_package, :package
      default_action :install
      property :package_name, [String, Array], name_property: true
      property :version, [String, Array]
      property :options, [String, Array], coerce: proc { |value| value.is_a?(String) ? value.shellsplit : value }
      property :default_release, String
      property :timeout, [Integer, String], default: 900
      property :source, String
      property :overwrite_config_files, [true, false], default: false

      def initialize(name, run_context = nil)
        super
        @names = Array(name)
      end

      def names = property_is_set?(:package_name) ? Array(package_name) : @names

      action_class do
        # [name, wanted version or nil]
        def wanted = new_resource.names.zip(Array(new_resource.version))

        def installed(name)
          Host.holds?(:check_package_is_installed, name) ? Host.line(:get_package_version, name) : nil
        end

        def candidate(name)
          shell_out!('apt-cache', 'policy', name).stdout[/Candidate: (\S+)/, 1]
        end

        def apt(verb, names)
          keep = new_resource.overwrite_config_files ? '--force-confnew' : '--force-confdef'
          words = ['apt-get', '-q', '-y', '-o', "Dpkg::Options::=#{keep}"]
          words += ['-o', 'Dpkg::Options::=--force-confold'] unless new_resource.overwrite_config_files
          words += ['--allow-downgrades'] if verb == 'install' && new_resource.version
          words += ['-t', new_resource.default_release] if new_resource.default_release
          shell_out!(*words, *new_resource.options.to_a, verb, *names,
                     environment: { 'DEBIAN_FRONTEND' => 'noninteractive' }, timeout: new_resource.timeout.to_f)
        end

        def put(todo)
          return if todo.empty?

          names = todo.map { |name, version| version ? "#{name}=#{version}" : name }
          converge_by("install #{names.join(', ')}") { apt('install', names) }
        end
      end

      action :install do
        put(wanted.reject { |name, version| version ? installed(name) == version : installed(name) })
      end

      action :upgrade do
        put(wanted.map { |name, version| [name, version || candidate(name)] }
                  .reject { |name, version| installed(name) == version })
      end

      { remove: 'remove', purge: 'purge' }.each do |name, verb|
        action name do
          there = new_resource.names.select { |one| installed(one) }
          converge_by("#{verb} #{there.join(', ')}") { apt(verb, there) } unless there.empty?
        end
      end
    end

    # The package lists.
    class AptUpdate < Resource
      STAMP = '/var/lib/apt/periodic/update-success-stamp'
      HOOK = '/etc/apt/apt.conf.d/15update-stamp'

      provides :apt_update
      default_action :periodic
      property :frequency, Integer, default: 86_400

      action_class do
        def fresh? = ::File.exist?(STAMP) && ::File.mtime(STAMP) > Time.now - new_resource.frequency

        def update
          directory(::File.dirname(STAMP)) { recursive true }
          file HOOK do
            content %(APT::Update::Post-Invoke-Success {"touch #{STAMP} 2>/dev/null || true";};\n)
          end
          converge_by('update the package lists') { shell_out!('apt-get', '-q', 'update', timeout: 900) }
        end
      end

      action(:periodic) { update unless fresh? }
      action(:update) { update }
    end
  end
end
