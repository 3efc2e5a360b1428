# frozen_string_literal: true

require 'digest'
require 'fileutils'
require 'tempfile'

class Chef
  # Owner, group and mode of a path, and whole files written at once.
  module Files
    module_function

    def octal(mode) = mode.is_a?(String) ? mode.oct : mode

    def uid(owner)
      return if owner.nil?

      owner.to_s.match?(/\A\d+\z/) ? owner.to_i : Etc.getpwnam(owner.to_s).uid
    end

    def gid(group)
      return if group.nil?

      group.to_s.match?(/\A\d+\z/) ? group.to_i : Etc.getgrnam(group.to_s).gid
    end

    # What differs, as { what => [is, should be] }; all of it of a path that is not there.
    def differences(path, wanted)
      stat = ::File.exist?(path) ? ::File.stat(path) : nil
      {
        'owner' => [stat&.uid, uid(wanted.owner)],
        'group' => [stat&.gid, gid(wanted.group)],
        'mode' => [stat && (stat.mode & 0o7777), octal(wanted.mode)]
      }.reject { |_, (is, should)| should.nil? || is == should }
    end

    def settle(path, wanted)
      ::File.chown(uid(wanted.owner), gid(wanted.group), path) if wanted.owner || wanted.group
      ::File.chmod(octal(wanted.mode), path) if wanted.mode
    end

    # Through a neighbour and a rename: a reader sees the old file or the new one.
    def write(path, content, wanted)
      target = ::File.symlink?(path) ? ::File.realpath(path) : path
      old = ::File.exist?(target) ? ::File.stat(target) : nil
      Tempfile.create('.converge', ::File.dirname(target)) do |file|
        file.binmode
        file.write(content)
        file.close
        ::File.chmod(old ? old.mode & 0o7777 : 0o666 & ~::File.umask, file.path)
        ::File.chown(old.uid, old.gid, file.path) if old
        settle(file.path, wanted)
        yield file.path if block_given?
        ::File.rename(file.path, target)
        FileUtils.touch(file.path) # Tempfile.create wants something to remove
      end
    end
  end

  class Resource
    # A file and its content.
    class File < Resource
      provides :file
      default_action :create
      property :path, String, name_property: true
      property :content, [String, nil], default: nil
      property :owner, [String, Integer]
      property :group, [String, Integer]
      property :mode, [String, Integer]
      property :checksum, String
      property :backup, default: 5
      property :atomic_update, [true, false], default: true
      property :force_unlink, [true, false], default: false
      property :manage_symlink_source, [true, false]
      property_alias :owner, :user

      def verifications = @verifications ||= []

      def verify(command = nil, **_options, &block)
        verifications << (command || block)
      end

      action_class do
        # nil: only the file's being there matters
        def wanted_content = new_resource.content

        def check_place
          folder = ::File.dirname(new_resource.path)
          # a folder that another resource would have made is not there when nothing is really done
          return if ::File.directory?(folder) || why_run?

          raise Exceptions::EnclosingDirectoryDoesNotExist, "#{new_resource}: there is no folder #{folder}"
        end

        def write(content)
          Files.write(new_resource.path, content, new_resource) do |path|
            new_resource.verifications.each { |one| verify(one, path) }
          end
        end

        def verify(one, path)
          good = one.is_a?(Proc) ? one.call(path) : !shell_out(one.gsub('%{path}', path.shellescape)).error? # rubocop:disable Style/FormatStringToken
          raise Exceptions::ValidationFailed, "#{new_resource}: the new content does not pass #{one}" unless good
        end
      end

      action :create do
        path = new_resource.path
        raise Exceptions::ValidationFailed, "#{new_resource}: #{path} is a folder" if ::File.directory?(path)

        content = wanted_content
        there = ::File.exist?(path)
        if !there || (content && ::File.binread(path) != content.b)
          check_place
          converge_by("#{there ? 'update' : 'create'} #{path}") { write(content || '') }
        elsif (changes = Files.differences(path, new_resource)).any?
          converge_by("change #{changes.keys.join(', ')} of #{path}") { Files.settle(path, new_resource) }
        end
      end

      action(:create_if_missing) { action_create unless ::File.exist?(new_resource.path) }

      action :delete do
        path = new_resource.path
        next unless ::File.exist?(path) || ::File.symlink?(path)

        converge_by("delete #{path}") { ::File.unlink(path) }
      end

      action :touch do
        action_create
        converge_by("touch #{new_resource.path}") { FileUtils.touch(new_resource.path) }
      end
    end

    # A file out of the cookbook's files/.
    class CookbookFile < File
      provides :cookbook_file
      default_action :create
      property :source, [String, Array], default: lazy { ::File.basename(path) }
      property :cookbook, String

      action_class do
        def wanted_content
          cookbook = run_context.run.cookbook(new_resource.cookbook || cookbook_name)
          ::File.binread(cookbook.find('files', new_resource.source, node))
        end
      end
    end

    # A file fetched from elsewhere.
    class RemoteFile < File
      provides :remote_file
      default_action :create
      property :source, [String, Array], required: [:create]
      property :headers, Hash, default: {}
      property :use_conditional_get, [true, false], default: true
      property :show_progress, [true, false], default: false

      action_class do
        def wanted_content
          path = new_resource.path
          sum = new_resource.checksum
          return if sum && ::File.file?(path) && Digest::SHA256.file(path).hexdigest == sum.downcase

          content = Download.any(Array(new_resource.source), new_resource.headers)
          return content if sum.nil? || Digest::SHA256.hexdigest(content) == sum.downcase

          raise Exceptions::ChecksumMismatch, "#{new_resource}: what came is not what the checksum says"
        end
      end
    end

    # A folder.
    class Directory < Resource
      provides :directory
      default_action :create
      property :path, String, name_property: true
      property :recursive, [true, false], default: false
      property :owner, [String, Integer]
      property :group, [String, Integer]
      property :mode, [String, Integer]
      property_alias :owner, :user

      action :create do
        path = new_resource.path
        if ::File.directory?(path)
          changes = Files.differences(path, new_resource)
          next if changes.empty?

          converge_by("change #{changes.keys.join(', ')} of #{path}") { Files.settle(path, new_resource) }
          next
        end
        unless new_resource.recursive || ::File.directory?(::File.dirname(path)) || why_run?
          raise Exceptions::EnclosingDirectoryDoesNotExist, "#{new_resource}: there is no #{::File.dirname(path)}"
        end

        converge_by("create #{path}") do
          new_resource.recursive ? FileUtils.mkdir_p(path) : Dir.mkdir(path)
          Files.settle(path, new_resource)
        end
      end

      action :delete do
        path = new_resource.path
        next unless ::File.directory?(path)

        converge_by("delete #{path}") { new_resource.recursive ? FileUtils.rm_r(path) : Dir.rmdir(path) }
      end
    end

    # A symbolic or hard link.
    class Link < Resource
      provides :link
      default_action :create
      property :target_file, String, name_property: true
      property :to, String, required: [:create]
      property :link_type, [Symbol, String], default: :symbolic, coerce: proc { |value| value.to_sym }
      property :owner, [String, Integer]
      property :group, [String, Integer]

      action_class do
        def symbolic? = new_resource.link_type == :symbolic

        def right?(path)
          there = new_resource.to
          return ::File.symlink?(path) && ::File.readlink(path) == there if symbolic?

          ::File.exist?(path) && ::File.identical?(path, there)
        end
      end

      action :create do
        path = new_resource.target_file
        next if right?(path)

        converge_by("link #{path} to #{new_resource.to}") do
          ::File.unlink(path) if ::File.symlink?(path) || ::File.file?(path)
          ::File.public_send(symbolic? ? :symlink : :link, new_resource.to, path)
          ::File.lchown(Files.uid(new_resource.owner), Files.gid(new_resource.group), path)
        end
      end

      action :delete do
        path = new_resource.target_file
        converge_by("delete #{path}") { ::File.unlink(path) } if ::File.symlink?(path)
      end
    end
  end
end
