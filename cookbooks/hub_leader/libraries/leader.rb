# frozen_string_literal: true

require 'digest'
require 'json'

# What is installed of the hub and its proxy, for guards; and what the settings mean for TLS.
module HubLeader
  # Decisions from the deployment's `tls` settings.
  module Tls
    module_function

    # For how many seconds browsers are told to come by HTTPS only; nil where they cannot trust the
    # certificate, as they would then lock people out.
    def hsts(tls, seconds)
      tls['kind'] == 'self-signed' || tls['staging'] ? nil : seconds
    end
  end

  # The hub's virtual environment and the wheel it was made from.
  module Wheel
    module_function

    # The wheel that the node agent runs from: its virtual environment is named after the digest.
    # Raises when that file is not there.
    def path(home)
      digest = ::File.basename(::File.realpath("#{home}/venv"))
      ::Dir.glob("#{home}/wheels/*.whl").find { |wheel| sha256(wheel).start_with?(digest) } ||
        raise("#{home}/wheels has no wheel #{digest}, which the agent runs: run hubdeploy-node update")
    end

    def sha256(wheel)
      ::Digest::SHA256.file(wheel).hexdigest
    end

    # The wheel as something that pip installs, checks and records with its digest.
    def requirement(wheel, extra)
      "hubdeploy[#{extra}] @ file://#{wheel}#sha256=#{sha256(wheel)}"
    end

    # Is exactly this wheel installed there, by pip's own record? Its form differs by pip's version.
    def installed?(venv, wheel)
      records = ::Dir.glob("#{venv}/lib/python3*/site-packages/hubdeploy-*.dist-info/direct_url.json")
      records.any? do |record|
        info = ::JSON.parse(::File.read(record))['archive_info'] || {}
        [info.dig('hashes', 'sha256'), info['hash'].to_s.delete_prefix('sha256=')].include?(sha256(wheel))
      end
    end
  end

  # The proxy's node modules.
  module Modules
    module_function

    # Does node_modules hold what the lock file says? npm leaves a lock file of its own in there.
    def installed?(folder)
      locked = packages("#{folder}/package-lock.json")
      !locked.empty? && locked == packages("#{folder}/node_modules/.package-lock.json")
    end

    def packages(lock)
      return {} unless ::File.file?(lock)

      found = ::JSON.parse(::File.read(lock)).fetch('packages', {})
      found.reject { |name, _| name.empty? }.transform_values { |item| item['version'] }
    end
  end
end
