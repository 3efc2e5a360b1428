# frozen_string_literal: true

require 'ipaddr'
require 'json'
require 'time'

# What the machine's state really is, for guards; and arithmetic on the deployment's networks.
module HubBase
  # Reads of units, files and containers. Nothing here changes anything.
  module State
    module_function

    # Does the unit run a process that started before the newest of +paths+ was written? Unlike a
    # notification this also holds after a converge that failed between the write and the restart.
    # Of a symbolic link it is the link's own age that counts.
    def stale?(unit, paths)
      started = started_at(unit)
      written = paths.select { |path| ::File.exist?(path) }.map { |path| ::File.lstat(path).mtime }.max
      !started.nil? && !written.nil? && written > started
    end

    # When the unit's main process was started, or nil when the unit is not active.
    def started_at(unit)
      shown = output('systemctl', 'show', unit, '--timestamp=us+utc',
                     '--property=ActiveState', '--property=ExecMainStartTimestamp')
      values = shown.lines.to_h { |line| line.chomp.split('=', 2) }
      stamp = values['ExecMainStartTimestamp'].to_s
      return if values['ActiveState'] != 'active' || stamp.empty? || stamp == 'n/a'

      Time.parse(stamp)
    end

    # Does this machine's own kernel confine by AppArmor? A container has its host's kernel.
    def apparmor?(enabled = '/sys/module/apparmor/parameters/enabled', container = '/run/systemd/container')
      ::File.exist?(enabled) && ::File.read(enabled).start_with?('Y') && !::File.exist?(container)
    end

    # Are there users' servers (swarm tasks) in this machine's engine?
    def notebooks?
      !output('docker', 'ps', '--quiet', '--filter', 'label=com.docker.swarm.task.id').strip.empty?
    end

    # Does every one of these iptables rules (chain and specification) exist?
    def rules?(*rules)
      rules.all? { |rule| ok?('iptables', '--wait', '30', '--check', *rule) }
    end

    def ok?(*command)
      run(*command).exitstatus.zero?
    rescue ::Errno::ENOENT
      false
    end

    def output(*command)
      found = run(*command)
      found.exitstatus.zero? ? found.stdout : ''
    rescue ::Errno::ENOENT
      ''
    end

    def run(*command)
      ::Mixlib::ShellOut.new(*command, timeout: 60).run_command
    end
  end

  # Debian's names, where they differ between its releases.
  module Packages
    module_function

    # The engine with its command, which is a package of its own from Debian 13 on. Where the kernel has
    # AppArmor the engine needs its parser, or no container starts or all run unconfined.
    def docker(release, apparmor)
      names = %w[docker.io iptables ca-certificates]
      names << 'docker-cli' if release.to_i >= 13
      names << 'apparmor' if apparmor
      names
    end
  end

  # The deployment's `docker_pool`, shared out: the lower half is for each engine's own bridges, the
  # upper half for the swarm, so that neither can take the other's addresses.
  module Pool
    module_function

    # The halves as "ADDRESS/PREFIX".
    def halves(pool)
      net = IPAddr.new(pool)
      prefix = net.prefix + 1
      upper = IPAddr.new(net.to_i + (1 << (32 - prefix)), Socket::AF_INET)
      ["#{net}/#{prefix}", "#{upper}/#{prefix}"]
    end

    # Address and prefix of docker0, the bridge that notebooks are on: the first /22, which has room
    # for a thousand of them on one machine.
    def bridge(pool)
      net = IPAddr.new(pool)
      "#{IPAddr.new(net.to_i + 1, Socket::AF_INET)}/22"
    end
  end

  # Text of settings that is the same whenever the settings are: keys sorted, node attributes made
  # plain, and sizes for people.
  module Text
    module_function

    def json(value)
      "#{::JSON.pretty_generate(plain(value))}\n"
    end

    def plain(value)
      case value
      # by map: to_h of Chef's node attributes heeds no block
      when Hash then value.map { |key, item| [key.to_s, plain(item)] }.sort.to_h
      when Array then value.map { |item| plain(item) }
      else value
      end
    end

    # Bytes as "64G" where that is exact, as JupyterHub and hubdeploy read it; text as it is.
    def size(bytes)
      return bytes if bytes.is_a?(String)

      { 'T' => 40, 'G' => 30, 'M' => 20, 'K' => 10 }.each do |suffix, power|
        return "#{bytes >> power}#{suffix}" if bytes >= (1 << power) && (bytes % (1 << power)).zero?
      end
      bytes.to_s
    end
  end
end
