# frozen_string_literal: true

# Names that recipes take from Chef's own libraries: log, settings, errors, commands.

require 'etc'
require 'pathname'
require 'shellwords'
require 'timeout'
require 'tmpdir'

# The part of Chef's namespace that recipes and libraries refer to.
class Chef
  # Errors that a recipe may rescue.
  module Exceptions
    class ValidationFailed < ArgumentError; end
    class ResourceNotFound < StandardError; end
    class RecipeNotFound < StandardError; end
    class CookbookNotFound < StandardError; end
    class FileNotFound < StandardError; end
    class EnclosingDirectoryDoesNotExist < StandardError; end
    class ChecksumMismatch < StandardError; end
    class CurrentValueDoesNotExist < StandardError; end
    class UnsupportedAction < StandardError; end
    class Package < StandardError; end
    class Service < StandardError; end
    class Mount < StandardError; end
    class User < StandardError; end
    class Exec < StandardError; end
  end

  # Chef::Log over itamae's logger.
  module Log
    %i[debug info warn error fatal].each do |level|
      define_singleton_method(level) { |text = nil, &block| Itamae.logger.public_send(level, text || block.call) }
    end
    def self.trace(text = nil, &) = debug(text, &)
    def self.level = Itamae.logger.level
  end

  # Settings of the run, as recipes read them.
  module Config
    @values = {}
    class << self
      def [](key) = @values[key.to_sym]

      def []=(key, value)
        @values[key.to_sym] = value
      end

      def method_missing(name, *) = @values.fetch(name) { super }
      def respond_to_missing?(name, _private = false) = @values.key?(name)
    end
  end

  VERSION = '18.0.0'
end

module Mixlib
  # A command with its output. One string goes through a shell, several words do not.
  class ShellOut
    class ShellCommandFailed < RuntimeError; end
    class CommandTimeout < RuntimeError; end

    TICK = 0.05
    ENVIRONMENT = {
      'LANG' => 'C.UTF-8', 'LANGUAGE' => 'C.UTF-8', 'LC_ALL' => 'C.UTF-8',
      'PATH' => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    }.freeze

    attr_reader :command, :stdout, :stderr, :status

    def initialize(*words, **options)
      @command = words.size == 1 ? words.first : words
      @command = @command.map(&:to_s) if @command.is_a?(Array)
      @options = options
      @stdout = String.new
      @stderr = String.new
    end

    def run_command
      out, out_there = IO.pipe
      err, err_there = IO.pipe
      into = nil
      into, into_there = IO.pipe.reverse if @options[:input]
      pid = Process.spawn(environment, *words, **redirect(out_there, err_there, into_there))
      [out_there, err_there, into_there].compact.each(&:close)
      feed(into)
      @status = follow(pid, { out => @stdout, err => @stderr })
      self
    ensure
      [out, err, into, out_there, err_there, into_there].each { |io| io&.close unless io&.closed? }
    end

    def exitstatus = @status&.exitstatus || (@status&.termsig && (128 + @status.termsig))
    def error? = !Array(@options[:returns] || 0).include?(exitstatus)

    def error!
      return unless error?

      shown = @options[:sensitive] ? '(sensitive)' : "#{Array(command).join(' ')}\n#{stdout}#{stderr}".strip
      raise ShellCommandFailed, "exit status #{exitstatus} of #{shown}"
    end

    def invalid!(message = nil) = raise(ShellCommandFailed, message || "unexpected: #{command}")

    private

    def environment
      given = (@options[:environment] || @options[:env] || {}).to_h
      given = given.to_h { |key, value| [key.to_s, value&.to_s] }
      home = @options[:login] && @options[:user] ? { 'HOME' => person.dir, 'USER' => person.name } : {}
      ENVIRONMENT.merge(home, given)
    end

    def person
      user = @options[:user]
      @person ||= user.to_s.match?(/\A\d+\z/) ? Etc.getpwuid(user.to_i) : Etc.getpwnam(user.to_s)
    end

    def words
      plain = command.is_a?(Array) ? command : ['/bin/sh', '-c', command]
      return as(plain) if @options[:user] || @options[:group]

      # a single word in an array is a program, not a line for the shell
      [[plain.first, plain.first], *plain.drop(1)]
    end

    def as(plain)
      group = @options[:group]
      gid = group.to_s.match?(/\A\d+\z/) ? group.to_s : group && Etc.getgrnam(group.to_s).gid.to_s
      gid ||= person.gid.to_s
      user = @options[:user] ? ['--reuid', person.uid.to_s] : []
      groups = @options[:user] ? '--init-groups' : '--clear-groups'
      ['/usr/bin/setpriv', *user, '--regid', gid, groups, '--', *plain]
    end

    def redirect(out, err, into)
      place = { out:, err:, in: into || '/dev/null', pgroup: true, close_others: true }
      place[:chdir] = @options[:cwd].to_s if @options[:cwd]
      mask = @options[:umask]
      place[:umask] = mask.is_a?(String) ? mask.oct : mask if mask
      place
    end

    def feed(into)
      return unless into

      into.write(@options[:input])
    rescue Errno::EPIPE
      Chef::Log.debug("#{command} did not read its input")
    ensure
      into&.close
    end

    # Reads until the process ends; a daemon that keeps the pipes open is not waited for.
    def follow(pid, buffers)
      deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + (@options[:timeout] || 600).to_f
      loop do
        ended = Process.wait2(pid, Process::WNOHANG)
        drain(buffers, ended ? 0 : TICK)
        return ended.last if ended
        next if Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline

        Process.kill(:KILL, -pid)
        Process.wait(pid)
        raise CommandTimeout, "no end after #{@options[:timeout] || 600} s: #{Array(command).join(' ')}"
      end
    end

    def drain(buffers, seconds)
      return sleep(seconds) if buffers.empty?

      while (ready = IO.select(buffers.keys, nil, nil, seconds)&.first)
        seconds = 0
        ready.each do |io|
          piece = io.read_nonblock(65_536, exception: false)
          next if piece == :wait_readable
          next buffers.delete(io) if piece.nil?

          buffers[io] << piece
          live(piece)
        end
        return if buffers.empty?
      end
    end

    def live(piece)
      stream = @options[:live_stream]
      stream = $stdout if stream == true
      stream << piece if stream.respond_to?(:<<)
    end
  end
end
