"""Converging a machine without Chef's client: the same recipes, run with Debian's itamae.

For rehearsals and tests only: where cinc-client or chef-client is installed, that is used.
``main`` is the command, ``ruby/`` holds what runs the recipes; everything that concerns the Chef
server (registration, roles, cookbooks, search, the saved node) is done here in Python.
"""
