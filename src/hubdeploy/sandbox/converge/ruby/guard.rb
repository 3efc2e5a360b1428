# frozen_string_literal: true

class Chef
  # only_if (+wanted+ true) or not_if: a shell command, or a block.
  class Guard
    INTERPRETERS = { bash: '/bin/bash', sh: '/bin/sh', ruby: 'ruby', python: 'python3' }.freeze

    def initialize(resource, wanted, test, options)
      @resource = resource
      @wanted = wanted
      @test = test
      @options = options
    end

    def holds? = (value ? true : false) == @wanted
    def to_s = "#{@wanted ? 'only_if' : 'not_if'}#{@test.is_a?(Proc) ? ' { block }' : " \"#{@test}\""}"

    private

    def value
      return @test.call if @test.is_a?(Proc)

      interpreter = INTERPRETERS[@resource.guard_interpreter]
      words = interpreter && @test.is_a?(String) ? [interpreter, '-c', @test] : @test
      given = @options.slice(:user, :group, :cwd, :environment, :env, :umask, :timeout)
      options = { timeout: 600, **@resource.guard_options, **given }
      !Mixlib::ShellOut.new(words, **options).run_command.error?
    end
  end

  # "When +source+ changes, do +action+ to +target+", either of which may be a name so far.
  class Notification
    TIMINGS = { delayed: :delayed, delay: :delayed, immediately: :immediately, immediate: :immediately,
                before: :before }.freeze

    attr_reader :action, :timing, :run_context

    def initialize(source, action, target, timing, run_context)
      @source = source
      @action = action.to_sym
      @target = target
      @timing = TIMINGS.fetch(timing.to_sym)
      @run_context = run_context
    end

    def from?(resource)
      @source.is_a?(Resource) ? @source.equal?(resource) : run_context.find(@source, recursive: true).equal?(resource)
    end

    # Found as late as possible: a recipe may notify what it declares further down.
    def target
      return @target if @target.is_a?(Resource)

      run_context.find(@target, recursive: true) ||
        raise(Exceptions::ResourceNotFound, "#{@source} notifies #{@target}, which is nowhere declared")
    end

    def key = [target.object_id, action]
  end
end
