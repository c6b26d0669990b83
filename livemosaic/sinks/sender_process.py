"""The process of `Sender`."""

from .sender import serve

serve()
