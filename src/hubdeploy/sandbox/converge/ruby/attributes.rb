# frozen_string_literal: true

# A hash that takes strings and symbols alike, as all of Chef's do.
class Mash < Hash
  def self.plain(value)
    case value
    when Hash then value.to_h { |key, item| [key.is_a?(Symbol) ? key.to_s : key, plain(item)] }
    when Array then value.map { |item| plain(item) }
    else value
    end
  end

  def self.wrap(value)
    case value
    when Hash then new(value)
    when Array then value.map { |item| wrap(item) }
    else value
    end
  end

  def initialize(from = nil)
    super()
    from&.each { |key, value| store(key, value) }
  end

  def [](key) = super(name(key))
  def store(key, value) = super(name(key), self.class.wrap(value))
  alias []= store
  def key?(key) = super(name(key))
  alias has_key? key?
  alias include? key?
  alias member? key?
  alias exist? key?
  def fetch(key, *rest, &) = super(name(key), *rest, &)
  def delete(key, &) = super(name(key), &)
  def values_at(*keys) = keys.map { |key| self[key] }
  def slice(*keys) = Mash.new(super(*keys.map { |key| name(key) }))
  def except(*keys) = Mash.new(super(*keys.map { |key| name(key) }))

  def dig(key, *rest)
    found = self[key]
    rest.empty? || found.nil? ? found : found.dig(*rest)
  end
  alias read dig

  def update(other)
    other.each { |key, value| store(key, value) }
    self
  end
  alias merge! update
  def merge(other) = Mash.new(self).update(other)
  def to_h(&block) = block ? super : Mash.plain({}.merge(self))
  def to_hash = Mash.plain({}.merge(self))
  def dup = Mash.new(to_hash)
  alias to_mash dup

  def deep_freeze
    each_value { |value| Mash.freeze_deeply(value) }
    freeze
  end

  def self.freeze_deeply(value)
    case value
    when Mash then value.deep_freeze
    when Array then value.each { |item| freeze_deeply(item) }.freeze
    else value.freeze
    end
  end

  private

  def name(key) = key.is_a?(Symbol) ? key.to_s : key
end

# One precedence level of a node's attributes: written to, it makes what is missing on the way.
class VividMash < Mash
  def self.wrap(value, &) = value.is_a?(Hash) ? new(value, &) : super(value)

  def initialize(from = nil, &changed)
    @changed = changed
    super(from)
  end

  def [](key)
    return super if key?(key)

    store(key, VividMash.new(&@changed))
    super
  end

  def store(key, value)
    value = VividMash.new(value, &@changed) if value.is_a?(Hash) && !value.is_a?(VividMash)
    Hash.instance_method(:store).bind_call(self, name(key), value.is_a?(Array) ? Mash.wrap(value) : value)
    @changed&.call
    value
  end
  alias []= store

  def dig(key, *rest)
    return unless key?(key)

    found = fetch(key)
    rest.empty? || found.nil? ? found : found.dig(*rest)
  end
  alias read dig

  def write(*path, value)
    path[0..-2].inject(self) { |level, key| level[key] }[path.last] = value
  end

  def delete(key)
    @changed&.call
    super
  end
end

class Chef
  # The node: attributes by level, what they come to, and what is asked of a node in recipes.
  class Node
    DEFAULTS = %w[default env_default role_default force_default].freeze
    OVERRIDES = %w[override role_override env_override force_override].freeze
    LEVELS = [*DEFAULTS, 'normal', *OVERRIDES, 'automatic'].freeze

    attr_reader :name, :run_list, :run_state
    attr_accessor :chef_environment, :run_context

    def initialize(name:, run_list:, levels:, chef_environment: '_default')
      @name = name
      @run_list = run_list
      @chef_environment = chef_environment
      @run_state = Mash.new
      @levels = LEVELS.to_h { |level| [level, VividMash.new(levels[level]) { @merged = nil }] }
    end

    LEVELS.each { |level| define_method(level) { @levels[level] } }
    alias set normal

    def [](key) = merged[key]
    def read(*path) = merged.dig(*path)
    alias dig read
    def read!(*path) = path.inject(merged) { |level, key| level.fetch(key) }
    def fetch(...) = merged.fetch(...)
    def attribute?(key) = merged.key?(key)
    alias key? attribute?
    alias exist? attribute?
    def attributes = merged
    def to_h = merged.to_hash
    alias to_hash to_h
    def each(...) = merged.each(...)
    def keys = merged.keys
    def tags = merged['tags'] || []
    def node = self
    def environment = chef_environment
    def save = Log.debug('the node is saved at the end of the run')
    def role?(role) = merged.fetch('roles', []).include?(role)

    def recipe?(name)
      wanted = name.include?('::') ? name : "#{name}::default"
      merged.fetch('recipes', []).any? { |one| (one.include?('::') ? one : "#{one}::default") == wanted }
    end

    # What a level's parts come to, as the server keeps it.
    def combined(level)
      case level
      when 'default' then Deep.within(DEFAULTS.map { |one| Mash.plain(@levels[one]) })
      when 'override' then Deep.within(OVERRIDES.map { |one| Mash.plain(@levels[one]) })
      else Mash.plain(@levels[level])
      end
    end

    def respond_to_missing?(name, _private = false) = merged.key?(name)

    # node.fqdn, node.ipaddress and the like
    def method_missing(name, *args)
      return super unless args.empty? && merged.key?(name)

      merged[name]
    end

    private

    def merged
      @merged ||= Mash.new(
        Deep.across(%w[default normal override automatic].map { |level| combined(level) })
      ).deep_freeze
    end

    # The two ways in which Chef merges attributes.
    module Deep
      module_function

      # Between the parts of one level: hashes deeply, arrays joined without doubles.
      def within(parts) = parts.inject { |onto, other| merge(onto, other, true) }

      # Between levels: hashes deeply, everything else replaced.
      def across(parts) = parts.inject { |onto, other| merge(onto, other, false) }

      def merge(onto, other, join)
        if onto.is_a?(Hash) && other.is_a?(Hash)
          onto.merge(other) { |_, ours, theirs| merge(ours, theirs, join) }
        elsif join && onto.is_a?(Array) && other.is_a?(Array)
          onto | other
        else
          other.nil? ? onto : other
        end
      end
    end
  end
end
