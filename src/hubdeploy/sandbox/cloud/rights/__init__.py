"""Who may do what: every call of a restricted principal is held against its policies."""

from hubdeploy.sandbox.cloud.rights.enforcement import enforce

__all__ = ["enforce"]
