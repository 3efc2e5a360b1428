# frozen_string_literal: true

require 'tempfile'

class Chef
  # Commands, and what only talks.
  class Resource
    # A command; it counts as a change whenever it runs.
    class Execute < Resource
      provides :execute
      default_action :run
      property :command, [String, Array], name_property: true
      property :creates, String
      property :cwd, String
      property :environment, Hash
      property :user, [String, Integer]
      property :group, [String, Integer]
      property :umask, [String, Integer]
      property :timeout, [Integer, String, Float], default: 3600
      property :returns, [Integer, Array], default: 0
      property :live_stream, [true, false], default: false
      property :default_env, [true, false], default: false
      property :login, [true, false], default: false
      property :input, String
      property_alias :environment, :env

      # A guard of execute runs as its command does.
      def guard_options
        %i[cwd environment group user umask login].to_h { |name| [name, public_send(name)] }.compact
      end

      action_class do
        def words = new_resource.command

        def done?
          made = new_resource.creates
          made && ::File.exist?(made.start_with?('/') ? made : ::File.join(new_resource.cwd.to_s, made))
        end

        def run(words)
          asked = %i[cwd environment user group umask returns login input].to_h do |name|
            [name, new_resource.public_send(name)]
          end
          asked = asked.compact.merge(timeout: new_resource.timeout.to_f, sensitive: new_resource.sensitive,
                                      live_stream: new_resource.live_stream)
          Mixlib::ShellOut.new(words, **asked).run_command.error!
        end
      end

      action :run do
        next if done?

        shown = new_resource.sensitive ? '(sensitive)' : Array(new_resource.command).join(' ')
        converge_by("run #{shown}") { run(words) }
      end
    end

    # Lines for an interpreter.
    class Script < Execute
      provides :script
      default_action :run
      property :command, [String, Array]
      property :interpreter, String, required: true
      property :code, String, required: true
      property :flags, String, default: ''

      # A guard of a script does so only when it has an interpreter of its own.
      def guard_options = guard_interpreter == :default ? {} : super

      action :run do
        next if done?

        converge_by("run #{new_resource}") do
          Tempfile.create('converge-script') do |file|
            file.write(new_resource.code)
            file.close
            ::File.chown(Files.uid(new_resource.user), Files.gid(new_resource.group), file.path)
            run([new_resource.interpreter, *new_resource.flags.shellsplit, file.path])
          end
        end
      end
    end

    { bash: 'bash', ruby: 'ruby', python: 'python3', perl: 'perl' }.each do |name, interpreter|
      Class.new(Script) do
        provides name
        default_action :run
        property :interpreter, String, default: interpreter
      end
    end

    # Ruby that runs in its turn.
    class RubyBlock < Resource
      provides :ruby_block
      default_action :run
      property :block_name, String, name_property: true

      def block(&code)
        code ? @code = code : @code
      end

      action(:run) { converge_by("run #{new_resource}") { new_resource.block.call } }
      action(:create) { action_run }
    end

    # A line in the log; never a change.
    class Log < Resource
      provides :log
      default_action :write
      property :message, [String], name_property: true
      property :level, [Symbol, String], default: :info

      action(:write) { Chef::Log.public_send(new_resource.level, new_resource.message) }
    end

    # Nothing but a place for notifications to come from.
    class NotifyGroup < Resource
      provides :notify_group
      default_action :run
      action(:run) { converge_by("notify from #{new_resource}") }
    end
  end
end
