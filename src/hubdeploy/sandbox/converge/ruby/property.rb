# frozen_string_literal: true

class Chef
  # A value that is worked out when it is asked for.
  class DelayedEvaluator < Proc; end

  # One property of a resource class: what it takes, and what it is when nothing was said.
  class Property
    VALIDATIONS = %i[equal_to regex callbacks].freeze

    attr_reader :name, :options

    def initialize(name, types, options)
      @name = name
      @types = types
      @options = options
    end

    def read(resource)
      return output(resource, resource.values[name]) if resource.values.key?(name)
      return resource.given_name if options[:name_property] || options[:name_attribute]

      default = options[:default]
      default.is_a?(DelayedEvaluator) ? accept(resource, call(resource, default)) : default
    end

    def write(resource, value)
      return resource.values.delete(name) if value.nil? && options.key?(:default) && !nil_allowed?

      value = accept(resource, value) unless value.is_a?(DelayedEvaluator)
      resource.values[name] = value
    end

    def required?(action)
      wanted = options[:required]
      wanted.is_a?(Array) ? wanted.include?(action) : wanted
    end

    def desired_state? = options.fetch(:desired_state, true) && !options[:name_property] && !options[:identity]
    def sensitive? = options[:sensitive]

    private

    def output(resource, value)
      value.is_a?(DelayedEvaluator) ? accept(resource, call(resource, value)) : value
    end

    def call(resource, block, *args)
      block.arity > args.size ? block.call(resource, *args) : resource.instance_exec(*args, &block)
    end

    def nil_allowed? = @types.any?(&:nil?) || (options.key?(:default) && options[:default].nil?)

    def accept(resource, value)
      value = call(resource, options[:coerce], value) if options[:coerce] && !value.nil?
      return value if value.nil? && (nil_allowed? || !options.key?(:default))

      refuse(resource, value, "must be one of #{@types.inspect}") unless @types.empty? || type?(value)
      validate(resource, value)
      value
    end

    def type?(value) = @types.any? { |type| type === value } # rubocop:disable Style/CaseEquality

    def validate(resource, value)
      allowed = options[:equal_to]
      refuse(resource, value, "must be one of #{allowed.inspect}") if allowed && !Array(allowed).include?(value)
      patterns = Array(options[:regex])
      fits = patterns.empty? || patterns.any? { |one| one.match?(value.to_s) }
      refuse(resource, value, 'has the wrong form') unless fits
      (options[:callbacks] || {}).each { |message, check| refuse(resource, value, message) unless check.call(value) }
    end

    def refuse(resource, value, why)
      shown = sensitive? ? '(sensitive)' : value.inspect
      raise Exceptions::ValidationFailed, "#{resource}: property #{name} #{why}, is #{shown}"
    end
  end

  # Class methods of resources: properties and what follows from them.
  module Properties
    # Chef's resources keep values of their own under these names: a property's default would be lost.
    TAKEN = %i[action before default_guard_interpreter deprecated elapsed_time executed_by_runner
               guard_interpreter not_if only_if params provider source_line updated
               updated_by_last_action].freeze

    def properties = (superclass.respond_to?(:properties) ? superclass.properties : {}).merge(@properties || {})

    def property(name, *types, **options)
      name = name.to_sym
      raise ArgumentError, "no property can be called #{name}" if respond_to?(:source) && TAKEN.include?(name)

      types = types.flatten + Array(options.delete(:is)) + Array(options.delete(:kind_of))
      inherited = properties[name]
      options = inherited.options.merge(options) if inherited && types.empty?
      property = Property.new(name, types, options)
      (@properties ||= {})[name] = property
      define_method(name) do |*args, &block|
        next property.write(self, args.first) unless args.empty?
        next property.write(self, block) if block && types.include?(Proc)

        property.read(self)
      end
      define_method("#{name}=") { |value| property.write(self, value) }
    end
    alias attribute property

    def lazy(&) = DelayedEvaluator.new(&)

    # A second name for a property.
    def property_alias(name, other)
      alias_method(other, name)
      alias_method("#{other}=", "#{name}=")
    end
  end
end
