# frozen_string_literal: true

require 'erb'

class Chef
  # What a template sees: its variables, the node, helpers, partials.
  class TemplateContext
    include DSL::Universal

    # Erubis, which Chef uses, drops lines that hold nothing but a statement; ERB only on demand.
    ALONE = /^[ \t]*<%-?(?![=%-])((?:(?!%>).)*?)-?%>[ \t]*\r?\n/m

    attr_reader :node, :cookbook_name, :recipe_name

    def initialize(resource, variables)
      @node = resource.node
      @cookbook_name = resource.cookbook_name
      @recipe_name = resource.recipe_name
      @resource = resource
      variables.to_h.each { |key, value| instance_variable_set("@#{key}", value) }
      resource.helper_modules.each { |one| extend(one) }
    end

    def render_file(path)
      text = ::File.read(path).gsub(ALONE) { "<%-#{Regexp.last_match(1)}-%>\n" }
      template = ERB.new(text, trim_mode: '-')
      template.filename = path
      template.result(binding)
    end

    def render(partial, options = {})
      variables = options[:variables] || instance_variables.to_h { |one| [one.to_s[1..], instance_variable_get(one)] }
      path = options[:local] ? partial : @resource.template_path(options[:source] || partial, options[:cookbook])
      TemplateContext.new(@resource, variables).render_file(path)
    end

    # As in Chef, for templates that ask for what may be missing.
    def method_missing(name, ...)
      raise NameError, "undefined method '#{name}' in a template of #{@resource}"
    end

    def respond_to_missing?(*) = false
  end

  class Resource
    # A file rendered from the cookbook's templates/.
    class Template < File
      provides :template
      default_action :create
      property :source, [String, Array], default: lazy { "#{::File.basename(path)}.erb" }
      property :cookbook, String
      property :local, [true, false], default: false
      property :variables, Hash, default: {}

      def helper_modules = @helper_modules ||= []

      def helper(name, &block)
        helper_modules << Module.new.tap { |one| one.define_method(name, &block) }
      end

      def helpers(one = nil, &block)
        helper_modules << (one || Module.new(&block))
      end

      def template_path(name, from = nil)
        run_context.run.cookbook(from || cookbook || cookbook_name).find('templates', name, node)
      end

      action_class do
        def wanted_content
          path = new_resource.local ? new_resource.source : new_resource.template_path(new_resource.source)
          TemplateContext.new(new_resource, new_resource.variables).render_file(path)
        end
      end
    end
  end
end
