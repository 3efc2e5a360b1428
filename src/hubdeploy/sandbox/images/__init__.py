"""The container images that the rehearsal needs, built from the distribution's own packages."""
