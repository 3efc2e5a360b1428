# frozen_string_literal: true

class Chef
  # One cookbook on disk.
  class Cookbook
    attr_reader :name, :folder, :version, :dependencies

    def initialize(name, folder:, version:, dependencies:)
      @name = name
      @folder = folder
      @version = version
      @dependencies = dependencies
    end

    def recipe(name)
      [::File.join(folder, 'recipes', "#{name}.rb"), *(::File.join(folder, 'recipe.rb') if name == 'default')]
        .find { |path| ::File.file?(path) } ||
        raise(Exceptions::RecipeNotFound, "cookbook #{@name} has no recipe #{name}")
    end

    # default.rb first, as in Chef
    def attributes = ruby('attributes').sort_by { |path| [::File.basename(path) == 'default.rb' ? 0 : 1, path] }
    def libraries = Dir.glob(::File.join(folder, 'libraries', '**', '*.rb'))
    def resources = ruby('resources')

    # The most special one: for the host, the platform and its version, the platform, all.
    def find(segment, source, node)
      platform = node['platform']
      major = node['platform_version'].to_s[/\A\d+/]
      places = ["host-#{node['fqdn']}", "#{platform}-#{node['platform_version']}", "#{platform}-#{major}",
                platform.to_s, 'default', '.']
      Array(source).product(places).map { |one, place| ::File.expand_path(::File.join(folder, segment, place, one)) }
                   .find { |path| ::File.exist?(path) } ||
        raise(Exceptions::FileNotFound, "cookbook #{name} has no #{source} in #{segment}/")
    end

    # A custom resource: the file's body is the class's body.
    def load_resource(path)
      short = ::File.basename(path, '.rb')
      text = ::File.read(path)
      klass = Class.new(Resource)
      klass.define_singleton_method(:source) { path }
      Itamae.logger.warn("#{path} has no unified_mode") unless text.include?('unified_mode')
      unless text.match?(/^\s*(provides|resource_name)\b/)
        klass.provides(short == 'default' ? name : "#{name}_#{short}")
      end
      klass.class_from_file(path)
    end

    private

    def ruby(segment) = Dir.glob(::File.join(folder, segment, '*.rb'))
  end
end
