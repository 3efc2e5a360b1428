# frozen_string_literal: true

# Runs Chef recipes on this machine with itamae's means: what Chef's client does once it has its
# cookbooks. Called as `ruby converge.rb SPEC RESULT`, both JSON files; the Python side writes the one,
# reads the other and does all that concerns the Chef server.

require 'json'
require 'itamae'
require_relative 'support'
require_relative 'attributes'
require_relative 'dsl'
require_relative 'context'
require_relative 'resource'
require_relative 'cookbook'
Dir[File.join(__dir__, 'resources', '*.rb')].each { |file| require file }

class Chef
  # A whole run: load cookbooks, compile recipes, converge resources, then do what was put off.
  class Converge
    attr_reader :node, :cookbooks
    attr_accessor :why_run

    def initialize(spec)
      @spec = spec
      @why_run = spec['why_run']
      @node = Node.new(**spec['node'].slice('name', 'run_list', 'levels', 'chef_environment').transform_keys(&:to_sym))
      @cookbooks = spec['cookbooks'].to_h do |one|
        [one['name'],
         Cookbook.new(one['name'], **one.slice('folder', 'version', 'dependencies').transform_keys(&:to_sym))]
      end
      @context = RunContext.new(self)
      @node.run_context = @context
      @included = []
      @delayed = []
    end

    # What went wrong, or nil.
    def call
      failure = attempt do
        ordered.each { |cookbook| load_parts(cookbook) }
        @spec['recipes'].each { |name| include_recipe(name) }
        @context.converge
      end
      # also after a failure: what was changed already must not stay without its restart
      [failure, *run_delayed].compact.first
    end

    def include_recipe(name, from: nil)
      cookbook, recipe = (name.start_with?('::') ? "#{from}#{name}" : name).split('::', 2)
      recipe ||= 'default'
      return if @included.include?("#{cookbook}::#{recipe}")

      @included << "#{cookbook}::#{recipe}"
      path = cookbook(cookbook).recipe(recipe)
      Recipe.new(cookbook, recipe, @context).from_file(path)
    end

    def cookbook(name)
      cookbooks.fetch(name.to_s) { raise Exceptions::CookbookNotFound, "cookbook #{name} is not in this run" }
    end

    def delay(notification, source)
      return if @delayed.any? { |one, _| one.key == notification.key }

      @delayed << [notification, source]
    end

    private

    # Those that others depend on first.
    def ordered
      done = []
      visit = lambda do |cookbook|
        next if done.include?(cookbook)

        cookbook.dependencies.each { |name| visit.call(cookbook(name)) }
        done << cookbook
      end
      @spec['recipes'].each { |name| visit.call(cookbook(name.split('::').first)) }
      done
    end

    def load_parts(cookbook)
      cookbook.libraries.each { |path| require path }
      cookbook.attributes.each { |path| AttributeFile.new(self, cookbook).from_file(path) }
      cookbook.resources.each { |path| cookbook.load_resource(path) }
    end

    def run_delayed
      failures = []
      while (notification, source = @delayed.shift)
        failures << attempt { notification.target.run_action(notification.action, notified_by: source) }
      end
      failures
    end

    def attempt
      yield
      nil
    rescue StandardError, ScriptError => e
      e
    end
  end

  # attributes/*.rb: bare level names write, `node` reads.
  class AttributeFile
    include DSL::Universal

    attr_reader :node

    def initialize(run, cookbook)
      @run = run
      @node = run.node
      @cookbook = cookbook
    end

    Node::LEVELS.each { |level| define_method(level) { node.public_send(level) } }
    def cookbook_name = @cookbook.name
    def [](key) = node[key]
    def from_file(filename) = instance_eval(::File.read(filename), filename, 1)

    def include_attribute(*names)
      names.each do |name|
        cookbook, file = name.split('::', 2)
        path = @run.cookbook(cookbook).attributes.find { |one| ::File.basename(one, '.rb') == (file || 'default') }
        AttributeFile.new(@run, @run.cookbook(cookbook)).from_file(path)
      end
    end
  end
end

spec = JSON.parse(File.read(ARGV.fetch(0)))
Itamae.logger.level = Logger.const_get(spec['log_level'].upcase)
Itamae.logger.formatter.colored = $stdout.tty?
spec['config'].each { |key, value| Chef::Config[key] = value }
Chef::Ask.command = spec['ask']
began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
converge = Chef::Converge.new(spec)
failure = converge.call
if failure
  Itamae.logger.error("#{failure.class}: #{failure.message}")
  failure.backtrace.to_a.each do |line|
    Itamae.logger.public_send(line.include?(__dir__) ? :debug : :error, "  #{line}")
  end
end
node = converge.node
result = {
  'ok' => failure.nil?,
  'error' => failure && "#{failure.class}: #{failure.message}",
  'updated' => Chef::Report.updated.map { |event| "#{event[:resource]} #{event[:action]}" },
  'total' => Chef::Report.events.size,
  'seconds' => (Process.clock_gettime(Process::CLOCK_MONOTONIC) - began).round(2),
  'node' => {
    'run_list' => node.run_list,
    'chef_environment' => node.chef_environment,
    **%w[default normal override automatic].to_h { |level| [level, node.combined(level)] }
  }
}
File.write(ARGV.fetch(1), JSON.generate(result), perm: 0o600)
exit(failure ? 1 : 0)
