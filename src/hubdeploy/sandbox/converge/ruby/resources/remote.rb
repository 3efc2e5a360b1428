# frozen_string_literal: true

require 'net/http'
require 'uri'

class Chef
  # Fetches over HTTP, or from a file:// address.
  module Download
    HOPS = 5

    module_function

    # The first of the addresses that answers.
    def any(addresses, headers)
      failures = addresses.map do |address|
        return one(address, headers)
      rescue StandardError => e
        "#{address}: #{e.message}"
      end
      raise Exceptions::FileNotFound, failures.join('; ')
    end

    def one(address, headers, hops = HOPS)
      uri = URI(address)
      return ::File.binread(uri.path) if uri.scheme == 'file'

      options = { use_ssl: uri.scheme == 'https', open_timeout: 30, read_timeout: 120 }
      answer = Net::HTTP.start(uri.host, uri.port, **options) do |http|
        http.get(uri.request_uri, headers.to_h.transform_values(&:to_s))
      end
      if answer.is_a?(Net::HTTPRedirection) && hops.positive?
        return one(URI.join(address, answer['location']).to_s, headers, hops - 1)
      end
      raise Exceptions::FileNotFound, "HTTP #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)

      answer.body
    end
  end

  class Resource
    # A whole folder out of the cookbook's files/.
    class RemoteDirectory < Resource
      provides :remote_directory
      default_action :create
      property :path, String, name_property: true
      property :source, String, default: lazy { ::File.basename(path) }
      property :cookbook, String
      property :recursive, [true, false], default: true
      property :purge, [true, false], default: false
      property :owner, [String, Integer]
      property :group, [String, Integer]
      property :mode, [String, Integer]
      property :files_owner, [String, Integer]
      property :files_group, [String, Integer]
      property :files_mode, [String, Integer]

      action :create do
        wanted = new_resource
        from = run_context.run.cookbook(wanted.cookbook || cookbook_name).find('files', wanted.source, node)
        names = Dir.glob('**/*', ::File::FNM_DOTMATCH, base: from)
        names.reject! { |name| ::File.directory?("#{from}/#{name}") }
        folders = names.flat_map { |name| Pathname(name).dirname.descend.map(&:to_s) }.uniq - ['.']
        ['', *folders].each do |folder|
          directory ::File.join(wanted.path, folder).chomp('/') do
            recursive true
            owner wanted.owner
            group wanted.group
            mode wanted.mode
          end
        end
        names.each do |name|
          file ::File.join(wanted.path, name) do
            content ::File.binread("#{from}/#{name}")
            owner wanted.files_owner
            group wanted.files_group
            mode wanted.files_mode
          end
        end
        next unless wanted.purge

        Dir.glob("#{wanted.path}/**/*").select { |path| ::File.file?(path) }.each do |path|
          file(path) { action :delete } unless names.include?(path.delete_prefix("#{wanted.path}/"))
        end
      end
    end
  end
end
