# frozen_string_literal: true

class Chef
  class Resource
    # A group and its members.
    class Group < Resource
      provides :group
      default_action :create
      property :group_name, String, name_property: true
      property :gid, [String, Integer]
      property :members, [String, Array], default: [], coerce: proc { |value| [value].flatten }
      property :excluded_members, [String, Array], default: [], coerce: proc { |value| [value].flatten }
      property :append, [true, false], default: false
      property :system, [true, false], default: false

      action_class do
        def entry
          Etc.getgrnam(new_resource.group_name)
        rescue ArgumentError
          nil
        end

        def tell(*words) = shell_out!(*words, new_resource.group_name)

        def settle_members(there)
          wanted = new_resource.members
          add = wanted - there
          keep = new_resource.append || !new_resource.property_is_set?(:members)
          remove = keep ? there & new_resource.excluded_members : there
          changes = add.to_h { |one| [one, '-a'] }.merge((remove - wanted).to_h { |one| [one, '-d'] })
          changes.each do |one, how|
            converge_by("#{how} #{one}, #{new_resource.group_name}") { tell('gpasswd', how, one) }
          end
        end

        def settle_number
          return unless new_resource.gid && new_resource.gid.to_i != entry.gid

          converge_by("give #{new_resource.group_name} the id #{new_resource.gid}") do
            tell('groupmod', '-g', new_resource.gid.to_s)
          end
        end
      end

      action :create do
        if entry
          settle_number
        else
          number = new_resource.gid ? ['-g', new_resource.gid.to_s] : []
          converge_by("create #{new_resource}") { tell('groupadd', *number, *('-r' if new_resource.system)) }
        end
        settle_members(entry&.mem.to_a)
      end

      action(:manage) { action_modify }

      action :modify do
        next unless entry

        settle_number
        settle_members(entry.mem)
      end

      action(:remove) { converge_by("remove #{new_resource}") { tell('groupdel') } if entry }
    end

    # An account.
    class User < Resource
      provides :user, :linux_user
      default_action :create
      property :username, String, name_property: true
      property :comment, String
      property :uid, [String, Integer, nil]
      property :gid, [String, Integer, nil]
      property :home, String
      property :shell, String
      property :password, String, sensitive: true
      property :system, [true, false], default: false
      property :manage_home, [true, false], default: false
      property :non_unique, [true, false], default: false
      property :force, [true, false], default: false

      action_class do
        def entry
          Etc.getpwnam(new_resource.username)
        rescue ArgumentError
          nil
        end

        # [option, wanted, is]
        def table
          there = entry
          [['-c', new_resource.comment, there&.gecos], ['-u', new_resource.uid&.to_i, there&.uid],
           ['-g', new_resource.gid && Files.gid(new_resource.gid), there&.gid],
           ['-d', new_resource.home, there&.dir], ['-s', new_resource.shell, there&.shell]]
        end

        def options
          differing = table.reject { |_, wanted, is| wanted.nil? || wanted == is }
          differing.flat_map { |key, wanted, _| [key, wanted.to_s] }
        end

        def settle_password
          wanted = new_resource.password
          return if wanted.nil? || Host.line(:get_user_encrypted_password, new_resource.username) == wanted

          converge_by("set the password of #{new_resource}") do
            shell_out!('chpasswd', '--encrypted', input: "#{new_resource.username}:#{wanted}\n", sensitive: true)
          end
        end
      end

      action :create do
        if entry
          action_modify
        else
          flags = [*('-r' if new_resource.system), new_resource.manage_home ? '-m' : '-M',
                   *('-o' if new_resource.non_unique)]
          converge_by("create #{new_resource}") { shell_out!('useradd', *options, *flags, new_resource.username) }
          settle_password
        end
      end

      action :modify do
        next unless entry

        changes = options
        unless changes.empty?
          changes += ['-m'] if new_resource.manage_home && changes.include?('-d')
          converge_by("change #{new_resource}: #{changes.join(' ')}") do
            shell_out!('usermod', *changes, new_resource.username)
          end
        end
        settle_password
      end
      action(:manage) { action_modify }

      action :remove do
        next unless entry

        flags = [*('-r' if new_resource.manage_home), *('-f' if new_resource.force)]
        converge_by("remove #{new_resource}") { shell_out!('userdel', *flags, new_resource.username) }
      end

      { lock: ['-L', false], unlock: ['-U', true] }.each do |name, (option, locked)|
        action name do
          is = Host.line(:get_user_encrypted_password, new_resource.username).to_s.start_with?('!')
          next unless is == locked

          converge_by("#{name} #{new_resource}") { shell_out!('usermod', option, new_resource.username) }
        end
      end
    end
  end
end
