# frozen_string_literal: true

name 'hub_base'
maintainer 'hubdeploy'
license 'BSD-3-Clause'
description 'What leader and workers of a hubdeploy deployment share: Docker, users\' files, updates'
version '0.1.0'
chef_version '>= 18.0'
supports 'debian', '>= 12.0'
