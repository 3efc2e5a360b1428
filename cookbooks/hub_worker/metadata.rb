# frozen_string_literal: true

name 'hub_worker'
maintainer 'hubdeploy'
license 'BSD-3-Clause'
description 'A worker of a hubdeploy deployment: joins the swarm and runs users\' notebooks'
version '0.1.0'
chef_version '>= 18.0'
supports 'debian', '>= 12.0'
depends 'hub_base'
