# frozen_string_literal: true

require_relative 'property'
require_relative 'guard'
require_relative 'provider'

class Chef
  # A thing on the machine and how it should be. Built-in and custom resources are both written with it.
  class Resource
    extend Properties
    include DSL::Universal

    @registry = {}
    class << self
      attr_reader :registry

      def inherited(subclass)
        super
        own = Class.new(provider_class)
        subclass.instance_variable_set(:@provider_class, own)
      end

      def provider_class = @provider_class || Provider

      def class_from_file(filename) = class_eval(::File.read(filename), filename, 1)

      # The name in recipes; several may lead to one class.
      def provides(*names, **_only)
        names.each do |name|
          Resource.registry[name.to_sym] = self
          DSL::Resources.add(name.to_sym)
        end
        @resource_name = names.first.to_sym if @resource_name.nil?
      end

      def resource_name(name = nil)
        return @resource_name if name.nil?

        provides(name)
        @resource_name = name.to_sym
      end

      def action(name, description: nil, &block) # rubocop:disable Lint/UnusedMethodArgument
        (@actions ||= []) << name.to_sym
        provider_class.define_method("action_#{name}", &block)
      end

      def actions = (superclass.respond_to?(:actions) ? superclass.actions : [:nothing]) | (@actions || [])
      alias allowed_actions actions

      def default_action(*names)
        @default_action = names.flatten.map(&:to_sym) unless names.empty?
        return @default_action if @default_action
        return superclass.default_action if superclass < Resource

        [(@actions || [:nothing]).first]
      end

      def action_class(&block)
        provider_class.class_eval(&block) if block
        provider_class
      end

      def load_current_value(&block) = block ? @loader = block : @loader
      def loader = @loader || (superclass.loader if superclass.respond_to?(:loader))

      def unified_mode(value = nil)
        value.nil? ? @unified_mode : @unified_mode = value
      end

      # Texts and declarations that matter to Chef's own documentation and checks only.
      %i[description introduced examples chef_version_for_provides deprecated preview_resource].each do |name|
        define_method(name) { |*_args| nil }
      end
    end

    property :retries, Integer, default: 0, desired_state: false
    property :retry_delay, Integer, default: 2, desired_state: false
    property :ignore_failure, [true, false, :quiet, 'quiet'], default: false, desired_state: false
    property :sensitive, [true, false], default: false, desired_state: false
    property :umask, desired_state: false
    property :guard_interpreter, Symbol, default: :default, desired_state: false

    attr_reader :name, :run_context, :values, :guards
    attr_accessor :cookbook_name, :recipe_name, :enclosing_provider, :declared_type

    def initialize(name, run_context = nil)
      @name = name.is_a?(Array) ? name.join(', ') : name
      @run_context = run_context
      @values = {}
      @guards = []
      @updated_by_last_action = false
      @updated = false
    end

    # The name as it stands in the recipe, whatever a property called name makes of it.
    def given_name = @name
    def resource_name = self.class.resource_name
    def node = run_context.node
    def to_s = "#{declared_type || resource_name}[#{given_name}]"
    alias inspect to_s

    def action(*names)
      @action = names.flatten.map(&:to_sym) unless names.empty?
      @action || self.class.default_action
    end
    alias action= action
    def nothing = :nothing

    def only_if(command = nil, **options, &block) = guards << Guard.new(self, true, command || block, options)
    def not_if(command = nil, **options, &block) = guards << Guard.new(self, false, command || block, options)

    # How a guard's command runs where the guard itself does not say.
    def guard_options = {}

    def notifies(action, target, timing = :delayed)
      run_context.notifications << Notification.new(self, action, target, timing, run_context)
    end

    def subscribes(action, source, timing = :delayed)
      Array(source).each do |one|
        run_context.notifications << Notification.new(one, action, self, timing, run_context)
      end
    end

    def property_is_set?(name) = values.key?(name.to_sym)
    def reset_property(name) = values.delete(name.to_sym)
    def lookup_provider_constant(*) = nil

    def updated_by_last_action(value = nil)
      return @updated_by_last_action if value.nil?

      @updated ||= value
      @updated_by_last_action = value
    end
    alias updated_by_last_action? updated_by_last_action
    # By any of its actions, in this run.
    def updated? = @updated

    # In a custom resource, bare names of the action that declares this one.
    def respond_to_missing?(name, private = false)
      (!enclosing_provider.nil? && enclosing_provider.respond_to?(name, true)) || super
    end

    def method_missing(name, *args, &)
      return super unless respond_to_missing?(name, true)

      enclosing_provider.send(name, *args, &)
    end

    # Raised by load_current_value when there is nothing yet.
    def current_value_does_not_exist! = raise(Exceptions::CurrentValueDoesNotExist)

    def check_required(action)
      self.class.properties.each_value do |property|
        next unless property.required?(action) && property.read(self).nil?

        raise Exceptions::ValidationFailed, "#{self}: property #{property.name} is required"
      end
    end

    def run_action(action, notified_by: nil) = ActionRun.new(self, action, notified_by).call
  end
end
