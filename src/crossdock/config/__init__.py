"""One frozen configuration from a TOML file, the environment and options."""

from crossdock.config.checks import artifacts_path as artifacts_path
from crossdock.config.checks import listen_address as listen_address
from crossdock.config.checks import store_path as store_path
from crossdock.config.evaluating import Evaluation as Evaluation
from crossdock.config.evaluating import Files as Files
from crossdock.config.evaluating import Recodex as Recodex
from crossdock.config.load import load as load
from crossdock.config.messaging import Jsonbus as Jsonbus
from crossdock.config.messaging import JsonbusBackend as JsonbusBackend
from crossdock.config.schema import Config as Config
from crossdock.config.schema import Key as Key
from crossdock.config.schema import LongpostBackend as LongpostBackend
from crossdock.config.sources import ConfigError as ConfigError
