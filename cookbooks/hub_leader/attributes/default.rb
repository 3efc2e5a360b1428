# frozen_string_literal: true

# nginx runs as a container. Any image with nginx 1.19.5 or newer will do: it gets its whole
# configuration from /etc/hubdeploy/nginx.
default['hub_leader']['nginx']['image'] = 'nginx:1.28-alpine'
# Biggest request body. Notebooks upload in pieces, but some tools send a file at once.
default['hub_leader']['nginx']['max_body'] = '4g'
# Seconds for which browsers remember to come by HTTPS only (two years).
default['hub_leader']['nginx']['hsts_seconds'] = 63_072_000
# How often fetching the image is tried before the converge fails.
default['hub_leader']['nginx']['attempts'] = 5

# Where the node agent is installed, and where the hub's virtual environment, the proxy and the
# leader's state go.
default['hub_leader']['home'] = '/opt/hubdeploy'
default['hub_leader']['venv'] = '/opt/hubdeploy/hub'
default['hub_leader']['proxy'] = '/opt/hubdeploy/proxy'
default['hub_leader']['state'] = '/srv/hubdeploy'
