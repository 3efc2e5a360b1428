# frozen_string_literal: true

class Chef
  # Where an action's block runs: knows the wanted and the current state, may declare resources inside.
  class Provider
    include DSL::Universal
    include DSL::Recipe

    attr_reader :new_resource, :current_resource, :run_context, :action

    def initialize(new_resource, action)
      @new_resource = new_resource
      @action = action
      @run_context = new_resource.run_context.child(
        unified: new_resource.class.unified_mode || new_resource.run_context.builtin?(new_resource)
      )
      @run_context.enclosing_provider = self
    end

    def node = run_context.node
    def cookbook_name = new_resource.cookbook_name
    def recipe_name = new_resource.recipe_name
    def why_run? = run_context.why_run?
    def action_nothing = nil

    def load_current
      loader = new_resource.class.loader
      return unless loader

      current = bare_copy
      current.instance_exec(*[new_resource].first(loader.arity.abs), &loader)
      @current_resource = current
    rescue Exceptions::CurrentValueDoesNotExist
      @current_resource = nil
    end

    # Do it, unless only asked what would be done; the resource counts as changed.
    def converge_by(*descriptions)
      Report.change(new_resource, descriptions.flatten) unless new_resource.sensitive
      yield if block_given? && !why_run?
      new_resource.updated_by_last_action(true)
    end

    # Do it when there is nothing yet, or when one of the properties that were set (or of those named)
    # differs from what is there.
    def converge_if_changed(*names, &)
      names = names.flatten.map(&:to_sym)
      names = new_resource.class.properties.values.select(&:desired_state?).map(&:name) if names.empty?
      changed = names.select { |name| new_resource.property_is_set?(name) && differs?(name) }
      return false if changed.empty? && current_resource

      converge_by(changed.map { |name| describe(name) }, &)
      true
    end

    # Methods that a custom resource defines beside its properties can be called from its actions.
    # Properties can not, as in Chef: that is what new_resource is for.
    def respond_to_missing?(name, private = false) = own_method?(name) || super

    def method_missing(name, *args, &)
      own_method?(name) ? new_resource.public_send(name, *args, &) : super
    end

    private

    # What names the thing, without how it should be.
    def bare_copy
      copy = new_resource.class.new(new_resource.given_name, new_resource.run_context)
      new_resource.class.properties.each_value do |property|
        next if property.desired_state? || !new_resource.property_is_set?(property.name)

        copy.values[property.name] = property.read(new_resource)
      end
      copy
    end

    def own_method?(name)
      return false unless @new_resource && !new_resource.class.properties.key?(name)

      new_resource.class.public_method_defined?(name) && !Resource.public_method_defined?(name)
    end

    def differs?(name)
      current_resource.nil? || current_resource.public_send(name) != new_resource.public_send(name)
    end

    def describe(name)
      property = new_resource.class.properties[name]
      return "set #{name} to (sensitive)" if property.sensitive? || new_resource.sensitive

      was = current_resource ? " (was #{current_resource.public_send(name).inspect})" : ''
      "set #{name} to #{new_resource.public_send(name).inspect}#{was}"
    end
  end

  # One action of one resource: guards, retries, notifications, report.
  class ActionRun
    def initialize(resource, action, notified_by)
      @resource = resource
      @action = action.to_sym
      @notified_by = notified_by
    end

    def call
      @resource.updated_by_last_action(false)
      return Report.note(@resource, @action, :skipped, 'action nothing') if @action == :nothing

      Report.start(@resource, @action, @notified_by)
      unheld = @resource.guards.find { |guard| !guard.holds? }
      return Report.note(@resource, @action, :skipped, unheld) if unheld

      before
      perform
      Report.note(@resource, @action, @resource.updated_by_last_action? ? :updated : :up_to_date)
      notify
    end

    private

    def notifications(*timings)
      @resource.run_context.all_notifications.select { |one| timings.include?(one.timing) && one.from?(@resource) }
    end

    def before
      waiting = notifications(:before)
      return if waiting.empty?

      @resource.run_context.pretending { perform }
      changed = @resource.updated_by_last_action?
      @resource.updated_by_last_action(false)
      waiting.each { |one| one.target.run_action(one.action, notified_by: @resource) } if changed
    end

    def notify
      return unless @resource.updated_by_last_action?

      notifications(:immediately).each { |one| one.target.run_action(one.action, notified_by: @resource) }
      notifications(:delayed).each { |one| @resource.run_context.delay(one, @resource) }
      # running a target may have been this very resource's own doing
      @resource.updated_by_last_action(true)
    end

    def perform
      attempts = @resource.retries + 1
      begin
        once
      rescue StandardError => e
        attempts -= 1
        if attempts.positive?
          Log.warn("#{@resource} failed (#{e.message}), again in #{@resource.retry_delay} s")
          sleep @resource.retry_delay
          retry
        end
        Report.note(@resource, @action, :failed, e)
        raise unless @resource.ignore_failure
      end
    end

    def once
      @resource.check_required(@action)
      provider = @resource.class.provider_class.new(@resource, @action)
      method = "action_#{@action}"
      raise Exceptions::UnsupportedAction, "#{@resource} has no action #{@action}" unless provider.respond_to?(method)

      begin
        provider.load_current
        provider.public_send(method)
        provider.run_context.converge
      ensure
        @resource.updated_by_last_action(true) if provider.run_context.resources.any?(&:updated?)
      end
    end
  end
end
