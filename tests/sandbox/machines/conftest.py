"""Machines as containers for these tests."""

from tests.plugins.machines import docker_engine, lab, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
