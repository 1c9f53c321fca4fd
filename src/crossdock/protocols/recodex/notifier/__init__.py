"""The notifier, which tells the web application how jobs ended."""

from crossdock.protocols.recodex.notifier.delivery import Notifier, NotifierOptions

__all__ = ["Notifier", "NotifierOptions"]
