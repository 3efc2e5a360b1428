# frozen_string_literal: true

# The common part of leader and worker, in the order in which things need each other.

include_recipe 'hub_base::packages'
include_recipe 'hub_base::system'
include_recipe 'hub_base::docker'
include_recipe 'hub_base::guard'
include_recipe 'hub_base::registry'
include_recipe 'hub_base::storage'
include_recipe 'hub_base::updates'
include_recipe 'hub_base::ssh'
