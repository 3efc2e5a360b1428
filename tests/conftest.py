"""Fixtures that all tests may use."""

pytest_plugins = [
    "tests.plugins.aws",
    "tests.plugins.standing",
    "tests.plugins.metadata",
    "tests.plugins.deployment",
]
