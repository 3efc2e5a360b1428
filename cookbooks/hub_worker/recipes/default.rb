# frozen_string_literal: true

# A machine for notebooks.

include_recipe 'hub_base::default'
include_recipe 'hub_worker::swarm'
include_recipe 'hub_worker::spot'
include_recipe 'hub_worker::use'
