# frozen_string_literal: true

require 'json'
require 'open3'

class Chef
  module DSL
    # What every recipe, resource, action and attribute file can ask.
    module Universal
      def lazy(&) = DelayedEvaluator.new(&)

      def shell_out(*words, **options) = Mixlib::ShellOut.new(*words.flatten, **options).run_command
      def shell_out!(*words, **options) = shell_out(*words, **options).tap(&:error!)

      def platform?(*names) = names.flatten.map(&:to_s).include?(node['platform'])
      def platform_family?(*names) = names.flatten.map(&:to_s).include?(node['platform_family'])
      def debian? = platform_family?('debian')
      def ubuntu? = platform?('ubuntu')
      def systemd? = ::File.directory?('/run/systemd/system')
      def docker? = ::File.exist?('/.dockerenv')
      def windows? = false
      def linux? = true
      def arm? = node['kernel']['machine'] == 'aarch64'
      def which(*names) = names.flatten.filter_map { |name| executable(name) }.first || false
      def reboot_pending? = ::File.exist?('/var/run/reboot-required')

      def value_for_platform(values)
        versions = values[node['platform']] || values.find { |key, _| Array(key).include?(node['platform']) }&.last
        return values['default'] unless versions.is_a?(Hash)

        found = versions.find { |version, _| Array(version).any? { |one| version?(one) } }
        found ? found.last : versions['default']
      end

      def value_for_platform_family(values)
        found = values.find { |key, _| Array(key).map(&:to_s).include?(node['platform_family']) }
        found ? found.last : values['default']
      end

      def search(index, query = '*:*', filter_result: nil, **)
        rows = Ask.server('search' => index.to_s, 'query' => query, 'keys' => filter_result)
        rows.map { |row| row_for(row, filter_result) }.each { |row| yield row if block_given? }
      end

      def data_bag(bag) = Ask.server('data_bag' => bag.to_s)
      def data_bag_item(bag, item) = Mash.new(Ask.server('data_bag' => bag.to_s, 'item' => item.to_s))

      private

      def row_for(row, filter)
        return Mash.new(row) if filter || !row.key?('automatic')

        levels = row.slice('default', 'normal', 'override', 'automatic')
        Node.new(name: row['name'], run_list: row['run_list'], levels:,
                 chef_environment: row['chef_environment'])
      end

      def version?(text)
        operator, number = text.to_s.match(/\A\s*([<>=~!]*)\s*(.*)\z/).captures
        Gem::Requirement.new("#{operator.empty? ? '=' : operator} #{number}").satisfied_by?(
          Gem::Version.new(node['platform_version'][/\A[\d.]+/])
        )
      end

      def executable(name)
        Mixlib::ShellOut::ENVIRONMENT['PATH'].split(':').map { |dir| "#{dir}/#{name}" }
                                             .find { |path| ::File.executable?(path) }
      end
    end

    # One method for each kind of resource, added as they become known.
    module Resources
      def self.add(type)
        define_method(type) { |name = nil, &block| declare_resource(type, name, &block) }
      end
    end

    # What recipes and actions can declare.
    module Recipe
      include Resources

      def self.included(base)
        super
        included_in << base if base.is_a?(Class)
      end

      def self.included_in = @included_in ||= []

      # `Chef::DSL::Recipe.include Helpers` in a library reaches the classes that have it already.
      def self.include(*modules)
        super
        included_in.each { |base| modules.each { |one| base.include(one) } }
        self
      end

      def declare_resource(type, name = '', created_at: nil, **, &block) # rubocop:disable Lint/UnusedMethodArgument
        run_context.declare(build_resource(type, name, &block))
      end

      def build_resource(type, name = '', **, &)
        klass = Chef::Resource.registry.fetch(type.to_sym) do
          raise Exceptions::ResourceNotFound, "no resource is called #{type}"
        end
        resource = klass.new(name, run_context)
        resource.declared_type = type.to_sym
        resource.cookbook_name = cookbook_name
        resource.recipe_name = recipe_name
        resource.enclosing_provider = run_context.enclosing_provider
        resource.instance_eval(&) if block_given?
        resource
      end

      def find_resource!(type, name = nil, run_context: self.run_context)
        wanted = name.nil? ? type.to_s : "#{type}[#{name}]"
        run_context.find(wanted, recursive: true) || raise(Exceptions::ResourceNotFound, "no #{wanted}")
      end
      alias resources find_resource!

      def find_resource(type, name = nil, **, &)
        find_resource!(type, name)
      rescue Exceptions::ResourceNotFound
        block_given? ? declare_resource(type, name, &) : nil
      end

      def edit_resource!(type, name = nil, **, &)
        find_resource!(type, name).tap { |found| found.instance_eval(&) if block_given? }
      end

      def edit_resource(type, name = nil, **, &)
        found = find_resource(type, name)
        return declare_resource(type, name, &) unless found

        found.instance_eval(&) if block_given?
        found
      end

      def delete_resource(type, name = nil, **)
        found = find_resource(type, name)
        run_context.resources.delete(found) if found
      end

      def include_recipe(*names)
        names.flatten.each { |name| run_context.run.include_recipe(name, from: cookbook_name) }
      end

      def with_run_context(which)
        before = @run_context
        @run_context = which == :root ? before.root : before.parent
        yield
      ensure
        @run_context = before
      end

      def tag(*names)
        node.normal['tags'] = (node.tags + names.flatten).uniq
      end

      def tagged?(*names) = names.flatten.all? { |name| node.tags.include?(name) }
    end
  end

  # Questions to the Chef server, answered by the Python side.
  module Ask
    @cached = {}
    class << self
      attr_accessor :command

      def server(question)
        @cached[question] ||= begin
          raise 'this run has no server to ask' unless command

          out, err, status = Open3.capture3(*command, stdin_data: JSON.generate(question))
          raise "the Chef server was asked in vain: #{err.strip.lines.last}" unless status.success?

          JSON.parse(out)
        end
      end
    end
  end
end
