"""The version, in step with the server's."""

__version__ = "0.1.0"
