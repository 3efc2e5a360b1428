# frozen_string_literal: true

class Chef
  # The resources that a run, or one action of a custom resource, declares; in order.
  class RunContext
    attr_reader :run, :parent, :resources, :notifications
    attr_accessor :enclosing_provider

    def initialize(run, parent: nil, unified: false)
      @run = run
      @parent = parent
      @unified = unified
      @resources = []
      @notifications = []
      @done = 0
    end

    def node = run.node
    def root = parent ? parent.root : self
    def child(unified:) = RunContext.new(run, parent: self, unified:)
    def why_run? = run.why_run
    def resource_collection = resources
    def cookbook_collection = run.cookbooks
    def builtin?(resource) = !resource.class.respond_to?(:source)

    def declare(resource)
      resources << resource
      converge if @unified
      resource
    end

    # Runs what has been declared and not been run yet; what that declares comes along.
    def converge
      while @done < resources.size
        resource = resources[@done]
        @done += 1
        resource.action.each { |action| resource.run_action(action) }
      end
    end

    # `type[name]`; the one declared last.
    def find(text, recursive: false)
      type, names = text.to_s.match(/\A([^\[]+)\[(.*)\]\z/m)&.captures
      raise Exceptions::ResourceNotFound, "not a resource's name: #{text}" unless type

      found = resources.reverse_each.find { |one| one.given_name.to_s == names && of?(one, type.to_sym) }
      found || (recursive && parent ? parent.find(text, recursive:) : nil)
    end

    def all_notifications = notifications + (parent ? parent.all_notifications : [])
    def delay(notification, source) = run.delay(notification, source)

    def pretending
      before = run.why_run
      run.why_run = true
      yield
    ensure
      run.why_run = before
    end

    private

    def of?(resource, type)
      resource.declared_type == type || resource.resource_name == type || Resource.registry[type] == resource.class
    end
  end

  # One recipe file.
  class Recipe
    include DSL::Universal
    include DSL::Recipe

    attr_reader :cookbook_name, :recipe_name, :run_context

    def initialize(cookbook_name, recipe_name, run_context)
      @cookbook_name = cookbook_name
      @recipe_name = recipe_name
      @run_context = run_context
    end

    def node = run_context.node
    # A string's evaluation sees the locals around it: the one here has the name that Chef's has.
    def from_file(filename) = instance_eval(::File.read(filename), filename, 1)
    def to_s = "recipe[#{cookbook_name}::#{recipe_name}]"
  end

  # What happened, for people and for the result file.
  module Report
    @events = []
    @depth = 0
    class << self
      attr_reader :events

      def start(resource, action, notified_by)
        because = notified_by ? " (#{notified_by} notifies)" : ''
        Itamae.logger.debug("#{resource} action #{action}#{because}")
      end

      def change(resource, descriptions)
        descriptions.each { |one| Itamae.logger.info("  #{resource}: #{one}") }
      end

      def note(resource, action, outcome, why = nil)
        events << { resource: resource.to_s, action: action.to_s, outcome: }
        said = why ? " (#{outcome.to_s.tr('_', ' ')}: #{why})" : " (#{outcome.to_s.tr('_', ' ')})"
        level = { updated: :info, failed: :error }.fetch(outcome, :debug)
        Itamae.logger.public_send(level, "* #{resource} action #{action}#{said}")
      end

      def updated = events.select { |event| event[:outcome] == :updated }
    end
  end
end
