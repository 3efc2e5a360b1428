# frozen_string_literal: true

name 'hub_leader'
maintainer 'hubdeploy'
license 'BSD-3-Clause'
description 'The leader of a hubdeploy deployment: swarm manager, TLS, JupyterHub'
version '0.1.0'
chef_version '>= 18.0'
supports 'debian', '>= 12.0'
depends 'hub_base'
