"""hubdeploy: an autoscaling JupyterHub on AWS, rehearsed on one machine first."""

__version__ = "0.1.0"
