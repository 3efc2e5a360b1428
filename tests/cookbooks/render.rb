# frozen_string_literal: true

# Renders templates and calls library functions of the cookbooks, as Chef would, for the tests.
# Reads a JSON list of requests and answers a JSON list of strings or values:
#   {"template": "COOKBOOK/NAME.erb", "variables": {...}}
#   {"call": "Module::Name.function", "arguments": [...]}

require 'erb'
require 'json'

cookbooks = File.expand_path('../../cookbooks', __dir__)
Dir.glob("#{cookbooks}/*/libraries/*.rb").each { |library| require library }

# Hashes in what is asked are like Chef's node attributes in what those do otherwise: to_h heeds no block.
class Attributes < Hash
  def to_h
    {}.merge(self)
  end
end

def rendered(path, variables)
  scope = Object.new
  variables.each { |name, value| scope.instance_variable_set("@#{name}", value) }
  template = ERB.new(File.read(path), trim_mode: '-')
  template.filename = path
  template.result(scope.instance_eval { binding })
end

def called(name, arguments)
  owner, function = name.split('.')
  Object.const_get(owner).public_send(function, *arguments)
end

answers = JSON.parse($stdin.read, object_class: Attributes).map do |request|
  if request['template']
    cookbook, file = request['template'].split('/')
    rendered("#{cookbooks}/#{cookbook}/templates/#{file}", request['variables'])
  else
    called(request['call'], request['arguments'])
  end
end
puts JSON.generate(answers)
